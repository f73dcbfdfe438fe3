"""Fields that came later: rows of before keep their digest, and a site of before opens."""

from dataclasses import replace

from sqlalchemy import text

from tests.storage import nouns
from tuneward.domain.dataset import RecordEntry
from tuneward.domain.finding import FindingEntry
from tuneward.domain.run import Adapter, Run
from tuneward.storage.repository import canonical_noun, find, get, insert_many, noun_digest
from tuneward.storage.schema import HEAD, revision
from tuneward.storage.site import Site


def test_a_later_field_enters_the_digest_only_where_it_says_something():
    assert b"kind" not in canonical_noun(nouns.ADAPTER)
    assert noun_digest(replace(nouns.ADAPTER, kind="full")) != noun_digest(nouns.ADAPTER)
    assert b'"start":' not in canonical_noun(nouns.RUN)
    assert b'"start":"' in canonical_noun(replace(nouns.RUN, start="a" * 64))
    assert b"view" not in canonical_noun(nouns.FINDING)
    assert b"inspector" not in canonical_noun(nouns.DATASET)
    assert b'"inspector":"' in canonical_noun(replace(nouns.DATASET, inspector="a" * 64))
    assert b"shard" not in canonical_noun(nouns.RECORDS[0])
    assert b'"shard":0' in canonical_noun(replace(nouns.RECORDS[0], shard=0))
    assert b'"view":"base64"' in canonical_noun(replace(nouns.FINDING, view="base64"))


def test_a_site_of_before_opens_and_its_adapters_are_lora(site):
    with site.database.write() as c:
        insert_many(c, nouns.ALL)
        c.execute(text("ALTER TABLE adapter DROP COLUMN kind"))
        c.execute(text("ALTER TABLE run DROP COLUMN start"))
        for table in ("entering", "affected", "licence_decision", "terms", "withdrawal"):
            c.execute(text(f"DROP TABLE {table}"))
        c.execute(text("ALTER TABLE record DROP COLUMN terms"))
        c.execute(text("ALTER TABLE dataset DROP COLUMN terms"))
        c.execute(text("ALTER TABLE dataset DROP COLUMN inspector"))
        c.execute(text("ALTER TABLE finding DROP COLUMN view"))
        c.execute(text("ALTER TABLE record DROP COLUMN shard"))
        c.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    with Site.open(site.folder).database.read() as c:
        assert revision(c) == HEAD
        assert get(c, Adapter, nouns.ADAPTER.id) == nouns.ADAPTER
        assert get(c, Run, nouns.RUN.id) == nouns.RUN
        assert sorted(find(c, RecordEntry), key=lambda entry: entry.id) == nouns.RECORDS
        assert find(c, FindingEntry, dataset=nouns.DATASET.id) == [nouns.FINDING]
