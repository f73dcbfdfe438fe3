import os
import subprocess
import sys

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from tuneward.errors import StorageError
from tuneward.storage import schema
from tuneward.storage.database import Database
from tuneward.storage.site import Site
from tuneward.storage.tables import metadata


def test_migrated_schema_equals_the_tables(site):
    with site.database.read() as c:
        context = MigrationContext.configure(c, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []
        found = inspect(c)
        for table in metadata.sorted_tables:  # what alembic does not compare on SQLite
            assert found.get_pk_constraint(table.name)["constrained_columns"] == [k.name for k in table.primary_key]
            wanted = {(k.parent.name, k.column.table.name) for k in table.foreign_keys}
            keys = found.get_foreign_keys(table.name)
            assert {(k["constrained_columns"][0], k["referred_table"]) for k in keys} == wanted
            assert all(k["options"] == {"deferrable": True, "initially": "DEFERRED"} for k in keys)


def test_head_is_the_newest_revision(site):
    with site.database.read() as c:
        script = ScriptDirectory.from_config(schema.alembic_config(c))
        assert script.get_current_head() == schema.HEAD
        assert schema.revision(c) == schema.HEAD


def test_a_newer_database_is_refused(site):
    with site.database.write() as c:
        c.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StorageError, match=r"TW-STOR-004.*9999"):
        Site.open(site.folder)


def test_an_older_database_that_can_only_be_read_says_that_it_is_older(site, monkeypatch):
    with site.database.write() as c:
        c.execute(text("UPDATE alembic_version SET version_num = '0004'"))
    site.database.close()
    monkeypatch.setattr("tuneward.storage.site.os.access", lambda path, mode: mode != os.W_OK)
    with pytest.raises(StorageError, match=r"TW-STOR-015.*revision 0004.*can only be read"):
        Site.open(site.folder)
    with site.database.read() as c:
        assert schema.revision(c) == "0004"


def test_a_migration_that_fails_leaves_nothing(tmp_path, monkeypatch):
    database = Database.at(tmp_path / "x.db")

    def upgrade_then_fail(connection, **_):
        original(connection)
        raise RuntimeError

    original = schema.upgrade
    monkeypatch.setattr(schema, "upgrade", upgrade_then_fail)
    with pytest.raises(RuntimeError):
        schema.bring_up_to_date(database, empty=True)
    with database.read() as c:
        assert inspect(c).get_table_names() == []


def test_opening_a_site_imports_no_alembic(site):
    code = (
        "import sys; from pathlib import Path; from tuneward.storage.site import Site; "
        f"Site.open(Path({str(site.folder)!r})); assert 'alembic' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
