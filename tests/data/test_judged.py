"""Judged answers: a verdict per row, both verdicts in a dataset."""

import pytest
from data_cases import prepare, refused, row, write_rows


def judged(folder, *rows, **arguments):
    write_rows(folder / "train.jsonl", rows)
    return prepare(folder, form="judged", **arguments)


@pytest.mark.parametrize(("yes", "no"), [(True, False), ("true", "False"), (1, 0), ("1", "0"), (" TRUE ", "false")])
def test_verdicts(tmp_path, yes, no):
    prepared = judged(tmp_path, row("a", label=yes), row("b", label=no))
    assert [record.desirable for record in prepared.train] == [True, False]
    assert prepared.train[0].form == "judged"
    assert prepared.counts["labels"] == {"true": 1, "false": 1}
    assert prepared.card["files"][0]["columns"].endswith("labels from `label`")


def test_conversations_may_be_judged(tmp_path):
    talk = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    prepared = judged(tmp_path, {"messages": talk, "good": True}, {"messages": talk, "good": False}, label="good")
    assert [record.desirable for record in prepared.train] == [True, False]
    assert prepared.counts["contradictions"] == 1


@pytest.mark.parametrize("label", [None, "", "yes", 2, -1, 1.0, [True]])
def test_a_label_that_is_neither_is_told(tmp_path, label):
    write_rows(tmp_path / "train.jsonl", [row("a", label=True), row("b", label=label), row("c", label=False)])
    assert refused(tmp_path, form="judged") == [("TW-DATA-036", "train.jsonl:2")]


def test_a_row_without_its_label_is_told(tmp_path):
    write_rows(tmp_path / "train.jsonl", [row("a", label=True), row("b")])
    assert refused(tmp_path, form="judged") == [("TW-DATA-015", "train.jsonl:2")]


@pytest.mark.parametrize("label", [True, False])
def test_one_verdict_alone_is_refused(tmp_path, label):
    write_rows(tmp_path / "train.jsonl", [row("a", label=label), row("b", label=label)])
    assert refused(tmp_path, form="judged") == [("TW-DATA-037", "data.train")]


def test_bad_answers_are_not_asked_to_fit_the_task(tmp_path):
    write_rows(tmp_path / "test.jsonl", [row("t", "worse", label=False), row("u", "fine", label=True)])
    rows = [row("a", "worse", label=False), row("b", "fine", label=True)]
    asked = []
    judged(tmp_path, *rows, test=["test.jsonl"], judge=lambda answer: asked.append(answer))
    assert asked == ["fine", "fine"]


def test_the_learned_tokens_are_those_of_the_last_answer(tmp_path):
    talk = [{"role": r, "content": "x y"} for r in ("user", "assistant", "user", "assistant")]
    prepared = judged(tmp_path, {"messages": talk, "label": True}, {"messages": talk[:2], "label": False})
    assert prepared.counts["train"]["answer_tokens"] == 3 + 3
