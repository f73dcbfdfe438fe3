"""Inspecting: workers and journal change nothing in what comes out, not even the order of faults."""

from contextlib import contextmanager

import pytest
from data_cases import policy, prepare, row, write_rows

from tuneward.data import inspecting as inspecting_module
from tuneward.data.inspecting import Inspecting
from tuneward.data.inspection_journal import InspectionJournal
from tuneward.errors import DataError
from tuneward.inspection.config import InspectionConfig
from tuneward.inspection.inspector import standard
from tuneward.inspection.workers import make_workers

RULES = policy({"api_key": "block", "email": "pseudonymise", "phone": "drop", "*": "redact"})


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setattr(inspecting_module, "_ROWS_TOGETHER", 7)
    monkeypatch.setattr(inspecting_module, "_TEXTS_ALONE", 10)
    rows = [
        row(
            f"Write to a{number % 11}@example.org, it is {number}.",
            f"Call +49 170 12345{number:02d}." if number % 9 == 4 else "yes",
        )
        for number in range(60)
    ]
    write_rows(tmp_path / "train.jsonl", rows)
    return tmp_path


@contextmanager
def closing(folder):
    workers = make_workers(InspectionConfig(), folder, count=2, inspector=standard())
    try:
        yield workers
    finally:
        workers.end()


def made(project, name, **settings):
    prepared = prepare(project, rules=RULES, inspecting=Inspecting(standard(), **settings))
    prepared.write(project / name)
    files = {file.name: file.read_bytes() for file in sorted((project / name).iterdir())}
    return files, prepared.fingerprint, list(prepared.entries("d")), list(prepared.finding_entries("d"))


def journal(project):
    return InspectionJournal(project / "journal", inspector="standard", key=b"k")


def test_workers_and_journal_change_nothing(project):
    alone = made(project, "alone")
    with closing(project) as workers:
        assert made(project, "two", workers=workers, journal=journal(project)) == alone
        assert workers.lost == 0
        assert all(child._process.poll() is not None for child in workers._children), "they end with the rows"
    with closing(project) as workers:
        again = journal(project)
        assert made(project, "again", workers=workers, journal=again) == alone
        assert again.taken == 60
    half = journal(project)
    (project / "journal").write_bytes((project / "journal").read_bytes()[:600])
    assert 0 < journal(project).known < 60
    half = journal(project)
    assert made(project, "half", journal=half) == alone
    assert 0 < half.taken < 60


def test_faults_come_in_the_order_of_the_rows(project):
    rows = [row("What is it?", "" if number % 2 else f"key AKIAIOSFODNN7EXAMPL{number % 10}") for number in range(30)]
    write_rows(project / "train.jsonl", rows)

    def faults(**settings):
        with pytest.raises(DataError) as caught:
            prepare(project, rules=RULES, inspecting=Inspecting(standard(), **settings))
        return [(fault.code, fault.place) for fault in caught.value.faults]

    alone = faults()
    places = [place for code, place in alone if code in ("TW-DATA-018", "TW-DATA-024")]
    assert places == sorted(places, key=lambda place: int(place.partition(":")[2]))
    assert {code for code, _ in alone} >= {"TW-DATA-018", "TW-DATA-024"}
    with closing(project) as workers:
        assert faults(workers=workers) == alone


def test_few_rows_start_no_worker(project, monkeypatch):
    monkeypatch.setattr(inspecting_module, "_TEXTS_ALONE", 4096)
    with closing(project) as workers:
        made(project, "few", workers=workers)
        assert workers._children == []
