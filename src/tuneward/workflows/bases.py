"""Bases: by which name the site keeps a base, and how a project's reference finds it.

Place on the road: under ``pull``, which stores bases, and ``road``, which looks for the project's. Two projects of one
site may both say ``base: base`` and mean two folders; and one folder may be meant by two spellings.
"""

from pathlib import Path

from sqlalchemy import Connection

from tuneward.domain.base import Base
from tuneward.modeling.catalogue import entries
from tuneward.storage.repository import find
from tuneward.storage.site import Site

#: Where a base keeps the further names under which the same bytes were pulled.
ALSO_NAMED = "also_named"


def place_of(reference: str, beside: Path) -> Path | None:
    """The local folder or file that a reference means; None for a catalogue name or a hub's id."""
    if reference in entries():
        return None
    place = (beside / reference).resolve()
    return place if place.exists() else None


def name_of(site: Site, place: Path) -> str:
    """Name of a local base: its path from the folder that holds the site, so that both may be moved together."""
    home = site.folder.parent.resolve()
    return place.relative_to(home).as_posix() if place.is_relative_to(home) else str(place)


def base_named(connection: Connection, site: Site, reference: str, beside: Path) -> Base | None:
    """The base that was pulled last under what ``reference`` means beside a project, or None."""
    names = {name_of(site, (beside / reference).resolve())}
    if place_of(reference, beside) is None:  # also a local base whose folder is gone
        names.add(reference)
    return next((base for base in find(connection, Base, order="-created_at") if names & _names(base)), None)


def _names(base: Base) -> set[str]:
    return {base.name, *base.source.get(ALSO_NAMED, ())}
