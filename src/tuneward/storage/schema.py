"""Schema: brings a database to the tables of this version.

Place on the road: called when a site is made or opened. Knows revisions, not tables. Alembic is imported only when
there is something to do.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, inspect, text

from tuneward.errors import Fault, StorageError
from tuneward.storage.database import Database
from tuneward.storage.files import read_only

#: The newest revision under ``migrations/versions``; a test holds the two equal.
HEAD = "0006"
#: A table of every revision, by which a site's database is told from another program's.
_ALWAYS_THERE = "audit_event"


def revision(connection: Connection) -> str | None:
    """The revision of a database, None when it is empty."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)


def bring_up_to_date(database: Database, *, empty: bool = False) -> None:
    """Run the migrations that are missing, in one transaction.

    Args:
        database: a site's, or one that is to become a site's.
        empty: whether it may be empty, as a new site's is; elsewhere an empty one is a lost one.

    Raises:
        StorageError: when the database was made by a newer version, or is no site's, or is of an older version and can
            only be read; it is not changed then.
    """
    with database.read() as connection:
        present = revision(connection)
        if present == HEAD and inspect(connection).has_table(_ALWAYS_THERE):
            return
        if not (empty and not inspect(connection).get_table_names()):
            _refuse_foreign(connection, present, place=database.place, empty=empty)
    if database.read_only:
        what = f"it is of revision {present}, this Tuneward reads {HEAD}"
        fault = read_only(database.place)
        raise StorageError(replace(fault, message=f"{what}; {fault.message}"))
    with database.write() as connection:
        upgrade(connection)


def upgrade(connection: Connection) -> None:
    """Run the migrations that are missing on an open connection."""
    from alembic import command

    command.upgrade(alembic_config(connection), "head")


def _refuse_foreign(connection: Connection, present: str | None, *, place: str, empty: bool) -> None:
    from alembic.script import ScriptDirectory

    if present is None or not inspect(connection).has_table(_ALWAYS_THERE):
        cure = "name an empty database" if empty else "restore the site's own database from a backup"
        raise StorageError(Fault("TW-STOR-003", "this is not the database of a site", place, cure))
    known = {script.revision for script in ScriptDirectory.from_config(alembic_config(connection)).walk_revisions()}
    if present not in known:
        cure = "install the Tuneward that made it, or newer"
        raise StorageError(Fault("TW-STOR-004", f"revision {present} is unknown here", place, cure))


def alembic_config(connection: Connection) -> Any:
    """Alembic's configuration, made here so that nothing depends on an ``alembic.ini``."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
