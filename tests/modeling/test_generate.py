import random
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.tiny import ARCHITECTURES, make_tiny_base
from tuneward.errors import ModelError
from tuneward.modeling.adapter_bank import AdapterBank
from tuneward.modeling.adapter_files import AdapterWeights
from tuneward.modeling.base_model import load_base
from tuneward.modeling.cache import capacity_for
from tuneward.modeling.folder_check import check_folder
from tuneward.modeling.generate import Decoder, context_tokens, generate

PATH = "model.layers.1.self_attn.o_proj"
LENGTHS = (1, 3, 17, 40, 63, 64, 70, 5, 33)


def prompts(seed=1, lengths=LENGTHS):
    draw = random.Random(seed)
    return [[draw.randrange(3, 300) for _ in range(length)] for length in lengths]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_base(make_tiny_base(tmp_path_factory.mktemp("llama")), precision="fp32")


@pytest.fixture(scope="module")
def alone(model):
    return [generate(model, [prompt], max_tokens=40)[0] for prompt in prompts()]


def step(decoder):
    rows, logits = decoder.step()
    for row, token in zip(rows, logits.argmax(-1).tolist() if rows else [], strict=True):
        row.ids.append(token)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_equals_transformers_own_generate(tmp_path, architecture):
    folder = make_tiny_base(tmp_path, architecture=architecture)
    theirs = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
    ours = generate(load_base(folder, precision="fp32"), prompts(), max_tokens=40, max_rows=4)
    for prompt, answer in zip(prompts(), ours, strict=True):
        out = theirs.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            max_new_tokens=40,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
        )
        assert answer == out[0, len(prompt) :].tolist()


@pytest.mark.parametrize("seed", range(12))
def test_no_order_of_joining_leaving_and_cancelling_changes_an_answer(model, alone, seed):
    draw = random.Random(seed)
    decoder = Decoder(model, prefill_tokens=draw.choice([7, 64, 1024]))
    waiting = [(number, prompt) for number, prompt in enumerate(prompts())] * 2
    draw.shuffle(waiting)
    running = {}
    while waiting or running:
        while waiting and draw.random() < 0.4:
            number, prompt = waiting.pop()
            running[decoder.join(prompt)] = (number, len(prompt), draw.choice([1, 13, 40, 40]))
        step(decoder)
        for row, (number, start, wanted) in list(running.items()):
            answer = row.ids[start:]
            assert answer == alone[number][: len(answer)]
            if len(answer) >= wanted or draw.random() < 0.02:
                decoder.leave(row)
                del running[row]
    assert decoder.cache_bytes == 0


def test_stops_at_stop_ids_and_leaves_them_out(model, alone):
    stop = alone[2][5]
    cut = alone[2].index(stop)
    assert generate(model, [prompts()[2]], max_tokens=40, stop_ids=frozenset([stop]))[0] == alone[2][:cut]


@pytest.mark.parametrize("window", [None, 9])
def test_a_long_prompt_is_taken_in_parts(tmp_path, window):
    architecture = "mistral" if window else "llama"
    model = load_base(make_tiny_base(tmp_path, architecture=architecture), precision="fp32")
    (prompt,) = prompts(3, [400])
    whole, parts = Decoder(model, prefill_tokens=1024), Decoder(model, prefill_tokens=70)
    rows = [decoder.join(prompt) for decoder in (whole, parts)]
    parts.join(prompts(4, [30])[0])
    for decoder in (whole, parts):
        for _ in range(12):
            step(decoder)
    assert len(rows[1].ids) > 403
    assert rows[0].ids[: len(rows[1].ids)] == rows[1].ids


def test_rows_with_a_common_beginning_share_it_and_answer_the_same(model):
    common = prompts(5, [100])[0]
    asked = [common + tail for tail in prompts(6, [5, 9, 1, 20])] + [common]
    separate = [generate(model, [prompt], max_tokens=20)[0] for prompt in asked]
    decoder = Decoder(model, prefill_tokens=110)
    seen = 0
    forward = model.forward

    def counting(**arguments):
        nonlocal seen
        seen += arguments["input_ids"].shape[1]
        return forward(**arguments)

    model.forward = counting
    try:
        rows = [decoder.join(prompt) for prompt in asked]
        while min(len(row.ids) - len(prompt) for row, prompt in zip(rows, asked, strict=True)) < 20:
            step(decoder)
    finally:
        del model.forward
    answers = [row.ids[len(prompt) :][:20] for row, prompt in zip(rows, asked, strict=True)]
    assert answers == separate
    decoded = sum(len(row.ids) - len(prompt) for row, prompt in zip(rows, asked, strict=True))
    assert seen - decoded < 2 * len(common)


def test_memory_grows_by_need_and_is_freed(model):
    decoder = Decoder(model)
    short = [decoder.join(prompt) for prompt in prompts(7, [10] * 9)]
    step(decoder)
    before = decoder.cache_bytes
    assert before == 16 * decoder.bytes_for(11)
    long = decoder.join(prompts(8, [400])[0])
    step(decoder)
    assert decoder.cache_bytes == before + 8 * decoder.bytes_for(400)
    decoder.leave(long)
    assert decoder.cache_bytes == before
    for row in short:
        decoder.leave(row)
    assert decoder.cache_bytes == 0


def test_a_row_that_went_wrong_leaves_nothing_behind(model, alone):
    decoder = Decoder(model)
    bad, good = decoder.join(prompts()[2]), decoder.join(prompts()[3])
    step(decoder)
    with torch.inference_mode():
        for store in decoder._cache._lanes[bad.cached.capacity].stores.values():
            store.keys[bad.cached.slot] = float("nan")
            store.values[bad.cached.slot] = float("nan")
    step(decoder)
    decoder.leave(bad)
    late = decoder.join(prompts()[4])
    for _ in range(20):
        step(decoder)
    for row, number in ((good, 3), (late, 4)):
        answer = row.ids[len(prompts()[number]) :]
        assert answer[:20] == alone[number][: len(answer)][:20]


def test_lanes_waste_little():
    assert [capacity_for(n) for n in (1, 64, 65, 81, 128, 129, 200, 257)] == [64, 64, 80, 96, 128, 160, 224, 320]
    assert all(n <= capacity_for(n) <= max(64, n * 1.25 + 1) for n in range(1, 5000))


def test_context_is_where_scaled_positions_begin(tmp_path):
    plain = load_base(make_tiny_base(tmp_path / "plain"), precision="fp32")
    assert context_tokens(plain) == 512
    scaled = make_tiny_base(
        tmp_path / "scaled",
        max_position_embeddings=2048,
        rope_parameters={
            "rope_type": "dynamic",
            "factor": 4.0,
            "rope_theta": 10000.0,
            "original_max_position_embeddings": 512,
        },
    )
    assert context_tokens(load_base(scaled, precision="fp32")) == check_folder(scaled).context_tokens == 512
    nameless = SimpleNamespace(config=SimpleNamespace(get_text_config=lambda: SimpleNamespace(to_dict=dict)))
    with pytest.raises(ModelError, match="TW-SERV-001"):
        context_tokens(nameless)


@pytest.mark.parametrize("architecture", ["llama", "mistral"])  # without and with a sliding window
def test_everything_is_made_where_the_model_computes(tmp_path, architecture):
    # the meta device stands in for an accelerator: it too refuses to compute with tensors of the processor
    model = load_base(make_tiny_base(tmp_path, architecture=architecture), precision="fp32").to("meta")
    bank = AdapterBank(model)
    layer = model.get_submodule(PATH)
    weights = AdapterWeights(4, 8.0, {PATH: (torch.zeros(4, layer.in_features), torch.zeros(layer.out_features, 4))})
    adapters = [bank.load(weights), bank.load(weights)]
    decoder = Decoder(model, bank=bank)
    rows = [decoder.join(prompt, adapter=adapters[number % 2]) for number, prompt in enumerate(prompts())]
    for _ in range(3):
        done, logits = decoder.step()
        assert (len(done), logits.device.type) == (len(rows), "meta")
        for row in done:
            row.ids.append(5)
