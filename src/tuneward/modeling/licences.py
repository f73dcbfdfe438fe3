"""Licences: what a base model's licence allows, and what it asks in return.

Place on the road: ``pull`` reads a model's licence here; the workflows check it against the project's declared use, and
papers list the duties. The rules are data (``licences.yaml``, with a version); this file knows none of them.
"""

import re
from collections.abc import Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field

from tuneward.configuration import Section
from tuneward.errors import Fault

Use = Literal["research", "internal", "hosted", "weights"]
LICENCE_FILES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "COPYING")


class Duty(Section):
    """Something that the licence asks for."""

    uses: tuple[Use, ...]
    """The uses for which it holds."""
    text: str
    """What to do, in one sentence."""


class Licence(Section):
    """One licence and its terms."""

    name: str
    """SPDX id, or our name where SPDX has none."""
    family: str
    """Licences of one kind or maker."""
    checked: Literal["text", "secondary", "background", "declared"]
    """How well this row is founded."""
    uses: tuple[Use, ...]
    """What it allows."""
    names: tuple[str, ...]
    """What model cards call it, lower case."""
    marks: tuple[str, ...] = Field(default=())
    """Words that all stand in its text."""
    duties: tuple[Duty, ...]
    """What it asks for."""


@cache
def licences() -> dict[str, Licence]:
    """All known licences by name."""
    text = resources.files("tuneward.modeling").joinpath("licences.yaml").read_text(encoding="utf-8")
    return {name: Licence(name=name, **value) for name, value in yaml.safe_load(text)["licences"].items()}


def find(name: str) -> Licence | None:
    """The licence that a model card or a user means by ``name``, or None."""
    wanted = name.strip().lower()
    for licence in licences().values():
        if wanted == licence.name.lower() or wanted in licence.names:
            return licence
    return None


def check(licence: str, use: Use) -> list[Fault]:
    """Faults that stand against using a model under ``licence`` for ``use``; empty where it is allowed."""
    known = find(licence)
    if known is None:
        return [unknown(licence)]
    if use in known.uses:
        return []
    message = f"{known.name} allows {', '.join(known.uses)}, not {use!r}"
    return [Fault("TW-BASE-041", message, "base", "declare a use that it allows, or take a base under another licence")]


def duties(licence: str, use: Use) -> tuple[str, ...]:
    """What the licence asks for under ``use``; empty for an unknown licence, which :func:`check` refuses."""
    known = find(licence)
    return tuple(duty.text for duty in known.duties if use in duty.uses) if known else ()


def unknown(name: str = "") -> Fault:
    """The fault of a licence that is not in the table, or that nothing names."""
    what = f"the licence {name!r} is not known here" if name else "nothing in the model's files names its licence"
    known = ", ".join(licences())
    return Fault("TW-BASE-040", what, "base", f"read the model's terms and name them with `--licence`, one of: {known}")


def read_licence(folder: Path) -> str | None:
    """Name of the licence that a model folder declares: model card first, then the licence file's text.

    Gives the table's name where it knows the licence, else the words found, else None.
    """
    declared = [*_card_names(folder / "README.md")]
    for name in declared:
        if known := find(name):
            return known.name
    for file in (folder / name for name in LICENCE_FILES):
        if file.is_file() and (found := _by_text(file.read_text(encoding="utf-8", errors="replace"))):
            return found
    return declared[0] if declared else None


def _card_names(card: Path) -> Sequence[str]:
    if not card.is_file():
        return []
    match = re.match(r"---\n(.*?)\n---", card.read_text(encoding="utf-8-sig", errors="replace"), re.DOTALL)
    try:
        front = yaml.safe_load(match.group(1)) if match else None
    except yaml.YAMLError:
        front = None
    if not isinstance(front, dict):
        return []
    names = [front.get("license_name"), front.get("license")]
    return [name for name in names if isinstance(name, str) and name.lower() not in ("", "other", "unknown")]


def _by_text(text: str) -> str | None:
    flat = " ".join(text.split()).lower()
    for licence in licences().values():
        if licence.marks and all(mark.lower() in flat for mark in licence.marks):
            return licence.name
    return None
