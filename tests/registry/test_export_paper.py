"""The verdict on an exported copy, and its paper: the same facts give the same bytes."""

import json
from dataclasses import replace

from tuneward.registry.config import ExportConfig
from tuneward.registry.export import Check, Paper, judge, read_paper

CHECK = Check(
    reader="llama.cpp", precision="bf16", context_tokens=512, rows=10, tokens=200, mean_kl=0.001, max_kl=0.1,
    same=199, interval=(0.972, 0.999), rows_read_alike=10,
)  # fmt: skip
PAPER = Paper(
    project="p", version="ver_1", number=1, run="run_1", adapter="a" * 64, base="b" * 64, base_name="tiny",
    licence="MIT", dataset="d" * 64, format="gguf", type="f16", tool_version="0.1", limits=ExportConfig().canonical(),
)  # fmt: skip


def test_a_copy_within_the_limits_passes():
    assert judge(CHECK, ExportConfig(), place="gguf") == []
    assert judge(replace(CHECK, rows_read_alike=None), ExportConfig(), place="gguf") == []


def test_every_reason_is_told_with_its_figures():
    bad = replace(CHECK, mean_kl=0.5, max_kl=3.25, same=150, interval=(0.686, 0.805), rows_read_alike=4)
    faults = judge(bad, ExportConfig(), place="gguf f16")
    assert [fault.code for fault in faults] == ["TW-REG-010"] * 3
    kl, agreement, read = (fault.message for fault in faults)
    assert "0.5000 nats (largest 3.250), 0.02 is allowed" in kl
    assert "75.0% of places [68.6%, 80.5%], 98.0% is asked" in agreement
    assert "6 of 10 rows" in read


def test_a_divergence_that_is_no_number_is_refused():
    assert judge(replace(CHECK, mean_kl=float("nan")), ExportConfig(), place="gguf")


def test_limits_are_the_projects_own():
    loose = ExportConfig(max_mean_kl=1.0, min_agreement=0.5)
    assert judge(replace(CHECK, mean_kl=0.5, same=150), loose, place="gguf") == []


def test_the_paper_answers_its_own_request_and_no_other(tmp_path):
    replace(PAPER, check=CHECK, files={"model.gguf": "f" * 64}).write(tmp_path)
    written = (tmp_path / "export.json").read_bytes()
    paper = read_paper(tmp_path)
    assert paper["check"]["same"] == 199
    assert PAPER.same_request(paper)
    assert not replace(PAPER, type="q8_0").same_request(paper)
    assert not replace(PAPER, limits=ExportConfig(rows=3).canonical()).same_request(paper)
    replace(PAPER, check=CHECK, files={"model.gguf": "f" * 64}).write(tmp_path)
    assert (tmp_path / "export.json").read_bytes() == written
    assert json.loads(written)["paper"].endswith("/v1")


def test_no_paper_answers_nothing(tmp_path):
    assert read_paper(tmp_path) == {}
    (tmp_path / "export.json").write_text("[1]")
    assert not PAPER.same_request(read_paper(tmp_path))
