"""Schema: brings a database to the tables of this version.

Place on the road: called when a site is made or opened. Knows revisions, not tables. Alembic is imported only when
there is something to do.
"""

from pathlib import Path
from typing import Any

from sqlalchemy import Connection, inspect, text

from tuneward.errors import Fault, StorageError
from tuneward.storage.database import Database

#: The newest revision under ``migrations/versions``; a test holds the two equal.
HEAD = "0001"


def revision(connection: Connection) -> str | None:
    """The revision of a database, None when it is empty."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)


def bring_up_to_date(database: Database) -> None:
    """Run the migrations that are missing, in one transaction.

    Raises:
        StorageError: when the database was made by a newer version.
    """
    with database.read() as connection:
        if revision(connection) == HEAD:
            return
    with database.write() as connection:
        upgrade(connection, place=database.place)


def upgrade(connection: Connection, *, place: str = "") -> None:
    """Run the migrations that are missing on an open connection.

    Raises:
        StorageError: when the database was made by a newer version.
    """
    from alembic import command
    from alembic.script import ScriptDirectory

    config = alembic_config(connection)
    present = revision(connection)
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if present is not None and present not in known:
        raise StorageError(
            Fault(
                "TW-STOR-004",
                f"revision {present} is unknown here",
                place,
                "install the Tuneward that made it, or newer",
            )
        )
    command.upgrade(config, "head")


def alembic_config(connection: Connection) -> Any:
    """Alembic's configuration, made here so that nothing depends on an ``alembic.ini``."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
