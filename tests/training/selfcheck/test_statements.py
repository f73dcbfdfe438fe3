"""The self-check on every architecture of the tests, and on adapters, rows and bases of other kinds."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.tiny import ARCHITECTURES, make_tiny_base
from tests.training.rows import write_rows
from tuneward.errors import Fault, ModelError
from tuneward.modeling.config import AdapterConfig
from tuneward.modeling.kernels.loading import compiled
from tuneward.training.selfcheck.cut import cut
from tuneward.training.selfcheck.line import Line
from tuneward.training.selfcheck.preferences import FORMULAS, objectives
from tuneward.training.selfcheck.sample import BUILT_IN, FEWEST, ROWS, draw
from tuneward.training.selfcheck.statement import Measured, NotApplicableError, Statement, distance, judge, unequal
from tuneward.training.selfcheck.statements import STATEMENTS, lines
from tuneward.training.selfcheck.subject import Subject

ADAPTER = AdapterConfig(rank=8, alpha=16)

#: What says nothing about a base, by architecture; each reason is told.
SILENT = {
    "mistral": {"documents apart, fused", "fused path", "tied embeddings"},
    "gemma2": {"documents apart, fused", "fused path"},
    "phi3": {"tied embeddings"},
    "mixtral": {"tied embeddings", "kernels"},
    "qwen3_moe": {"kernels"},
}


def checked(base: Path, folder: Path, *, adapter: AdapterConfig = ADAPTER, rows: Path | None = None) -> dict[str, Line]:
    return {line.name: line for line in lines(Subject(base, draw(rows), adapter, folder))}


def told(found: dict[str, Line]) -> dict[str, str]:
    return {name: line.reason for name, line in found.items() if line.verdict == "fail"}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_passes(architecture, tmp_path):
    pytest.importorskip("bitsandbytes")
    (tmp_path / "work").mkdir()
    found = checked(make_tiny_base(tmp_path / "base", architecture=architecture), tmp_path / "work")
    assert told(found) == {}
    silent = {name for name, line in found.items() if line.verdict == "not applicable"}
    assert silent == SILENT.get(architecture, set()) | (set() if compiled() else {"kernels"})
    assert all(found[name].reason for name in silent)
    assert list(found) == list(STATEMENTS)
    measured = [line for line in found.values() if line.verdict == "pass"]
    assert all(line.measured <= line.tolerance and line.on and line.unit for line in measured)


@pytest.mark.parametrize(
    "adapter",
    [
        {"rank": 4, "alpha": 8, "dora": True, "dropout": 0.1},
        {"rank": 8, "alpha": 4, "rslora": True, "targets": ("q_proj", "down_proj"), "kind": "qlora"},
        {"kind": "full"},
    ],
)
def test_every_kind_of_adapter_passes(adapter, base, tmp_path):
    assert told(checked(base, tmp_path, adapter=AdapterConfig(**adapter))) == {}


@pytest.mark.parametrize("kind", ["sft", "pair", "judged"])
def test_rows_of_every_kind_pass(kind, base, tmp_path):
    (tmp_path / "work").mkdir()
    rows = write_rows(tmp_path / "train.jsonl", 12, kind=kind)
    assert told(checked(base, tmp_path / "work", rows=rows)) == {}


def test_documents_pass(base, tmp_path):
    (tmp_path / "work").mkdir()
    records = [json.loads(line) for line in write_rows(tmp_path / "train.jsonl", 6).read_text().splitlines()]
    for record in records:
        record["messages"] = [{"role": "document", "content": record["messages"][0]["content"]}]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    assert told(checked(base, tmp_path / "work", rows=tmp_path / "train.jsonl")) == {}


def test_every_objective_has_an_independent_formula():
    assert set(objectives()) == set(FORMULAS)


def test_rows_are_taken_by_their_digest_and_never_the_long_ones(tmp_path):
    rows = write_rows(tmp_path / "train.jsonl", 40)
    lines_ = rows.read_text().splitlines()
    long = json.loads(lines_[0])
    long["messages"][0]["content"] = "word " * 1000
    rows.write_text("\n".join([json.dumps(long), *lines_[1:]]))
    sample = draw(rows)
    assert len(sample.own) == ROWS
    assert long["id"] not in sample.own
    rows.write_text("\n".join([*reversed(lines_[1:]), json.dumps(long)]))
    assert draw(rows).own == sample.own


def test_too_few_rows_are_filled_up(tmp_path):
    sample = draw(write_rows(tmp_path / "train.jsonl", 1))
    assert len(sample.own) == 1
    assert len(sample.records) == FEWEST
    assert all(record.id.startswith(BUILT_IN) for record in sample.records[1:])
    assert draw(None).own == ()
    pairs = sample.pairs
    assert all(pair.rejected.content != pair.answer for pair in pairs)


def test_a_cut_base_has_each_kind_of_layer_and_the_bases_own_weights(tmp_path):
    base = make_tiny_base(tmp_path / "base", architecture="gemma3_text")
    made = cut(base, tmp_path / "cut")
    assert made.told == "layers 1 and 6 of 7"
    config = json.loads((made.folder / "config.json").read_bytes())
    assert config["layer_types"] == ["sliding_attention", "full_attention"]
    whole, few = load_file(base / "model.safetensors"), load_file(made.folder / "model.safetensors")
    assert torch.equal(few["model.layers.1.mlp.up_proj.weight"], whole["model.layers.5.mlp.up_proj.weight"])
    assert {name for name in few if "layers.2." in name} == set()
    assert (made.folder / "chat_template.jinja").is_file()


def test_a_base_of_two_layers_is_not_copied(base, tmp_path):
    assert cut(base, tmp_path / "cut").folder == base


def verdict(check) -> Line:
    return judge("name", Statement("claim", "compared", check), None)


def raising(error):
    def check(subject):
        raise error

    return check


def test_no_number_and_no_result_are_no_pass():
    assert verdict(lambda subject: Measured(float("nan"), "on", 1.0)).verdict == "fail"
    assert verdict(lambda subject: Measured(float("inf"), "on", 1.0)).measured is None
    assert verdict(lambda subject: Measured(1.0, "on", 1.0)).verdict == "pass"
    assert verdict(raising(RuntimeError("a row's text"))).reason == "the check broke off with RuntimeError"
    fault = Fault("TW-BASE-030", "told")
    assert verdict(raising(ModelError(fault))).reason == "TW-BASE-030 told"
    assert verdict(raising(NotApplicableError("why"))).verdict == "not applicable"
    with pytest.raises(OSError, match="full"):
        verdict(raising(OSError("full")))


def test_distances():
    one = torch.tensor([1.0, -2.0])
    assert distance(one, one) == 0
    assert distance(one + 0.02, one) == pytest.approx(0.01)
    assert distance(torch.zeros(2), torch.zeros(2)) == float("inf")
    assert distance({"a": one}, {"b": one}) == float("inf")
    assert distance(one[:1], one) == float("inf")
    assert not distance(torch.tensor([1.0, float("nan")]), one) <= 1
    assert distance({"a": one, "b": one * 1e-9 + 1e-4}, {"a": one, "b": one * 1e-9}) == pytest.approx(0.05)
    assert unequal({"a": one}, {"a": torch.tensor([1.0, -2.5])}) == 1
    assert unequal({"a": one}, {}) == float("inf")
