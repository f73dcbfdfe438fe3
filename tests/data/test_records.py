"""From rows to conversations: shapes, checks, ids and pseudonyms."""

import json

import pytest
from data_cases import prepare, refused, row, write_rows

from tuneward.errors import DataError


def turns(*roles, content="x"):
    return {"messages": [{"role": role, "content": content} for role in roles]}


@pytest.mark.parametrize(
    "one",
    [
        {"prompt": "q", "answer": "a"},
        {"prompt": "q", "completion": "a"},
        {"instruction": "q", "output": "a"},
        {"question": "q", "answer": "a"},
        {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]},
    ],
)
def test_known_columns_are_guessed(tmp_path, one):
    write_rows(tmp_path / "train.jsonl", [one])
    assert [(m.role, m.content) for m in prepare(tmp_path).train[0].messages] == [("user", "q"), ("assistant", "a")]


def test_an_instruction_takes_its_input_along(tmp_path):
    write_rows(tmp_path / "train.jsonl", [{"instruction": "Sum up.", "input": "Text.", "output": "T."}])
    assert prepare(tmp_path).train[0].messages[0].content == "Sum up.\n\nText."


def test_named_columns_and_the_system_message(tmp_path):
    write_rows(tmp_path / "train.jsonl", [{"mail": "q", "triage": "a", "prompt": "no", "answer": "no"}])
    record = prepare(tmp_path, prompt="mail", answer="triage", system="Be brief.").train[0]
    assert [m.content for m in record.messages] == ["Be brief.", "q", "a"]


def test_a_rows_own_system_message_stays(tmp_path):
    write_rows(tmp_path / "train.jsonl", [turns("system", "user", "assistant")])
    assert [m.role for m in prepare(tmp_path, system="Other.").train[0].messages] == ["system", "user", "assistant"]


def test_a_missing_column_is_told_once_with_a_suggestion(tmp_path):
    write_rows(tmp_path / "train.jsonl", [{"prompt": "q", "anwser": "a"}] * 3)
    with pytest.raises(DataError, match="did you mean `anwser`") as caught:
        prepare(tmp_path, prompt="prompt", answer="answer")
    assert [f.code for f in caught.value.faults] == ["TW-DATA-015"]


def test_answers_that_are_objects_become_compact_json_in_their_own_order(tmp_path):
    write_rows(tmp_path / "train.jsonl", [row(answer={"z": 1, "a": ["ü", None], "m": {"k": 1.5}}), row("b", [1, 2])])
    answers = [record.answer for record in prepare(tmp_path).train]
    assert answers == ['{"z":1,"a":["ü",null],"m":{"k":1.5}}', "[1,2]"]


@pytest.mark.parametrize(
    ("one", "code"),
    [
        (row(answer=""), "TW-DATA-018"),
        (row(answer=" \n\t\u00a0"), "TW-DATA-018"),
        (row(answer=None), "TW-DATA-018"),
        (row(prompt=""), "TW-DATA-019"),
        (row(answer=5), "TW-DATA-016"),
        (row(answer=True), "TW-DATA-016"),
        (row(prompt=["q"]), "TW-DATA-016"),
    ],
)
def test_a_bad_value_is_named_by_line(tmp_path, one, code):
    write_rows(tmp_path / "train.jsonl", [row(), one])
    assert refused(tmp_path) == [(code, "train.jsonl:2")]


def test_a_column_missing_in_one_row(tmp_path):
    write_rows(tmp_path / "train.jsonl", [row(), {"prompt": "q"}])
    assert refused(tmp_path) == [("TW-DATA-015", "train.jsonl:2")]


@pytest.mark.parametrize(
    ("one", "code"),
    [
        (turns("user"), "TW-DATA-017"),
        (turns("user", "assistant", "user"), "TW-DATA-017"),
        (turns("assistant"), "TW-DATA-017"),
        (turns("user", "user", "assistant"), "TW-DATA-017"),
        (turns("user", "system", "assistant"), "TW-DATA-017"),
        (turns("system"), "TW-DATA-017"),
        (turns("user", "tool", "assistant"), "TW-DATA-017"),
        ({"messages": [{"role": ["user"], "content": "x"}, {"role": "assistant", "content": "x"}]}, "TW-DATA-017"),
        ({"messages": []}, "TW-DATA-016"),
        ({"messages": "hello"}, "TW-DATA-016"),
        ({"messages": ["hello"]}, "TW-DATA-016"),
        ({"messages": [{"role": "user"}, {"role": "assistant", "content": "x"}]}, "TW-DATA-016"),
        ({"messages": [{"role": "user", "content": 5}, {"role": "assistant", "content": "x"}]}, "TW-DATA-016"),
        ({"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": " "}]}, "TW-DATA-018"),
        ({"messages": [{"role": "user", "content": ""}, {"role": "assistant", "content": "x"}]}, "TW-DATA-019"),
    ],
)
def test_a_conversation_out_of_order(tmp_path, one, code):
    write_rows(tmp_path / "train.jsonl", [turns("user", "assistant"), one])
    assert refused(tmp_path) == [(code, "train.jsonl:2")]


def test_conversations_in_csv_are_json_text(tmp_path):
    text = json.dumps(turns("user", "assistant")["messages"]).replace('"', '""')
    (tmp_path / "train.csv").write_text(f'messages\n"{text}"\n')
    assert len(prepare(tmp_path, train=["train.csv"]).train[0].messages) == 2


def test_ids_are_the_same_on_every_read_and_differ_by_place_key_and_text(tmp_path):
    write_rows(tmp_path / "train.jsonl", [row("a"), row("b")])
    first, again = prepare(tmp_path), prepare(tmp_path)
    assert [r.id for r in first.train] == [r.id for r in again.train]
    assert len({r.id for r in first.train}) == 2
    assert all(r.id.startswith("rec_") for r in first.train)
    (tmp_path / "other.jsonl").write_bytes((tmp_path / "train.jsonl").read_bytes())
    assert {r.id for r in first.train}.isdisjoint(r.id for r in prepare(tmp_path, train=["other.jsonl"]).train)


def test_a_subject_is_one_person_however_its_accents_are_encoded(tmp_path):
    names = ("Jos\u00e9", "Jose\u0301", " Jos\u00e9 ", "Jose")
    write_rows(tmp_path / "train.jsonl", [row(f"q {number}", who=name) for number, name in enumerate(names)])
    composed, decomposed, padded, other = (r.subject for r in prepare(tmp_path, subject="who").train)
    assert composed == decomposed == padded != other


def test_a_subject_is_kept_only_as_a_pseudonym(tmp_path):
    rows = [row("a", customer="C-77"), row("b", customer=" C-77 "), row("c", customer=12), row("d", customer=None)]
    write_rows(tmp_path / "train.jsonl", rows)
    prepared = prepare(tmp_path, subject="customer")
    one, two, three, four = (r.subject for r in prepared.train)
    assert one == two != three
    assert four is None
    assert one.startswith("sub_")
    assert prepared.counts["without_subject"] == 1
    prepared.write(tmp_path / "out")
    assert not any(b"C-77" in path.read_bytes() for path in (tmp_path / "out").iterdir())


def test_a_missing_subject_column_is_refused(tmp_path):
    write_rows(tmp_path / "train.jsonl", [row()])
    assert refused(tmp_path, subject="customer") == [("TW-DATA-015", "train.jsonl")]


def test_a_subject_of_a_wrong_type_is_refused(tmp_path):
    write_rows(tmp_path / "train.jsonl", [row(customer={"id": 1})])
    assert refused(tmp_path, subject="customer") == [("TW-DATA-016", "train.jsonl:1")]


def test_lone_surrogates_controls_and_right_to_left_text_pass(tmp_path):
    lines = [r'{"prompt":"a\ud800b","answer":"x\u0000y"}', r'{"prompt":"\u202eשלום\u0007","answer":"😀 \ud83d\ude00"}']
    (tmp_path / "train.jsonl").write_text("\n".join(lines), encoding="utf-8")
    prepared = prepare(tmp_path)
    assert [m.content for m in prepared.train[0].messages] == ["a\ufffdb", "x\ufffdy"]
    assert [m.content for m in prepared.train[1].messages] == ["\u202eשלום\u0007", "😀 😀"]
    assert prepared.counts["repaired_characters"] == 2
    prepared.write(tmp_path / "out")
