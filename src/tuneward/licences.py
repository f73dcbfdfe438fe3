"""Licences: what a licence allows of models and of data, and what it asks in return; expressions of several.

Place on the road: ground. ``pull`` names a base's licence with it, ``prepare`` checks the rows' licences, papers and
cards list the duties. The rules are data (``licences.yaml``, with a version); this file knows none of them, and no
folder of a model.

Expressions are SPDX's (annex D of the specification): ``A OR B`` lets the holder choose, ``A AND B`` asks for both,
``A WITH E`` is A with more freedom, which is not counted on.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Final, Literal

import yaml
from license_expression import ExpressionError, LicenseWithExceptionSymbol, Licensing
from pydantic import Field, model_validator

from tuneward.configuration import Section
from tuneward.errors import Fault

Use = Literal["research", "internal", "hosted", "weights"]
DutyKind = Literal[
    "attribution",
    "notice",
    "changes",
    "naming",
    "share_alike",
    "non_commercial",
    "no_derivatives",
    "use_restrictions",
    "limit",
    "record",
]
#: Longest expression that is read, in characters, and most choices that one may leave.
MAX_EXPRESSION: Final = 400
MAX_CHOICES: Final = 64
_COPYRIGHT: Final = re.compile(r"\s*(copyright\b|\(c\)|all rights reserved)", re.IGNORECASE)


class Duty(Section):
    """Something that the licence asks for."""

    uses: tuple[Use, ...]
    """The uses for which it holds."""
    kind: DutyKind = "record"
    """What sort of duty it is."""
    text: str = Field(min_length=1)
    """What to do, in one sentence."""


class OwnLicence(Section):
    """What a site declares of a licence that the table does not have: a contract, a permission."""

    uses: tuple[Use, ...] = Field(min_length=1)
    """What it allows."""
    duties: tuple[Duty, ...] = ()
    """What it asks for."""


class Licence(OwnLicence):
    """One licence and its terms."""

    name: str
    """SPDX id, or our name where SPDX has none."""
    family: str
    """Licences of one kind or maker."""
    checked: Literal["text", "secondary", "background", "declared"]
    """How well this row is founded."""
    names: tuple[str, ...]
    """What model cards call it, lower case."""
    marks: tuple[str, ...] = Field(default=())
    """Words that all stand in its text."""
    text_sha256: tuple[str, ...] = ()
    """Digests of its text as :func:`text_digest` takes them, for every form of the text that was at hand."""
    text_absent: str | None = None
    """Why there is no digest."""

    @model_validator(mode="after")
    def _text_or_reason(self) -> "Licence":
        if bool(self.text_sha256) == bool(self.text_absent):
            raise ValueError("a digest of the text, or why there is none")
        return self


@dataclass(frozen=True)
class Grant:
    """What an expression comes to under a use.

    Attributes:
        licences: the licences that are relied on; of a choice, the first that allows the use.
        duties: what they ask, each duty once.
    """

    licences: tuple[Licence, ...]
    duties: tuple[Duty, ...]


@cache
def licences() -> dict[str, Licence]:
    """All known licences by name."""
    return {name: Licence(name=name, **value) for name, value in _table()["licences"].items()}


@cache
def version() -> str:
    """The table's version: the day on which it was last looked over."""
    return str(_table()["version"])


@cache
def _table() -> Mapping[str, Any]:
    table: Mapping[str, Any] = yaml.safe_load(
        resources.files("tuneward").joinpath("licences.yaml").read_text(encoding="utf-8")
    )
    return table


def find(name: str, declared: Mapping[str, OwnLicence] | None = None) -> Licence | None:
    """The licence that a card, a setting or a user means by ``name``, or None.

    Args:
        name: an id or another name; letter case does not count.
        declared: licences of the site's own; they win over the table.
    """
    wanted = name.strip().lower()
    for own, terms in (declared or {}).items():
        if wanted == own.lower():
            return _declared(own, terms.canonical())
    return _by_name().get(wanted)


def _declared(name: str, terms: Mapping[str, Any]) -> Licence:
    absent = "There is no text: the site declares it."
    return Licence(name=name, family="declared", checked="declared", names=(), text_absent=absent, **terms)


@cache
def _by_name() -> dict[str, Licence]:
    found: dict[str, Licence] = {}
    for licence in licences().values():
        for name in (licence.name.lower(), *licence.names):
            found.setdefault(name, licence)
    return found


def check(licence: str, use: Use) -> list[Fault]:
    """Faults that stand against using a model under ``licence`` for ``use``; empty where it is allowed."""
    grant = grant_of(licence, use)
    if isinstance(grant, Grant):
        return []
    if grant.unknown:
        return [unknown(name) for name in grant.unknown]
    cure = "declare a use that it allows, or take a base under another licence"
    return [Fault("TW-BASE-041", grant.message, "base", cure)]


def duties(licence: str, use: Use) -> tuple[str, ...]:
    """What the licence asks for under ``use``; empty for an unknown licence, which :func:`check` refuses."""
    grant = grant_of(licence, use)
    return tuple(duty.text for duty in grant.duties) if isinstance(grant, Grant) else ()


def unknown(name: str = "") -> Fault:
    """The fault of a licence that is not in the table, or that nothing names."""
    what = f"the licence {name!r} is not known here" if name else "nothing in the model's files names its licence"
    known = ", ".join(licences())
    return Fault("TW-BASE-040", what, "base", f"read the model's terms and name them with `--licence`, one of: {known}")


@dataclass(frozen=True)
class Refusal:
    """Why an expression allows a use not.

    Attributes:
        message: what it allows instead, or what is wrong with it.
        unknown: names in it that mean nothing here; empty where all are known.
    """

    message: str
    unknown: tuple[str, ...] = ()


def grant_of(expression: str, use: Use, declared: Mapping[str, OwnLicence] | None = None) -> Grant | Refusal:
    """What an expression comes to under a use: of its choices the first that allows it, with all its duties."""
    choices = choices_of(expression)
    if isinstance(choices, Refusal):
        return choices
    missing: dict[str, None] = {}
    for names in choices:
        found = [find(name, declared) for name in names]
        missing |= {name: None for name, licence in zip(names, found, strict=True) if licence is None}
        known = [licence for licence in found if licence is not None]
        if len(known) == len(names) and all(use in licence.uses for licence in known):
            asked = {(duty.kind, duty.text): duty for licence in known for duty in licence.duties if use in duty.uses}
            return Grant(tuple(known), tuple(asked.values()))
    if missing:
        return Refusal(f"not known here: {', '.join(missing)}", tuple(missing))
    allowed = [_allowed(names, declared) for names in choices]
    said = " or ".join(dict.fromkeys(f"{' and '.join(names)} allows {which}" for names, which in allowed))
    return Refusal(f"{said}, not {use!r}")


def _allowed(names: tuple[str, ...], declared: Mapping[str, OwnLicence] | None) -> tuple[list[str], str]:
    known = [licence for licence in (find(name, declared) for name in names) if licence]
    shared = [use for use in known[0].uses if all(use in licence.uses for licence in known)]
    return [licence.name for licence in known], ", ".join(shared) or "nothing"


def choices_of(expression: str) -> tuple[tuple[str, ...], ...] | Refusal:
    """An expression as choices of licences that hold together: ``A AND (B OR C)`` is ``((A, B), (A, C))``.

    A name of the table with spaces in it (``apache 2.0``) counts as one licence. Exceptions (``WITH``) are left away.
    """
    text = expression.strip()
    if find(text):
        return ((text,),)
    if not text or len(text) > MAX_EXPRESSION:
        return Refusal(f"a licence has 1 to {MAX_EXPRESSION} characters", (text[:60],))
    try:
        parsed = Licensing().parse(text)
    except (ExpressionError, ValueError, RecursionError):
        return Refusal("this is no SPDX licence expression", (text[:60],))
    choices = _choices(parsed)
    if choices is None:
        return Refusal(f"it leaves more than {MAX_CHOICES} choices", (text[:60],))
    return tuple(dict.fromkeys(tuple(dict.fromkeys(choice)) for choice in choices))


def _choices(parsed: Any) -> list[tuple[str, ...]] | None:
    if isinstance(parsed, LicenseWithExceptionSymbol):
        return [(str(parsed.license_symbol.key),)]
    if not parsed.args:
        return [(str(parsed.key),)]
    parts = [_choices(part) for part in parsed.args]
    if any(part is None for part in parts):
        return None
    if parsed.operator.strip() == "OR":
        made = [choice for part in parts if part for choice in part]
    else:
        made = [()]
        for part in parts:
            made = [(*one, *other) for one in made for other in part or ()]
            if len(made) > MAX_CHOICES:
                return None
    return made if len(made) <= MAX_CHOICES else None


def by_text(text: str) -> Licence | None:
    """The licence whose marks all stand in a text, or None."""
    flat = " ".join(text.split()).lower()
    for licence in licences().values():
        if licence.marks and all(mark.lower() in flat for mark in licence.marks):
            return licence
    return None


def text_digest(text: str) -> str:
    """SHA-256 of a licence text: lower case, white space as one space, lines that begin with a copyright left out."""
    lines: Iterable[str] = (line for line in text.lower().splitlines() if not _COPYRIGHT.match(line))
    return hashlib.sha256(" ".join(" ".join(lines).split()).encode("utf-8", "surrogatepass")).hexdigest()
