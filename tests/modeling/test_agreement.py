"""What is measured of a copy: nothing where it is the same, the formula's value where it is not."""

import json

import pytest
import torch

from tests.modeling.export_cases import write_rows, write_site
from tests.tiny import make_tiny_base
from tuneward.modeling.adapter_files import load_adapter
from tuneward.modeling.agreement import HeldOut, compare, held_out, keep_reference, through_transformers
from tuneward.modeling.chat import Chat
from tuneward.modeling.merge import Merged

LIMITS = {"rows": 64, "tokens": 2048, "context": 512}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return write_site(tmp_path_factory.mktemp("site"))


def test_marks_are_the_places_before_each_answer_token(site):
    chat = Chat.load(site["base"])
    rows = held_out(site["rows"], chat, **LIMITS)
    assert len(rows) == 6
    first = rows[0]
    answer = [first.ids[mark + 1] for mark in first.marks]
    assert chat.decode(answer, control=True) == '{"kind": "ok"}<|im_end|>'
    assert chat.decode(first.ids, control=True) == first.text


def test_limits_on_rows_tokens_and_length_are_kept(site):
    chat = Chat.load(site["base"])
    assert len(held_out(site["rows"], chat, **LIMITS | {"rows": 2})) == 2
    assert len(held_out(site["rows"], chat, **LIMITS | {"tokens": 1})) == 1
    longest = max(len(row.ids) for row in held_out(site["rows"], chat, **LIMITS))
    assert len(held_out(site["rows"], chat, **LIMITS | {"context": longest - 1})) < 6


def test_a_passage_counts_whole_and_a_pair_with_its_better_answer(site, tmp_path):
    chat, file = Chat.load(site["base"]), write_rows(tmp_path / "rows.jsonl", count=2)
    passage, pair = (json.loads(line) for line in file.read_text().splitlines())
    passage["messages"] = [{"role": "document", "content": "a passage of text"}]
    pair["rejected"] = {"role": "assistant", "content": "worse"}
    file.write_text(json.dumps(passage) + "\n" + json.dumps(pair) + "\n")
    first, second = held_out(file, chat, **LIMITS)
    assert first.marks == tuple(range(len(first.ids) - 1))
    assert "worse" not in second.text


def test_the_same_weights_agree_and_the_bare_base_does_not(site, tmp_path):
    rows = held_out(site["rows"], Chat.load(site["base"]), **LIMITS)
    weights, told = load_adapter(site["adapter"]), []
    keep_reference(site["base"], weights, rows, tmp_path / "kept", precision="fp32", told=told.append)
    assert sum(told) == 6
    copy = tmp_path / "copy"
    copy.mkdir()
    Merged(site["base"], weights).save(copy)
    same = compare(rows, tmp_path / "kept", through_transformers(copy, rows, precision="fp32"))
    assert (same.rows, same.tokens) == (6, sum(len(row.marks) for row in rows))
    assert same.same == same.tokens
    assert same.max_kl < 1e-8
    other = compare(rows, tmp_path / "kept", through_transformers(site["base"], rows, precision="fp32"))
    assert other.mean_kl > 100 * max(same.mean_kl, 1e-9)


def test_figures_are_the_formulas(tmp_path):
    generator = torch.Generator().manual_seed(1)
    ours, theirs = (torch.randn(5, 11, generator=generator) for _ in range(2))
    (tmp_path / "kept").write_bytes(ours.numpy().tobytes())
    rows = [HeldOut((1, 2, 3), (0, 1), ""), HeldOut((1, 2, 3, 4), (0, 1, 2), "")]
    figures = compare(rows, tmp_path / "kept", iter([theirs[:2], theirs[2:]]))
    p, q = ours.double().softmax(-1), theirs.double().softmax(-1)
    expected = (p * (p / q).log()).sum(-1)
    assert figures.mean_kl == pytest.approx(float(expected.mean()), rel=1e-5)
    assert figures.max_kl == pytest.approx(float(expected.max()), rel=1e-5)
    assert figures.same == int((ours.argmax(-1) == theirs.argmax(-1)).sum())
    assert (figures.rows, figures.tokens) == (2, 5)


def test_a_fully_trained_model_is_its_own_reference(site, tmp_path):
    other = make_tiny_base(tmp_path / "other", seed=3)
    rows = held_out(site["rows"], Chat.load(site["base"]), **LIMITS)
    keep_reference(other, None, rows, tmp_path / "kept", precision="fp32")
    assert compare(rows, tmp_path / "kept", through_transformers(other, rows, precision="fp32")).max_kl < 1e-9
