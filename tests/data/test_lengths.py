"""Nothing is cut silently: too long rows are refused, dropped or split at a turn's border."""

import pytest
from data_cases import WordChat, prepare, refused, row, write_rows

from tuneward.errors import DataError, ModelError

LONG = "word " * 200


def talk(*contents, system=None):
    turns = [{"role": ("user", "assistant")[i % 2], "content": c} for i, c in enumerate(contents)]
    return {"messages": ([{"role": "system", "content": system}] if system else []) + turns}


def test_refuse_says_how_many_how_long_and_where(tmp_path):
    write_rows(tmp_path / "train.jsonl", [row(LONG), row(), row(LONG + "more")])
    with pytest.raises(DataError) as caught:
        prepare(tmp_path)
    (fault,) = caught.value.faults
    assert (fault.code, fault.place) == ("TW-DATA-021", "train.jsonl:3")
    for part in ("2 train rows", "longest 205", "train.jsonl:1 (204)", "train.jsonl:3 (205)"):
        assert part in fault.message


def test_a_row_of_exactly_the_context_fits(tmp_path):
    write_rows(tmp_path / "train.jsonl", [row("a b c", "d e")])
    assert prepare(tmp_path, tokens=7).counts["train"]["tokens"] == 7
    assert refused(tmp_path, tokens=6) == [("TW-DATA-021", "train.jsonl:1")]


def test_drop_counts_and_names(tmp_path):
    write_rows(tmp_path / "train.jsonl", [row(LONG), row()])
    prepared = prepare(tmp_path, too_long="drop")
    assert prepared.counts["train"]["dropped"]["too_long"] == 1
    assert prepared.card["places"]["too_long"] == [{"row": "train.jsonl:1"}]


def test_split_cuts_between_turns_and_keeps_the_system_message(tmp_path):
    contents = [f"{name} " * 9 for name in ("q1", "a1", "q2", "a2", "q3", "a3")]
    write_rows(tmp_path / "train.jsonl", [talk(*contents, system="S")])
    prepared = prepare(tmp_path, too_long="split", tokens=45)
    assert [[m.content.split()[0] for m in r.messages] for r in prepared.train] == [
        ["S", "q1", "a1", "q2", "a2"],
        ["S", "q3", "a3"],
    ]
    assert len({r.id for r in prepared.train}) == 2
    assert {str(r.source) for r in prepared.train} == {"train.jsonl:1"}
    counts = prepared.counts["train"]
    assert (counts["split_rows"], counts["pieces"], counts["lost_turns"]) == (1, 2, 0)


def test_a_turn_too_long_for_any_piece_is_left_out_and_said(tmp_path):
    write_rows(tmp_path / "train.jsonl", [talk("q1", "a1", LONG, "a2", "q3", "a3")])
    write_rows(tmp_path / "pairs.jsonl", [row(LONG)])
    prepared = prepare(tmp_path, train=["train.jsonl", "pairs.jsonl"], too_long="split")
    assert [[m.content for m in r.messages] for r in prepared.train] == [["q1", "a1"], ["q3", "a3"]]
    assert prepared.counts["train"]["lost_turns"] == 1
    assert prepared.counts["train"]["dropped"]["too_long"] == 1


def test_a_test_row_is_never_split(tmp_path):
    write_rows(tmp_path / "train.jsonl", [row()])
    write_rows(tmp_path / "test.jsonl", [talk("a", "b", LONG, "c"), talk("d", "e")])
    prepared = prepare(tmp_path, test=["test.jsonl"], too_long="split")
    assert prepared.counts["test"]["dropped"]["too_long"] == 1


def test_a_test_prompt_leaves_room_for_the_longest_answer(tmp_path):
    write_rows(tmp_path / "train.jsonl", [row("word " * 90)])
    write_rows(tmp_path / "test.jsonl", [row("a b c", "d"), row("word " * 61), row("word " * 60), row("word " * 59)])
    with pytest.raises(DataError) as caught:
        prepare(tmp_path, test=["test.jsonl"], answer_tokens=40)
    (fault,) = caught.value.faults
    assert (fault.code, fault.place) == ("TW-DATA-021", "test.jsonl:2")
    for part in ("2 test rows", "100 tokens", "answer of 40", "test.jsonl:2 (102)", "test.jsonl:3 (101)"):
        assert part in fault.message
    assert "evaluation.task.max_tokens" in fault.cure


def test_a_test_prompt_without_room_for_the_answer_is_dropped_where_too_long_says_so(tmp_path):
    write_rows(tmp_path / "train.jsonl", [row()])
    write_rows(tmp_path / "test.jsonl", [row("a b c", "d"), row("word " * 60)])
    for too_long in ("drop", "split"):
        prepared = prepare(tmp_path, test=["test.jsonl"], too_long=too_long, answer_tokens=40)
        assert prepared.counts["test"]["dropped"]["too_long"] == 1
        assert prepared.card["places"]["too_long"] == [{"row": "test.jsonl:2"}]


def test_a_shorter_context_for_training_leaves_the_engines_as_it_is(tmp_path):
    write_rows(tmp_path / "train.jsonl", [row()])
    write_rows(tmp_path / "test.jsonl", [row("word " * 40)])
    assert len(prepare(tmp_path, test=["test.jsonl"], context_tokens=50, answer_tokens=40).test) == 1


def test_a_row_with_nothing_to_learn_is_refused(tmp_path):
    write_rows(tmp_path / "train.jsonl", [row(), row("q", "masked")])
    assert refused(tmp_path, chat=WordChat(masks="masked")) == [("TW-DATA-022", "train.jsonl:2")]


def test_a_row_that_the_template_does_not_render_is_named(tmp_path):
    write_rows(tmp_path / "train.jsonl", [row(), row("odd")])
    assert refused(tmp_path, chat=WordChat(refuses="odd")) == [("TW-DATA-023", "train.jsonl:2")]


def test_a_template_that_renders_nothing_is_the_templates_fault(tmp_path):
    write_rows(tmp_path / "train.jsonl", [row("odd"), row("odd too")])
    with pytest.raises(ModelError, match="does not take this"):
        prepare(tmp_path, chat=WordChat(refuses="odd"))


def test_the_settings_may_lower_the_context_but_not_raise_it(tmp_path):
    write_rows(tmp_path / "train.jsonl", [row("a " * 30)])
    assert refused(tmp_path, context_tokens=20) == [("TW-DATA-021", "train.jsonl:1")]
    assert refused(tmp_path, context_tokens=101) == [("TW-DATA-027", "data.context_tokens")]
