"""Licence of a model folder: what its card and its licence file say.

Place on the road: ``pull`` reads it; what the licence then allows is :mod:`tuneward.licences`' business.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import yaml

from tuneward.licences import by_text, find, text_digest

LICENCE_FILES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "COPYING")


def read_licence(folder: Path) -> str | None:
    """Name of the licence that a model folder declares: model card first, then the licence file's text.

    Gives the table's name where it knows the licence, else the words found, else None.
    """
    declared = [*_card_names(folder / "README.md")]
    for name in declared:
        if known := find(name):
            return known.name
    text = licence_text(folder)
    if text and (found := by_text(text)):
        return found.name
    return declared[0] if declared else None


def licence_text(folder: Path) -> str | None:
    """The text of the folder's licence file; of several the first that is of a known licence, else the first."""
    files = (folder / name for name in LICENCE_FILES)
    texts = [file.read_text(encoding="utf-8", errors="replace") for file in files if file.is_file()]
    return next((text for text in texts if by_text(text)), texts[0] if texts else None)


def licence_text_digest(folder: Path) -> str | None:
    """:func:`tuneward.licences.text_digest` of the folder's licence file; None where there is none."""
    text = licence_text(folder)
    return None if text is None else text_digest(text)


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
