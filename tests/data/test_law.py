"""Terms of rows: read from settings and columns, judged by the policy, and never passed over in silence."""

import json
from dataclasses import replace
from datetime import date

import pytest

from tests.data.data_cases import policy, row, write_rows
from tests.data.data_cases import prepare as prepare_rows
from tuneward.data.law import REASONS
from tuneward.data.records import pseudonym
from tuneward.data.terms import consent_pseudonym, countries_of, tables
from tuneward.domain.finding import Finding
from tuneward.domain.law import Terms
from tuneward.errors import DataError
from tuneward.inspection.inspector import Inspector

TODAY = date(2026, 6, 15)
BLOCK = {"*": "block"}
DROP = {"*": "drop"}


def rules(on_unlawful=None, **more):
    return replace(policy({"*": "allow"}), on_unlawful=on_unlawful or BLOCK, **more)


def rows_of(*extra):
    return [row(prompt=f"question {number}", answer=f"answer {number}", **more) for number, more in enumerate(extra)]


def prepare(folder, rows, *, rules=None, today=TODAY, **settings):
    write_rows(folder / "train.jsonl", rows)
    return prepare_rows(folder, rules=rules, today=today, **settings)


def codes(error):
    return [fault.code for fault in error.value.faults]


def refused(folder, rows, **more):
    with pytest.raises(DataError) as error:
        prepare(folder, rows, **more)
    return error


# reading ------------------------------------------------------------------------------------------------------------


def test_the_flat_settings_of_old_say_the_same(tmp_path):
    prepared = prepare(tmp_path, rows_of({}, {}), legal_basis="contract", licence="MIT")
    assert {record.terms for record in prepared.train} == {Terms(legal_basis="contract", licence="MIT")}
    assert prepared.train[0].terms is prepared.train[1].terms, "a million rows share one set"


def test_a_later_entry_that_names_the_file_wins_and_columns_win_over_values(tmp_path):
    prepared = prepare(
        tmp_path,
        rows_of({"basis": "Art. 6(1)(f)", "land": "it"}, {"basis": "public task", "land": ""}),
        terms={"purpose": "claims", "geography": "DE", "retention": "2030-01-01"},
        sources=[
            {"files": "*.jsonl", "purpose": "triage", "columns": {"legal_basis": "basis"}},
            {"files": ["train.jsonl"], "columns": {"geography": "land"}, "origin": "the claims desk"},
            {"files": "t*.jsonl", "retention": "2029-01-01"},
        ],
    )
    shared = {"purpose": "triage", "origin": "the claims desk", "retention": "2029-01-01"}
    assert [record.terms for record in prepared.train] == [
        Terms(**shared, legal_basis="legitimate_interests", geography="IT"),
        Terms(**shared, legal_basis="public_task"),
    ], "an empty cell says nothing: no default stands in"


def test_a_source_may_name_its_own_subject_column(tmp_path):
    prepared = prepare(tmp_path, rows_of({"who": "ann"}), sources=[{"files": "train.jsonl", "subject": "who"}])
    assert prepared.train[0].subject is not None


@pytest.mark.parametrize(
    ("column", "value", "code"),
    [
        ("retention", "15.06.2027", "TW-DATA-064"),
        ("retention", "2027-02-30", "TW-DATA-064"),
        ("retention", "2027-13", "TW-DATA-064"),
        ("consent_expires", 20270101, "TW-DATA-064"),
        ("legal_basis", "because", "TW-DATA-065"),
        ("legal_basis", "9(2)(a)", "TW-DATA-065"),
        ("condition", "6(1)(a)", "TW-DATA-065"),
        ("condition", "9(2)(k)", "TW-DATA-065"),
        ("geography", "Atlantis", "TW-DATA-065"),
        ("category", "stolen", "TW-DATA-065"),
        ("purpose", ["a"], "TW-DATA-016"),
        ("purpose", "x" * 3000, "TW-DATA-065"),
        ("purpose", True, "TW-DATA-016"),
    ],
)
def test_what_is_not_written_as_it_should_be_is_a_fault_under_every_policy(tmp_path, column, value, code):
    error = refused(tmp_path, rows_of({"x": value}), terms={"columns": {column: "x"}}, rules=rules(DROP))
    assert codes(error) == [code]
    assert str(value) not in str(error.value) or isinstance(value, bool)


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("retention", "2027-01-31T12:00:00Z", "2027-01-31"),
        ("legal_basis", " Legal-Obligation ", "legal_obligation"),
        ("legal_basis", "article 6(1)(c)", "legal_obligation"),
        ("condition", "9(2)(h)", "health_care"),
        ("condition", "9 (2) j", "research"),
        ("geography", "uk", "GB"),
        ("geography", "eea", "EEA"),
    ],
)
def test_spellings(tmp_path, column, value, expected):
    prepared = prepare(tmp_path, rows_of({"x": value}), terms={"columns": {column: "x"}})
    assert getattr(prepared.train[0].terms, column) == expected


def test_a_column_that_is_not_there_is_told_once(tmp_path):
    error = refused(tmp_path, rows_of({}, {}, {}), terms={"columns": {"purpose": "why"}})
    assert codes(error) == ["TW-DATA-015"]


def test_an_entry_that_names_no_file_is_told(tmp_path):
    error = refused(tmp_path, rows_of({}), sources=[{"files": "tain.jsonl", "purpose": "x"}])
    assert codes(error) == ["TW-DATA-001"]
    assert "data.sources[0]" in error.value.faults[0].place


def test_groups_of_countries():
    assert countries_of("EU") < countries_of("EEA")
    assert len(countries_of("EU")) == 27
    assert all(isinstance(name, str) for group in tables()["groups"].values() for name in group), "YAML's NO is Norway"
    assert len(countries_of("EEA")) == 30
    assert countries_of("Uk") == {"GB"}
    assert countries_of("Europe") is None


# judging ------------------------------------------------------------------------------------------------------------


def test_rows_without_what_the_policy_requires_are_all_named(tmp_path):
    strict = rules(require=("legal_basis", "purpose", "retention", "licence"))
    error = refused(tmp_path, rows_of({}, {}), rules=strict, legal_basis="contract")
    assert codes(error) == ["TW-DATA-060"] * 2
    assert [fault.place for fault in error.value.faults] == ["train.jsonl:1", "train.jsonl:2"]
    assert "purpose, retention, licence" in error.value.faults[0].message


def test_seventy_rows_are_fifty_and_a_count(tmp_path):
    error = refused(tmp_path, rows_of(*({},) * 70), rules=rules(require=("purpose",)))
    assert codes(error) == ["TW-DATA-060"] * 50 + ["TW-DATA-029"]
    assert "20 x TW-DATA-060" in error.value.faults[-1].message


def test_a_consents_reference_is_asked_where_consent_is_the_basis(tmp_path):
    asked = rules(require=("consent",))
    terms = {"columns": {"legal_basis": "b", "consent": "c"}}
    rows = rows_of({"b": "consent", "c": "form 1"}, {"b": "contract", "c": None}, {"b": "consent", "c": ""})
    error = refused(tmp_path, rows, rules=asked, terms=terms)
    assert [fault.place for fault in error.value.faults] == ["train.jsonl:3"]
    prepared = prepare(tmp_path, rows, rules=replace(asked, on_unlawful=DROP), terms=terms)
    assert prepared.counts["law"]["left"] == {"train": {"missing": 1}}
    assert prepared.counts["train"]["dropped"]["terms"] == 1
    assert prepared.card["legal"]["named"] == {"missing": [{"row": "train.jsonl:3"}]}


@pytest.mark.parametrize(
    ("reason", "terms", "more"),
    [
        ("expired", {"legal_basis": "consent", "consent_expires": "2026-06-14"}, {}),
        ("retention", {"retention": "2026-06-14"}, {}),
        ("geography", {"geography": "US"}, {"geography": ("EEA", "CH")}),
        ("geography", {"geography": "EEA"}, {"geography": ("EU",)}),
    ],
)
def test_each_reason_has_its_code_and_may_drop_instead(tmp_path, reason, terms, more):
    error = refused(tmp_path, rows_of({}), rules=rules(**more), sources=[{"files": "train.jsonl", **terms}])
    assert codes(error) == [REASONS[reason][0]]
    assert error.value.faults[0].cure
    both = [{"files": "train.jsonl", **terms}, {"files": "other.jsonl", "geography": "CH", "retention": "2027-01-01"}]
    write_rows(tmp_path / "other.jsonl", rows_of({}))
    kept = prepare(tmp_path, rows_of({}), train=("*.jsonl",), rules=rules({"*": "block", reason: "drop"}), sources=both)
    assert kept.counts["law"]["left"] in ({"train": {reason: 1}}, {}) if more else {"train": {reason: 1}}


@pytest.mark.parametrize(
    "terms",
    [
        {"legal_basis": "consent", "consent_expires": "2026-06-15"},
        {"legal_basis": "contract", "consent_expires": "2026-06-14"},
        {"retention": "2026-06-15"},
        {"geography": "NO"},
    ],
)
def test_the_last_day_counts_and_so_does_what_the_row_rests_on(tmp_path, terms):
    terms = {"geography": "NO", **terms}
    prepared = prepare(tmp_path, rows_of({}), rules=rules(geography=("EEA",)), terms=terms)
    assert len(prepared.train) == 1


def test_where_countries_are_named_rows_must_say_theirs(tmp_path):
    assert codes(refused(tmp_path, rows_of({}), rules=rules(geography=("EU",)))) == ["TW-DATA-060"]


def test_a_special_category_that_stays_needs_its_condition(tmp_path, monkeypatch):
    found = [Finding("special_health", 0, 3, 1.0, "x")]
    monkeypatch.setattr(Inspector, "inspect", lambda self, text: found)
    asked = rules(require=("condition",))
    assert codes(refused(tmp_path, rows_of({}), rules=asked)) == ["TW-DATA-069"]
    assert len(prepare(tmp_path, rows_of({}), rules=asked, terms={"condition": "health_care"}).train) == 1
    redacted = replace(asked, on_finding={"*": "redact"})
    assert len(prepare(tmp_path, rows_of({}), rules=redacted).train) == 1, "what was taken out asks for nothing"


def test_withdrawn_by_reference_and_by_subject(tmp_path):
    rows = rows_of({"who": "ann", "c": "A"}, {"who": "bob", "c": "B"}, {"who": "cyd", "c": ""})
    settings = {"subject": "who", "terms": {"columns": {"consent": "c"}}}
    keys = {"key": b"s" * 32}
    plain = prepare(tmp_path, rows, rules=rules(DROP), **settings)
    subjects = [record.subject for record in plain.train]
    consent = plain.train[0].terms.consent
    left = [
        prepare(tmp_path, rows, rules=rules(DROP), withdrawn=gone, **settings).counts["train"]["kept"]
        for gone in ([consent], [subjects[1]], [subjects[2], consent], ["con_" + "0" * 40])
    ]
    assert left == [2, 2, 1, 3]
    contract = prepare(
        tmp_path, rows, rules=rules(DROP), subject="who", legal_basis="contract", withdrawn=[subjects[1]]
    )
    assert len(contract.train) == 3, "rows that rest on a contract do not fall with a consent"
    assert codes(refused(tmp_path, rows, rules=rules(), withdrawn=[consent], **settings)) == ["TW-DATA-066"]
    assert consent_pseudonym(" A ", **keys) == consent_pseudonym("A", **keys) != pseudonym("A", **keys)


# licences -----------------------------------------------------------------------------------------------------------


def test_a_licence_that_does_not_allow_the_use_is_one_fault_with_its_rows(tmp_path):
    settings = {"terms": {"columns": {"licence": "l"}}}
    rows = rows_of({"l": "CC-BY-NC-4.0"}, {"l": "CC-BY-NC-4.0 OR MIT"}, {"l": "CC-BY-NC-4.0"}, {"l": "made up"})
    error = refused(tmp_path, rows, **settings)
    assert codes(error) == ["TW-DATA-068", "TW-DATA-067"]
    assert error.value.faults[0].message.startswith("2 rows under `CC-BY-NC-4.0`")
    assert codes(refused(tmp_path, rows, use="research", **settings)) == ["TW-DATA-067"]


def test_a_licence_of_the_sites_own_and_what_licences_ask(tmp_path):
    own = {"LicenseRef-acme": {"uses": ["internal"], "duties": [{"uses": ["internal"], "text": "Tell Acme."}]}}
    prepared = prepare(tmp_path, rows_of({}), licence="LicenseRef-acme AND CC-BY-SA-4.0", licences=own)
    assert [duty["text"] for duty in prepared.counts["law"]["duties"]] == ["Tell Acme."]
    shared = prepare(tmp_path, rows_of({}), licence="CC-BY-SA-4.0", use="weights").counts["law"]
    assert [duty["kind"] for duty in shared["duties"]] == ["attribution", "share_alike"]
    error = refused(tmp_path, rows_of({}), licence="LicenseRef-acme", licences=own, use="hosted")
    assert codes(error) == ["TW-DATA-068"]


# what is kept ---------------------------------------------------------------------------------------------------------


def test_the_same_rows_under_other_terms_have_the_same_fingerprint_and_another_digest_of_terms(tmp_path):
    one = prepare(tmp_path, rows_of({}, {}), legal_basis="contract")
    other = prepare(tmp_path, rows_of({}, {}), legal_basis="consent")
    none = prepare(tmp_path, rows_of({}, {}))
    assert one.fingerprint == other.fingerprint == none.fingerprint
    assert one.ledger.digest != other.ledger.digest
    assert none.ledger.digest is None
    assert none.terms_entries("dat_1") == []
    (entry,) = one.terms_entries("dat_1")
    assert {row.terms for row in one.entries("dat_1")} == {entry.id}
    assert (entry.rests_on_consent, entry.terms) == (False, {"legal_basis": "contract"})


def test_terms_by_row_are_kept_in_order_and_the_table_sums_them_up(tmp_path):
    rows = rows_of(*({"c": f"form {number}", "until": f"2027-01-0{1 + number % 3}"} for number in range(6)))
    settings = {"legal_basis": "consent", "terms": {"columns": {"consent": "c", "consent_expires": "until"}}}
    prepared = prepare(tmp_path, rows, **settings)
    prepared.write(tmp_path / "out")
    kept = json.loads((tmp_path / "out" / "terms.json").read_bytes())
    assert [number for _, number in kept["rows"]["train"]] == [1] * 6
    assert [kept["sets"][name]["consent_expires"] for name, _ in kept["rows"]["train"]] == [r["until"] for r in rows]
    assert b"form 1" not in b"".join(path.read_bytes() for path in (tmp_path / "out").iterdir())
    (line,) = prepared.card["legal"]["lines"]
    assert (line["train"], line["consents"], line["expires"]) == (6, 6, ["2027-01-01", "2027-01-03"])
    assert prepared.counts["law"]["valid_until"] == "2027-01-01"


def test_many_sets_of_terms_end_in_a_sum(tmp_path):
    rows = rows_of(*({"o": f"origin {number}"} for number in range(60)))
    prepared = prepare(tmp_path, rows, terms={"columns": {"origin": "o"}})
    assert len(prepared.card["legal"]["lines"]) == 50
    assert prepared.card["legal"]["more"] == {"sets": 10, "rows": 10}
    prepared.write(tmp_path / "out")
    assert "10 more sets" in (tmp_path / "out" / "card.html").read_text(encoding="utf-8")
