"""NEFTune: the right strength for each packed document, only where something is learned, and resumable."""

import math

import pytest
import torch

from tests.training.rows import write_rows
from tests.training.runs import make_loop, rows_of
from tuneward.modeling.base_model import hidden_states, load_base
from tuneward.modeling.packed import PackedDocuments
from tuneward.training.curve import Curve
from tuneward.training.embedding_noise import EmbeddingNoise, document_lengths


def seen_embeddings(model, layout):
    """What the first layer receives."""
    seen = []
    hook = model.model.layers[0].register_forward_pre_hook(
        lambda module, arguments, named: seen.append((arguments or (named["hidden_states"],))[0].detach().clone()),
        with_kwargs=True,
    )
    ids = torch.zeros(1, sum(layout.lengths), dtype=torch.int64)
    hidden_states(model, ids, layout)
    hook.remove()
    return seen[0][0]


def test_each_document_gets_the_noise_of_its_own_length(base):
    model = load_base(base, precision="fp32")
    layout = PackedDocuments((4, 100, 7))
    with torch.no_grad():
        plain = seen_embeddings(model, layout)
    EmbeddingNoise(model, 5.0)
    torch.manual_seed(0)
    noise = seen_embeddings(model, layout) - plain
    for first, end in layout.spans:
        bound = 5.0 / math.sqrt((end - first) * 64)
        part = noise[first:end]
        assert 0.9 * bound < part.abs().max() <= bound * 1.0001
        assert float(part.std()) == pytest.approx(bound / math.sqrt(3), rel=0.15)  # uniform
        assert abs(float(part.mean())) < 0.15 * bound


def test_a_shared_prompt_counts_with_the_longest_answer():
    assert document_lengths(PackedDocuments((10, 3, 5, 6, 2), (None, 0, 0, None, 3))) == [15, 13, 15, 8, 8]


def test_there_is_none_without_gradient_and_none_once_removed(base):
    model = load_base(base, precision="fp32")
    layout = PackedDocuments((6,))
    plain = seen_embeddings(model, layout)
    noise = EmbeddingNoise(model, 5.0)
    state = torch.get_rng_state()
    with torch.no_grad():
        assert torch.equal(seen_embeddings(model, layout), plain)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(seen_embeddings(model, layout), plain)
    noise.remove()
    assert torch.equal(seen_embeddings(model, layout), plain)


def test_a_run_with_noise_goes_on_bit_for_bit_and_validates_without_it(base, tmp_path):
    rows = rows_of(base, write_rows(tmp_path / "train.jsonl", 23))
    settings = {"neftune_alpha": 5.0, "batch_tokens": 300, "recompute": True, "adapter": {"rank": 4, "dropout": 0.1}}
    settings |= {"validation": {"fraction": 0.2}}

    def run(folder, after=None):
        folder.mkdir(exist_ok=True)
        torch.manual_seed(0 if after else 7)
        loop, _ = make_loop(base, rows, folder, **settings)
        asked = iter([False] * after if after else [])
        loop.stop = lambda: after is not None and next(asked, True)
        if not list(folder.glob("checkpoints/*")):
            torch.manual_seed(0)
        loop.run(lambda upto: Curve(folder / "curve.jsonl", upto=upto))
        return {name: p.detach().clone() for name, p in loop.parameters.items()}

    whole = run(tmp_path / "a")
    run(tmp_path / "b", after=4)
    again = run(tmp_path / "b")
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    texts = [(tmp_path / name / "validation.jsonl").read_text() for name in "ab"]
    assert texts[0] == texts[1]
    settings["neftune_alpha"] = 0.0
    without = run(tmp_path / "c")
    assert not all(torch.equal(whole[name], without[name]) for name in whole)
    first = [(tmp_path / name / "validation.jsonl").read_text().splitlines()[0] for name in "ac"]
    assert first[0] == first[1]
