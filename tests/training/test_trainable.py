import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from tests.tiny import make_tiny_base
from tests.training.rows import PlainChat, write_rows
from tuneward.modeling.adapter_files import load_adapter
from tuneward.modeling.base_model import load_base
from tuneward.modeling.lora import add_lora, set_weights
from tuneward.modeling.packed import PackedDocuments
from tuneward.modeling.quantisation import weight_bytes
from tuneward.training.config import TrainingConfig
from tuneward.training.job import Job, prepare, train

SETTINGS = {"batch_tokens": 256, "epochs": 2, "precision": "fp32", "checkpoint_seconds": 1000}
ADAPTERS = [
    {"kind": "lora", "rslora": True},
    {"kind": "lora", "dora": True},
    {"kind": "qlora", "dropout": 0.1},
    {"kind": "qlora", "rslora": True, "dora": True, "dropout": 0.1},
    {"kind": "qlora", "quantise_embeddings": True},
]


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return write_rows(tmp_path_factory.mktemp("rows") / "train.jsonl", 30)


def job(base, rows, folder, adapter):
    config = TrainingConfig(**SETTINGS, adapter={"rank": 4, "alpha": 8.0} | adapter)
    return Job(rows, base, "tiny", config, folder, "inputs")


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_every_adapter_learns_and_goes_on_after_a_stop_bit_for_bit(base, rows, tmp_path, adapter):
    whole = train(job(base, rows, tmp_path / "whole", adapter), PlainChat(base), emit=lambda event: None)
    assert whole.figures["final_loss"] < whole.figures["first_loss"]
    windows = iter(range(4))
    stopped = job(base, rows, tmp_path / "stopped", adapter)
    outcome = train(stopped, PlainChat(base), emit=lambda event: None, stop=lambda: next(windows, None) is None)
    assert outcome.status == "stopped"
    torch.manual_seed(99)
    again = train(stopped, PlainChat(base), emit=lambda event: None)
    assert again.figures["resumed"] == 1
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        assert (again.adapter / name).read_bytes() == (whole.adapter / name).read_bytes()

    # PEFT computes the same from what was saved, on the base that is not quantised
    weights = load_adapter(whole.adapter)
    assert weights.parameters == whole.figures["trained_parameters"]
    model, ids, layout = load_base(base, precision="fp32"), torch.arange(20).unsqueeze(0), PackedDocuments((20,))
    set_weights(add_lora(model, stopped.config.adapter, seed=0), weights)
    with torch.no_grad():
        mine = model(input_ids=ids, position_ids=layout.position_ids(), use_cache=False, layout=layout).logits
        plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, attn_implementation="eager")
        theirs = PeftModel.from_pretrained(plain, whole.adapter)(ids, use_cache=False).logits
    torch.testing.assert_close(mine, theirs, atol=5e-5, rtol=5e-5)


@pytest.mark.parametrize("kind", ["lora", "qlora"])
def test_the_experts_of_a_mixture_learn(rows, tmp_path, kind):
    """Every expert that tokens are sent to moves; a run that was stopped ends at the same bytes; the plan counts it."""
    base = make_tiny_base(tmp_path / "base", architecture="mixtral")
    whole = job(base, rows, tmp_path / "whole", {"kind": kind})
    plan = prepare(whole, PlainChat(base)).plan
    assert plan.not_reached.startswith("less than 1% of")
    assert plan.kept_whole == ("70% of the base are experts, which stay in fp32" if kind == "qlora" else "")
    outcome = train(whole, PlainChat(base), emit=lambda event: None)
    assert outcome.figures["final_loss"] < outcome.figures["first_loss"]
    weights = load_adapter(outcome.adapter)
    experts = {path: b for path, (_, b) in weights.pairs.items() if b.ndim == 3}
    assert len(experts) == 4
    assert all(b[number].any() for b in experts.values() for number in range(4))
    assert weights.parameters == plan.trained_parameters == outcome.figures["trained_parameters"]
    windows = iter(range(4))
    stopped = job(base, rows, tmp_path / "stopped", {"kind": kind})
    train(stopped, PlainChat(base), emit=lambda event: None, stop=lambda: next(windows, None) is None)
    again = train(stopped, PlainChat(base), emit=lambda event: None)
    file = "adapter_model.safetensors"
    assert (again.adapter / file).read_bytes() == (outcome.adapter / file).read_bytes()


@pytest.mark.parametrize("ends", [False, True])
def test_the_plan_counts_packed_weights(base, rows, tmp_path, ends):
    plain = prepare(job(base, rows, tmp_path / "a", {"kind": "lora"}), PlainChat(base))
    settings = {"kind": "qlora", "quantise_embeddings": ends}
    packed = prepare(job(base, rows, tmp_path / "b", settings), PlainChat(base))
    assert packed.plan.floating_operations == plain.plan.floating_operations
    made = 4 * 304 * 64 if ends else 0  # the head, made whole for a window
    assert packed.plan.memory["loss_head"] == plain.plan.memory["loss_head"] + made
    assert packed.plan.base_parameters == plain.plan.base_parameters
    assert packed.plan.trained_parameters == plain.plan.trained_parameters
    learning = 4 * packed.plan.trained_parameters
    assert packed.plan.memory["weights"] == weight_bytes(packed.model) - learning < plain.plan.memory["weights"]


def test_what_cannot_be_kept_in_four_bits_is_told(rows, tmp_path):
    odd = make_tiny_base(tmp_path / "base", hidden_size=96)
    told = []
    settings = {"kind": "qlora", "quantise_embeddings": True}
    train(job(odd, rows, tmp_path / "run", settings), PlainChat(odd), emit=told.append)
    (note,) = [event["text"] for event in told if event["event"] == "note"]
    assert note.startswith(
        "not kept in four bits: the embedding has rows of 96 weights, which are no whole blocks of 64"
    )
