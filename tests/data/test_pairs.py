"""Pairs: every form in which they come, and everything that is wrong with them."""

import pytest
from data_cases import prepare, refused, row, write_rows

from tuneward.data.conversations import parse_turns
from tuneward.errors import DataError

USER, GOOD, BAD = ({"role": r, "content": c} for r, c in (("user", "q"), ("assistant", "good"), ("assistant", "bad")))
HH = "\n\nHuman: q\n\nAssistant: "


def pairs(folder, *rows, **arguments):
    write_rows(folder / "train.jsonl", rows)
    return prepare(folder, form="pair", **arguments)


def faults(folder, *rows, **arguments):
    write_rows(folder / "train.jsonl", rows)
    return [code for code, _ in refused(folder, form="pair", **arguments)]


@pytest.mark.parametrize(
    "one",
    [
        {"prompt": "q", "chosen": "good", "rejected": "bad"},
        {"question": "q", "chosen": "good", "rejected": "bad"},
        {"instruction": "q", "input": "", "chosen": "good", "rejected": "bad"},
        {"prompt": [USER], "chosen": [GOOD], "rejected": [BAD]},
        {"prompt": [USER], "chosen": "good", "rejected": BAD},
        {"prompt": "q", "chosen": [USER, GOOD], "rejected": [USER, BAD]},
        {"chosen": [USER, GOOD], "rejected": [USER, BAD]},
        {"chosen": HH + "good", "rejected": HH + "bad"},
    ],
)
def test_every_form_gives_the_same_pair(tmp_path, one):
    (record,) = pairs(tmp_path, one).train
    assert [(m.role, m.content) for m in record.messages] == [("user", "q"), ("assistant", "good")]
    assert (record.rejected.role, record.rejected.content) == ("assistant", "bad")
    assert (record.form, record.margin, record.answer) == ("pair", None, "good")


def test_conversations_share_their_beginning(tmp_path):
    start = HH + "one moment\n\nHuman: and?\n\nAssistant: "
    (record,) = pairs(tmp_path, {"chosen": start + "good", "rejected": start + "bad"}, system="Be brief.").train
    assert [m.role for m in record.messages] == ["system", "user", "assistant", "user", "assistant"]
    assert record.rejected.content == "bad"


def test_a_transcript_keeps_what_only_looks_like_a_speaker():
    turns = parse_turns("\n\nHuman: a Human: b\nAssistant: c\n\nAssistant: d\n\nx")
    assert [turn["content"] for turn in turns] == ["a Human: b\nAssistant: c", "d\n\nx"]
    assert parse_turns("no transcript\n\nHuman: x") is None


@pytest.mark.parametrize(("margin", "wanted"), [(2, 2.0), ("1.5", 1.5), (None, None), ("", None), (-0.5, -0.5)])
def test_a_margin_is_taken_along(tmp_path, margin, wanted):
    prepared = pairs(tmp_path, {"prompt": "q", "chosen": "good", "rejected": "bad", "margin": margin})
    assert prepared.train[0].margin == wanted
    assert "margins from `margin`" in prepared.card["files"][0]["columns"]


@pytest.mark.parametrize(
    ("one", "code"),
    [
        ({"prompt": "q", "chosen": "same", "rejected": " same\n"}, "TW-DATA-033"),
        ({"prompt": "q", "chosen": "", "rejected": "bad"}, "TW-DATA-018"),
        ({"prompt": "q", "chosen": "good", "rejected": " \n"}, "TW-DATA-018"),
        ({"prompt": "q", "chosen": "good", "rejected": None}, "TW-DATA-018"),
        ({"prompt": "", "chosen": "good", "rejected": "bad"}, "TW-DATA-019"),
        ({"prompt": "q", "chosen": 1, "rejected": "bad"}, "TW-DATA-016"),
        ({"prompt": [USER, GOOD], "chosen": "good", "rejected": "bad"}, "TW-DATA-017"),
        ({"prompt": "p", "chosen": [USER, GOOD], "rejected": [USER, BAD]}, "TW-DATA-034"),
        ({"chosen": HH + "good", "rejected": HH.replace("q", "p") + "bad"}, "TW-DATA-034"),
        ({"chosen": HH + "good", "rejected": HH + "x\n\nHuman: y\n\nAssistant: bad"}, "TW-DATA-034"),
        ({"chosen": HH, "rejected": HH + "bad"}, "TW-DATA-018"),
        ({"chosen": HH + "good\n\nHuman: more", "rejected": HH + "bad"}, "TW-DATA-017"),
        ({"chosen": "good", "rejected": "bad"}, "TW-DATA-016"),
        *(
            ({"prompt": "q", "chosen": "good", "rejected": "bad", "margin": margin}, "TW-DATA-035")
            for margin in ("nan", "inf", "much", True, [1], 10**400)
        ),
    ],
)
def test_what_is_no_pair_is_told_with_its_line(tmp_path, one, code):
    assert code in faults(tmp_path, {"prompt": "q2", "chosen": "1", "rejected": "2"} if "prompt" in one else one, one)


def test_the_column_that_is_wrong_is_named(tmp_path):
    write_rows(tmp_path / "train.jsonl", [{"chosen": HH + "good", "rejected": HH}])
    with pytest.raises(DataError, match=r"the last answer is empty \(`rejected`\)"):
        prepare(tmp_path, form="pair")


def test_all_faults_of_all_rows_are_told(tmp_path):
    rows = [{"prompt": "q", "chosen": "a", "rejected": "a"}, {"prompt": "", "chosen": "a", "rejected": ""}]
    assert sorted(faults(tmp_path, *rows)) == ["TW-DATA-019", "TW-DATA-033"]


def test_answers_that_redaction_makes_equal_are_told(tmp_path):
    one = {"prompt": "q", "chosen": "mail a@example.org", "rejected": "mail b@example.org"}
    assert faults(tmp_path, one) == ["TW-DATA-033"]


def test_personal_data_in_the_worse_answer_is_found_and_redacted(tmp_path):
    prepared = pairs(tmp_path, {"prompt": "q", "chosen": "good", "rejected": "ask ada@example.org"})
    assert prepared.train[0].rejected.content == "ask [EMAIL]"
    assert [found.field for found in prepared.findings] == ["rejected.content"]


def test_two_pairs_of_one_prompt_stay_and_a_pair_turned_round_is_noticed(tmp_path):
    one = {"prompt": "q", "chosen": "a", "rejected": "b"}
    turned = {"prompt": "q", "chosen": "b", "rejected": "a"}
    other = {"prompt": "q", "chosen": "a", "rejected": "c"}
    prepared = pairs(tmp_path, one, other, turned, one)
    assert [record.source.line for record in prepared.train] == [1, 2, 3]
    assert prepared.counts["contradictions"] == 1
    assert prepared.counts["train"]["dropped"]["duplicate"] == 1


def test_pairs_too_long_are_refused_or_dropped_by_their_longer_answer(tmp_path):
    rows = [
        {"prompt": "a b c", "chosen": "d", "rejected": "e " * 20},
        {"prompt": "a b c", "chosen": "d", "rejected": "e"},
    ]
    assert faults(tmp_path, *rows, tokens=20) == ["TW-DATA-021"]
    for too_long in ("drop", "split"):
        prepared = pairs(tmp_path, *rows, tokens=20, too_long=too_long)
        assert prepared.counts["train"]["dropped"]["too_long"] == 1
    assert prepared.counts["train"]["tokens"] == 4 + 2 + 2
    assert prepared.counts["train"]["answer_tokens"] == 4


def test_prompts_of_pairs_that_are_tested_leave(tmp_path):
    write_rows(tmp_path / "test.jsonl", [row("tested")])
    rows = [{"prompt": "tested", "chosen": "a", "rejected": "b"}, {"prompt": "q", "chosen": "a", "rejected": "b"}]
    prepared = pairs(tmp_path, *rows, test=["test.jsonl"])
    assert [record.source.line for record in prepared.train] == [2]
    assert prepared.test[0].form == "conversation"


@pytest.mark.parametrize(
    ("form", "one"),
    [
        ("conversation", {"chosen": "a", "rejected": "b"}),
        ("conversation", {"text": "a"}),
        ("pair", row()),
        ("pair", {"messages": [USER, GOOD]}),
        ("pair", {"text": "a"}),
        ("document", row()),
        ("document", {"prompt": "q", "chosen": "a", "rejected": "b"}),
        ("judged", {"prompt": "q", "chosen": "a", "rejected": "b"}),
        ("judged", {"text": "a"}),
    ],
)
def test_rows_of_another_kind_name_the_method_that_learns_from_them(tmp_path, form, one):
    write_rows(tmp_path / "train.jsonl", [one])
    with pytest.raises(DataError, match=r"training\.method") as caught:
        prepare(tmp_path, form=form)
    assert [fault.code for fault in caught.value.faults] == ["TW-DATA-032"]


def test_named_columns_of_pairs(tmp_path):
    one = {"ask": "q", "up": "good", "down": "bad", "by": 1}
    prepared = pairs(tmp_path, one, prompt="ask", chosen="up", rejected="down", margin="by")
    assert (prepared.train[0].answer, prepared.train[0].margin) == ("good", 1.0)
    assert prepared.card["files"][0]["columns"] == (
        "prompts from `ask`, pairs from `up` (better) and `down`, margins from `by`"
    )
    assert "TW-DATA-015" in faults(tmp_path, one, prompt="asks", chosen="up", rejected="downs")
