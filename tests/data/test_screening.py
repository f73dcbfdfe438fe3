"""The policy decides by kind; a finding holds no text; prompt and answer agree."""

import json

from data_cases import policy, prepare, refused, row, write_rows

from tuneward.inspection.config import InspectionConfig
from tuneward.inspection.inspector import make_inspector

MAIL = "Please call +49 170 1234567 or write to jane@example.org."


def test_redaction_reaches_prompt_and_answer_in_train_and_test(tmp_path):
    write_rows(tmp_path / "train.jsonl", [row(MAIL, {"contact": "jane@example.org"})])
    write_rows(tmp_path / "test.jsonl", [row("Other: " + MAIL, "jane@example.org")])
    prepared = prepare(tmp_path, test=["test.jsonl"])
    assert prepared.train[0].messages[0].content == "Please call [PHONE] or write to [EMAIL]."
    assert prepared.train[0].answer == '{"contact":"[EMAIL]"}'
    assert prepared.test[0].answer == "[EMAIL]"
    assert prepared.counts["findings"] == {"email": {"redact": 4}, "phone": {"redact": 2}}
    prepared.write(tmp_path / "out")
    assert not any(b"jane@" in path.read_bytes() for path in (tmp_path / "out").iterdir())


def test_a_value_known_from_the_prompt_is_found_bare_in_the_answer(tmp_path):
    write_rows(
        tmp_path / "train.jsonl", [row("Tel. 612345678, thanks", '{"number": "612345678", "more": "6123456789"}')]
    )
    assert prepare(tmp_path).train[0].answer == '{"number": "[PHONE]", "more": "6123456789"}'


def test_a_bare_number_in_a_json_answer_stays_json(tmp_path):
    write_rows(tmp_path / "train.jsonl", [row("card 4111 1111 1111 1111", {"card": 4111111111111111, "ok": True})])
    assert json.loads(prepare(tmp_path).train[0].answer) == {"card": "[CARD]", "ok": True}


def test_a_policy_number_in_an_answer_stays(tmp_path):
    answer = {
        "policy_number": "HX-204-881-77",
        "amount": 12450.5,
        "date_of_loss": "2024-03-17",
        "claim": "0151-220-3341",
    }
    write_rows(tmp_path / "train.jsonl", [row("My policy is HX-204-881-77, claim 0151-220-3341.", answer)])
    prepared = prepare(tmp_path, rules=policy({"date": "allow", "*": "redact"}))
    assert json.loads(prepared.train[0].answer) == answer
    assert list(prepared.findings) == []


def test_drop_leaves_the_row_out_and_counts_it(tmp_path):
    write_rows(tmp_path / "train.jsonl", [row(MAIL), row("clean")])
    write_rows(tmp_path / "test.jsonl", [row(MAIL), row("clean too")])
    prepared = prepare(tmp_path, test=["test.jsonl"], rules=policy({"email": "drop", "*": "allow"}))
    assert (len(prepared.train), len(prepared.test)) == (1, 1)
    assert prepared.counts["train"]["dropped"]["finding"] == 1
    assert prepared.card["places"]["finding_dropped"] == [{"row": "train.jsonl:1"}, {"row": "test.jsonl:1"}]


def test_allow_changes_nothing_but_counts(tmp_path):
    write_rows(tmp_path / "train.jsonl", [row(MAIL)])
    prepared = prepare(tmp_path, rules=policy({"*": "allow"}))
    assert prepared.train[0].messages[0].content == MAIL
    assert prepared.counts["findings"]["email"] == {"allow": 1}


def test_block_names_every_row_and_kind_and_no_text(tmp_path):
    write_rows(tmp_path / "train.jsonl", [row(MAIL), row("clean"), row("key AKIAIOSFODNN7EXAMPLE")])
    rules = policy({"email": "block", "api_key": "block", "*": "allow"})
    assert refused(tmp_path, rules=rules) == [("TW-DATA-024", "train.jsonl:1"), ("TW-DATA-024", "train.jsonl:3")]


def test_findings_point_into_the_text_as_it_was_read(tmp_path):
    write_rows(tmp_path / "train.jsonl", [row(MAIL)])
    found = {f.finding.kind: f for f in prepare(tmp_path).findings}
    assert MAIL[found["email"].finding.start : found["email"].finding.end] == "jane@example.org"
    assert found["email"].field == "messages[0].content"
    assert found["email"].source == "train.jsonl:1"
    assert "jane" not in json.dumps(found["email"].to_json())


def test_tag_keeps_the_text_and_records_what_allow_only_counts(tmp_path):
    write_rows(tmp_path / "train.jsonl", [row(MAIL)])
    prepared = prepare(tmp_path, rules=policy({"email": "tag", "*": "allow"}))
    assert prepared.train[0].messages[0].content == MAIL
    assert prepared.counts["findings"] == {"email": {"tag": 1}, "phone": {"allow": 1}}
    assert [(f.finding.kind, f.action) for f in prepared.findings] == [("email", "tag")]
    assert [entry.kind for entry in prepared.finding_entries("dat_1")] == ["email"]
    prepared.write(tmp_path / "out")
    assert "tag 1" in (tmp_path / "out" / "card.html").read_text()


def test_pseudonyms_agree_across_rows_and_stay_json(tmp_path):
    answer = {"mail": "jane@example.com", "card": 4111111111111111}
    write_rows(tmp_path / "train.jsonl", [row("from jane@example.com", answer), row("to Jane@Example.com, bye")])
    first, second = prepare(tmp_path, rules=policy({"*": "pseudonymise"})).train
    fake = first.messages[0].content.removeprefix("from ")
    assert "jane@" not in fake
    assert second.messages[0].content == f"to {fake}, bye"
    assert json.loads(first.answer)["mail"] == fake
    assert json.loads(first.answer)["card"] != answer["card"]


def test_what_a_view_shows_is_redacted_and_told_with_its_view(tmp_path):
    write_rows(tmp_path / "train.jsonl", [row("write to jane%40example.com or a n n a @ x . o r g")])
    prepared = prepare(tmp_path)
    assert prepared.train[0].messages[0].content == "write to [EMAIL] or [EMAIL]"
    assert prepared.counts["findings_in_views"] == {"normalised": 1, "url": 1}
    assert {f.to_json()["view"] for f in prepared.findings} == {"normalised", "url"}
    assert {entry.view for entry in prepared.finding_entries("dat_1")} == {"normalised", "url"}
    prepared.write(tmp_path / "out")
    assert "after decoding or normalising" in (tmp_path / "out" / "card.html").read_text()


def test_the_site_s_own_terms_are_screened_by_list(tmp_path):
    (tmp_path / "customers.txt").write_text("Acme Holding\n")
    config = InspectionConfig(terms={"customers": "customers.txt"})
    write_rows(tmp_path / "train.jsonl", [row("sold to ACME Holding"), row("clean")])
    rules = policy({"term:customers": "drop", "term": "allow", "*": "block"})
    prepared = prepare(tmp_path, rules=rules, inspector=make_inspector(config, folder=tmp_path))
    assert [record.messages[0].content for record in prepared.train] == ["clean"]
    assert prepared.counts["findings"] == {"term:customers": {"drop": 1}}
