"""The judge of the claims example: what it counts as found, missed and wrongly found."""

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "examples" / "claims"
FIELD = "messages[1].content"


@pytest.fixture(scope="module")
def judge() -> ModuleType:
    sys.path.insert(0, str(FOLDER))
    try:
        return importlib.import_module("check_planted")
    finally:
        sys.path.remove(str(FOLDER))


def plant(kind: str, line: int, **more: Any) -> dict[str, Any]:
    return {"file": "train.jsonl", "line": line, "kind": kind, **more}


def text(kind: str, line: int, start: int, words: str, **more: Any) -> dict[str, Any]:
    return plant(kind, line, column="prompt", start=start, end=start + len(words), text=words, **more)


def finding(kind: str, line: int, start: int, end: int, action: str = "redact", field: str = FIELD) -> dict[str, Any]:
    row = f"data/train.jsonl:{line}"
    return {"kind": kind, "source": row, "start": start, "end": end, "action": action, "field": field}


def card(**places: list[dict[str, str]]) -> dict[str, Any]:
    return {"places": places, "legal": {"named": {}}}


def counted(judge: ModuleType, plan: list[Any], findings: list[Any], *, page: Any = None, quality: Any = ()) -> Any:
    lines = judge.count(plan, page or card(), findings, list(quality))
    return {
        line.kind: (line.planted, line.found, line.missed, line.wrong) for line in lines if line.planted or line.wrong
    }


def test_found_means_every_letter_and_digit_by_findings_of_its_kind(judge: ModuleType) -> None:
    plan = [text("phone", line, 10, "(030) 12-34") for line in (1, 2, 3, 4)]
    findings = [
        finding("phone", 1, 11, 21),  # the bracket is no letter and no digit
        finding("phone", 2, 10, 20),  # one digit stays
        finding("phone", 3, 10, 16),
        finding("phone", 3, 16, 21),  # in two parts
        finding("iban", 4, 10, 21),  # taken for something else
    ]
    assert counted(judge, plan, findings) == {"phone": (4, 2, 2, 0), "iban": (0, 0, 0, 1)}


def test_wrongly_found_is_what_touches_no_plant_of_its_kind(judge: ModuleType) -> None:
    plan = [text("email", 1, 0, "a@b.example")]
    findings = [
        finding("email", 1, 0, 11),
        finding("email", 1, 40, 50),
        finding("email", 2, 0, 11),
        finding("email", 1, 0, 11, field="messages[2].content"),
        finding("person", 1, 60, 64, action="tag"),  # not planned, not judged
    ]
    assert counted(judge, plan, findings) == {"email": (1, 1, 0, 3)}


def test_a_near_miss_is_right_where_nothing_found_it(judge: ModuleType) -> None:
    plan = [text("iban_near_miss", line, 5, "DE00 1234") for line in (1, 2, 3)]
    findings = [finding("address", 2, 8, 12), finding("date", 3, 5, 8, action="allow")]
    assert counted(judge, plan, findings) == {"iban_near_miss": (3, 2, 1, 0), "address": (0, 0, 0, 1)}


def test_disguises_have_lines_of_their_own(judge: ModuleType) -> None:
    plan = [text("email", 1, 0, "YUBi", disguise="base64"), text("email", 2, 0, "a@b.example")]
    found = counted(judge, plan, [finding("email", 1, 0, 4)])
    assert found == {"email, base64": (1, 1, 0, 0), "email": (1, 0, 1, 0)}


def test_of_copies_the_pair_counts_whichever_is_named(judge: ModuleType) -> None:
    plan = [
        plant("duplicate", 5, of={"file": "train.jsonl", "line": 9}),
        plant("duplicate", 6, of={"file": "train.jsonl", "line": 7}),
    ]
    page = card(
        duplicate=[
            {"row": "data/train.jsonl:9", "like": "data/train.jsonl:5"},
            {"row": "data/train.jsonl:8", "like": "data/train.jsonl:6"},
        ]
    )
    assert counted(judge, plan, [], page=page) == {"duplicate": (2, 1, 1, 1)}


def test_a_row_with_another_fault_of_its_answer_is_not_wrongly_found(judge: ModuleType) -> None:
    plan = [plant("broken_json", 1), plant("assistant_phrase", 2)]
    quality = [
        {"source": "data/train.jsonl:1", "reasons": ["broken_json.does_not_parse", "outside_schema.task"]},
        {"source": "data/train.jsonl:3", "reasons": ["outside_schema.task"]},
    ]
    assert counted(judge, plan, [], quality=quality) == {
        "broken_json": (1, 1, 0, 0),
        "assistant_phrase": (1, 0, 1, 0),
        "outside_schema": (0, 0, 0, 1),
    }


def test_terms_are_looked_up_where_the_card_names_them(judge: ModuleType) -> None:
    page = {
        "places": {},
        "legal": {"named": {"expired": [{"row": "data/train.jsonl:1"}, {"row": "data/train.jsonl:2"}]}},
    }
    assert counted(judge, [plant("consent_expired", 1)], [], page=page) == {"consent_expired": (1, 1, 0, 1)}
