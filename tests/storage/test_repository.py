from dataclasses import fields, replace

import pytest

from tests.storage import nouns
from tuneward.domain.audit import AuditEvent, Edge, LogCheckpoint
from tuneward.domain.dataset import Dataset, RecordEntry
from tuneward.domain.finding import FindingEntry
from tuneward.domain.run import Run
from tuneward.errors import StorageError
from tuneward.storage import repository
from tuneward.storage.tables import metadata


@pytest.fixture
def full(site):
    with site.database.write() as c:
        repository.insert_many(c, nouns.ALL)
        repository.insert(c, nouns.CHECKPOINT)
        repository.insert(c, nouns.EDGE)
    return site.database


def test_every_table_has_its_noun_and_every_field_its_column():
    assert {table.name for table, _ in repository.TABLES.values()} | {"entering"} == set(metadata.tables)
    for noun_type, (table, order) in repository.TABLES.items():
        columns = set(table.c.keys()) - ({"leaf"} if table.name == "audit_event" else set())
        assert {field.name for field in fields(noun_type)} == columns
        assert order in columns


@pytest.mark.parametrize("noun", nouns.WITH_ID, ids=repository.kind_of)
def test_what_is_read_equals_what_was_written(full, noun):
    with full.read() as c:
        assert repository.get(c, type(noun), noun.id) == noun
        assert repository.get(c, type(noun), "none") is None


def test_nouns_without_an_id_of_their_own(full):
    with full.read() as c:
        assert repository.find(c, RecordEntry, split="train") == nouns.RECORDS[:2]
        assert repository.find(c, FindingEntry) == [nouns.FINDING]
        assert repository.find(c, LogCheckpoint) == [nouns.CHECKPOINT]
        assert repository.find(c, Edge) == [nouns.EDGE]
        with pytest.raises(AssertionError):
            repository.get(c, RecordEntry, "rec_1")


def test_find_by_equality_order_and_none(full):
    runs = [replace(nouns.RUN, id=f"run_{n}", started_at=f"2027-01-0{n}", seed=9 - n) for n in (2, 3)]
    with full.write() as c:
        repository.insert_many(c, runs)
    with full.read() as c:
        assert [run.id for run in repository.find(c, Run)] == ["run_1", "run_2", "run_3"]
        assert [run.id for run in repository.find(c, Run, order="-seed")] == ["run_2", "run_3", "run_1"]
        assert repository.find(c, Run, seed=7) == runs[:1]
        assert len(repository.find(c, Run, adapter=None)) == 3
        assert repository.find(c, Run, adapter="x") == []
        assert repository.latest(c, Run, status="running") == runs[1]
        assert repository.latest(c, Run, status="failed") is None


def test_update(full):
    done = replace(nouns.RUN, status="finished", figures={"loss": 0.25, "tokens": 10}, adapter=nouns.ADAPTER.id)
    with full.write() as c:
        repository.update(c, done)
    with full.read() as c:
        assert repository.get(c, Run, "run_1") == done
    with pytest.raises(StorageError, match="TW-STOR-008"), full.write() as c:
        repository.update(c, replace(done, id="run_9"))


@pytest.mark.parametrize("noun", [n for n in nouns.ALL if n not in (nouns.BASE, nouns.MEMBER, nouns.WITHDRAWAL)])
def test_a_row_that_names_no_other_row_is_refused_at_commit(site, noun):
    with pytest.raises(StorageError, match="TW-STOR-008"), site.database.write() as c:
        repository.insert(c, noun)
    with site.database.read() as c:
        assert repository.find(c, type(noun)) == []


def test_rows_may_come_in_any_order_within_a_transaction(site):
    with site.database.write() as c:
        repository.insert_many(c, reversed(nouns.ALL))


def test_what_has_no_json_form_is_refused(full):
    with full.write() as c, pytest.raises(StorageError, match="TW-STOR-013"):
        repository.insert(c, replace(nouns.RUN, id="run_2", figures={"loss": float("nan")}))
    with full.write() as c, pytest.raises(StorageError, match="TW-STOR-013"):
        repository.update(c, replace(nouns.RUN, figures={"x": object()}))


def test_digest_is_that_of_the_noun_read_back(full):
    with full.read() as c:
        for noun in nouns.WITH_ID:
            assert repository.noun_digest(repository.get(c, type(noun), noun.id)) == repository.noun_digest(noun)
    assert repository.noun_digest(nouns.RUN) != repository.noun_digest(replace(nouns.RUN, seed=1))
    assert repository.kind_of(nouns.VERSION) == "version"
    assert repository.KINDS["audit_event"] is AuditEvent


def test_many_rows(site):
    with site.database.write() as c:
        repository.insert_many(c, [nouns.BASE, nouns.DATASET])
        rows = [replace(nouns.RECORDS[0], id=f"rec_{n}", position=n) for n in range(5000)]
        repository.insert_many(c, iter(rows))
        repository.insert_many(c, [])
    with site.database.read() as c:
        assert repository.find(c, RecordEntry) == rows
        assert repository.find(c, Dataset) == [nouns.DATASET]


def test_damaged_json_is_told_by_the_name_of_its_row(full):
    with full.write() as c:
        c.exec_driver_sql("UPDATE run SET config = '{', figures = 'secret words'")
    place = f"run {nouns.RUN.id}"
    with full.read() as c:
        for ask in (
            lambda: repository.get(c, Run, nouns.RUN.id),
            lambda: repository.find(c, Run),
            lambda: repository.latest(c, Run),
        ):
            with pytest.raises(StorageError) as caught:
                ask()
            (fault,) = caught.value.faults
            assert (fault.code, fault.place) == ("TW-STOR-003", place)
            assert "config, figures" in fault.message
            assert "secret" not in str(caught.value)
        assert repository.find(c, Dataset) == [nouns.DATASET]
        read, damaged = repository.sift(c, Run)
    assert (read, [fault.place for fault in damaged]) == ([], [place])
