"""Writes: what the log last said about every governed row.

Place on the road: under ``verify``. A row whose digest is not the one that the log last wrote was changed by somebody
who went around ``governance.change``.
"""

from sqlalchemy import Connection

from tuneward.governance.audit import events


def last_writes(connection: Connection) -> dict[tuple[str, str], str]:
    """(kind, id) → digest of the row as the newest event that wrote it left it."""
    said: dict[tuple[str, str], str] = {}
    for event in events(connection, decision="done"):
        for write in event.writes:
            said[str(write["kind"]), str(write["id"])] = str(write["digest"])
    return said
