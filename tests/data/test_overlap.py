"""Duplicates, contradictions and contamination, in normal form."""

from data_cases import policy, prepare, refused, row, write_rows


def places(prepared, reason):
    return [tuple(item.values()) for item in prepared.card["places"][reason]]


def test_exact_duplicates_go_and_the_first_stays(tmp_path):
    write_rows(
        tmp_path / "train.jsonl", [row("One  two", "A"), row("b"), row("ｏｎｅ\nTWO ", "a"), row("One two", "A")]
    )
    prepared = prepare(tmp_path)
    assert [r.source.line for r in prepared.train] == [1, 2]
    assert places(prepared, "duplicate") == [("train.jsonl:3", "train.jsonl:1"), ("train.jsonl:4", "train.jsonl:1")]
    assert prepared.counts["train"]["dropped"]["duplicate"] == 2


def test_contradictions_are_named_and_kept(tmp_path):
    write_rows(tmp_path / "train.jsonl", [row("q", "yes"), row("Q ", "no")])
    prepared = prepare(tmp_path)
    assert len(prepared.train) == 2
    assert places(prepared, "contradiction") == [("train.jsonl:2", "train.jsonl:1")]


def test_train_rows_whose_prompt_is_tested_go(tmp_path):
    write_rows(tmp_path / "train.jsonl", [row("asked", "other answer"), row("free")])
    write_rows(tmp_path / "test.jsonl", [row("ASKED"), row("x"), row("x")])
    prepared = prepare(tmp_path, test=["test.jsonl"])
    assert [r.source.line for r in prepared.train] == [2]
    assert places(prepared, "contamination") == [("train.jsonl:1", "test.jsonl:1")]
    assert places(prepared, "test_duplicate") == [("test.jsonl:3", "test.jsonl:2")]
    assert len(prepared.test) == 3


def test_an_earlier_turn_that_is_tested_contaminates_the_conversation(tmp_path):
    talk = [("user", "asked"), ("assistant", "a"), ("user", "more"), ("assistant", "b")]
    rows = [{"messages": [{"role": r, "content": c} for r, c in talk]}]
    write_rows(tmp_path / "train.jsonl", [*rows, {"messages": rows[0]["messages"][2:]}])
    write_rows(tmp_path / "test.jsonl", [row("asked")])
    prepared = prepare(tmp_path, test=["test.jsonl"], system="S")
    assert [r.source.line for r in prepared.train] == [2]


def test_contamination_blocks_where_the_policy_says_so(tmp_path):
    write_rows(tmp_path / "train.jsonl", [row("asked"), row("free"), row("asked", "again")])
    write_rows(tmp_path / "test.jsonl", [row("asked")])
    faults = refused(tmp_path, test=["test.jsonl"], rules=policy(contamination="block"))
    assert faults == [("TW-DATA-025", "train.jsonl:1"), ("TW-DATA-025", "train.jsonl:3")]


def test_near_duplicates_are_named_and_kept(tmp_path):
    text = " ".join(f"word{i}" for i in range(40))
    other = " ".join(f"other{i}" for i in range(40))
    write_rows(tmp_path / "train.jsonl", [row(text), row(text + " end"), row(other)])
    write_rows(tmp_path / "test.jsonl", [row(other + " end")])
    prepared = prepare(tmp_path, test=["test.jsonl"])
    assert len(prepared.train) == 3
    assert places(prepared, "near_duplicate") == [("train.jsonl:2", "train.jsonl:1")]
    assert places(prepared, "near_test") == [("train.jsonl:3", "test.jsonl:1")]
