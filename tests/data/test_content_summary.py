"""The public summary of training content: the template's sections, and what nobody said stands open."""

import json
from datetime import date

import pytest

from tests.data.data_cases import prepare, row, write_rows
from tuneward.data.content_summary import size_of


def summary_of(folder, **settings):
    write_rows(folder / "train.jsonl", [row(prompt=f"q {n}", answer=f"a {n}", k=k) for n, k in enumerate("ppsx")])
    names = {"p": "public", "s": "synthetic", "x": ""}
    for path in (folder / "train.jsonl",):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        write_rows(path, [{**r, "k": names[r["k"]]} for r in rows])
    prepared = prepare(folder, today=date(2026, 6, 15), base="tiny <base>", **settings)
    prepared.write(folder / "out")
    return json.loads((folder / "out" / "content-summary.json").read_text()), (
        folder / "out" / "content-summary.html"
    ).read_text(encoding="utf-8")


def test_rows_and_tokens_stand_in_their_sections(tmp_path):
    summary, page = summary_of(tmp_path, terms={"columns": {"category": "k"}, "licence": "MIT", "origin": "a <shop>"})
    assert list(summary["sources"]) == ["2.1", "2.2.1", "2.2.2", "2.3", "2.4", "2.5", "2.6"]
    assert {number: part["rows"] for number, part in summary["sources"].items() if part["rows"]} == {"2.1": 2, "2.5": 1}
    assert summary["unplaced"]["rows"] == 1
    tokens = summary["general"]["1.3"]["tokens"]
    assert tokens == sum(p["tokens"] for p in (*summary["sources"].values(), summary["unplaced"]))
    assert summary["general"]["1.2"]["depends_on"] == "tiny <base>"
    assert summary["date"] == "2026-06-15"
    assert "a &lt;shop&gt;" in page
    assert "<shop>" not in page
    assert "://" not in page


def test_what_nobody_said_is_open_and_a_complete_one_has_no_open_points(tmp_path):
    summary, page = summary_of(tmp_path, terms={"columns": {"category": "k"}})
    assert {point["section"] for point in summary["open"]} == {"1.1", "1.2", "1.3", "2", "3.1", "3.2"}
    assert "this is a draft" in page
    said = {"provider": "Acme, Bolzano", "base_summary": "at the maker's", "opt_outs": "x", "illegal_content": "y"}
    (tmp_path / "whole").mkdir()
    complete, page = summary_of(
        tmp_path / "whole", terms={"category": "private", "collected": "2026-01-31"}, summary=said
    )
    assert complete["open"] == []
    assert complete["general"]["1.3"]["latest_data"] == "2026-01-31"
    assert "draft" not in page


@pytest.mark.parametrize(("tokens", "start"), [(0, "less"), (10**9, "1 billion"), (10**13, "more")])
def test_sizes(tokens, start):
    assert size_of(tokens).startswith(start)
