"""Terms: reads under which terms a row may be used, from settings and from its own columns.

Place on the road: beside ``data.records``, before ``data.law`` judges. Knows no policy and no day: what is not written
as it should be becomes a fault, whatever is required.
"""

import fnmatch
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cache
from importlib import resources
from typing import Any, Final

import yaml

from tuneward.data.config import DataConfig
from tuneward.data.faults import Faults
from tuneward.data.files import DataFile
from tuneward.data.lines import Row
from tuneward.data.reading import json_type
from tuneward.digests import keyed_digest
from tuneward.domain.law import CATEGORIES, CONDITIONS, LEGAL_BASES, TERM_NAMES, Terms

_LISTS: Final[Mapping[str, tuple[str, ...]]] = {
    "legal_basis": LEGAL_BASES,
    "condition": CONDITIONS,
    "category": CATEGORIES,
}
_DAYS: Final = frozenset(("consent_expires", "collected", "retention"))
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_ARTICLE: Final = re.compile(r"(?:art(?:icle|\.)? ?)?(6|9) ?\((1|2)\) ?\(?([a-j])\)?")
_PARAGRAPHS: Final = {"legal_basis": ("6", "1"), "condition": ("9", "2")}
_COUNTRY: Final = re.compile(r"[A-Z]{2}")
#: Sets of values that are kept at hand; more than these are read anew.
_KEPT: Final = 4096
#: Longest term in characters.
_LONGEST: Final = 2_000


@cache
def tables() -> Mapping[str, Any]:
    """``law.yaml``: groups of countries and other names."""
    text = resources.files("tuneward.data").joinpath("law.yaml").read_text(encoding="utf-8")
    found: Mapping[str, Any] = yaml.safe_load(text)
    return found


def consent_pseudonym(reference: str, *, key: bytes) -> str:
    """Name a consent by HMAC-SHA-256 of its reference: who withdraws names it by the reference, and nobody reads it."""
    return "con_" + keyed_digest(key, b"consent\0" + reference.strip().encode("utf-8", "surrogatepass"))[:40]


def countries_of(name: str) -> frozenset[str] | None:
    """The countries that a name stands for: one, or those of a group; None where it is neither."""
    wanted = name.strip().upper()
    if group := tables()["groups"].get(wanted):
        return frozenset(group)
    country = tables()["countries"].get(wanted, wanted)
    return frozenset((country,)) if _COUNTRY.fullmatch(country) else None


@dataclass(frozen=True)
class _Source:
    """What the settings say of a file's rows."""

    fixed: Terms
    columns: Mapping[str, str]
    subject: str | None


@dataclass
class TermsReader:
    """Reads terms; the same values give the same object, so that a million rows share a handful.

    Attributes:
        config: the project's ``data`` section.
        key: key of the consents' pseudonyms.
        faults: receives what is wrong.
    """

    config: DataConfig
    key: bytes
    faults: Faults
    _sources: dict[str, _Source] = field(default_factory=dict)
    _seen: dict[tuple[str, ...], Terms] = field(default_factory=dict)
    _columns_there: dict[str, bool] = field(default_factory=dict)

    def subject_column(self, file: DataFile) -> str | None:
        """The column that names the data subject in a file."""
        return self._source(file).subject

    def read(self, row: Row, file: DataFile) -> Terms | None:
        """The terms of a row; None where what it says cannot be read, which is a fault then."""
        source = self._source(file)
        if not source.columns or tuple(row.values) == ("text",):  # what readers of documents make has no columns
            return source.fixed
        if not self._has_columns(row, file, source):
            return None
        values = tuple(_key(row.values.get(column)) for column in source.columns.values())
        kept = self._seen.get((file.name, *values))
        if kept is None:
            kept = self._make(row, source)
            if kept is None:
                return None
            if len(self._seen) >= _KEPT:
                self._seen.clear()
            self._seen[file.name, *values] = kept
        return kept

    def _has_columns(self, row: Row, file: DataFile, source: _Source) -> bool:
        """Whether the columns that are named stand in the file's first row; told once where they do not."""
        known = self._columns_there.get(file.name)
        if known is None:
            missing = {term: column for term, column in source.columns.items() if column not in row.values}
            for term, column in missing.items():
                message = f"there is no column `{column}` (`{term}` under `data.terms` or `data.sources`)"
                self.faults.add("TW-DATA-015", message, place=file.name, cure="name one of the file's columns")
            known = self._columns_there[file.name] = not missing
        return known

    def _make(self, row: Row, source: _Source) -> Terms | None:
        said = source.fixed.to_json()
        before = len(self.faults)
        for name, column in source.columns.items():
            value = self._value(name, column, row.values.get(column), str(row.source))
            said.pop(name, None)
            if value is not None:
                said[name] = value
        return Terms(**said) if len(self.faults) == before else None

    def _value(self, name: str, column: str, value: Any, place: str) -> str | None:
        """A cell as the term's canonical text; None where it is empty, or a fault."""
        if value is None or (isinstance(value, str) and not value.strip()):
            return None
        if isinstance(value, bool) or not isinstance(value, str | int | date):
            message = f"`{column}` is a {json_type(value)}, not text"
            self.faults.add("TW-DATA-016", message, place=place, cure="write it as text")
            return None
        text = str(value).strip()
        if name in _DAYS:
            return self._day(column, value, place)
        if name in _LISTS:
            return self._listed(name, column, text, place)
        if name == "geography":
            if countries_of(text) is None:
                self._say_unknown(column, "a country (ISO 3166-1 alpha-2) or a group of countries", place)
                return None
            return str(tables()["countries"].get(text.upper(), text.upper()))
        if len(text) > _LONGEST:
            self._say_unknown(column, f"a text of at most {_LONGEST:,} characters", place)
            return None
        return consent_pseudonym(text, key=self.key) if name == "consent" else text

    def _day(self, column: str, value: Any, place: str) -> str | None:
        if isinstance(value, date | datetime):
            return f"{value:%Y-%m-%d}"
        text = str(value).strip()
        try:
            if _DAY.match(text):
                return (date.fromisoformat(text) if len(text) == 10 else datetime.fromisoformat(text)).isoformat()[:10]
        except ValueError:
            pass
        message = f"`{column}` is no date"
        self.faults.add("TW-DATA-064", message, place=place, cure="write it as YYYY-MM-DD, a day that exists")
        return None

    def _listed(self, name: str, column: str, text: str, place: str) -> str | None:
        word = text.lower().replace(" ", "_").replace("-", "_")
        names = _LISTS[name]
        if word in names:
            return word
        letters = str(tables()["articles"].get(name, ""))
        article = _ARTICLE.fullmatch(text.lower())
        if article and article.group(1, 2) == _PARAGRAPHS.get(name) and article[3] in letters:
            return names[letters.index(article[3])]
        self._say_unknown(column, f"one of {', '.join(names)}", place)
        return None

    def _say_unknown(self, column: str, wanted: str, place: str) -> None:
        self.faults.add(
            "TW-DATA-065", f"`{column}` is not {wanted}", place=place, cure="write it so, or leave it empty"
        )

    def _source(self, file: DataFile) -> _Source:
        known = self._sources.get(file.name)
        if known is None:
            known = self._sources[file.name] = self._layered(file.name)
        return known

    def _layered(self, name: str) -> _Source:
        """The defaults, with every entry that names the file laid over them in order."""
        config = self.config
        said: dict[str, str] = {}
        columns: dict[str, str] = {}
        subject = config.subject
        short = {key: value for key in ("legal_basis", "licence") if (value := getattr(config, key))}
        said |= {key: str(value) for key, value in short.items()}
        for layer in (config.terms, *(s for s in config.sources if _names(s.files, name))):
            for term in TERM_NAMES:
                value, column = getattr(layer, term), getattr(layer.columns, term)
                if value is not None:
                    columns.pop(term, None)
                    if text := self._setting(term, value):
                        said[term] = text
                if column is not None:
                    said.pop(term, None)
                    columns[term] = column
            subject = getattr(layer, "subject", None) or subject
        return _Source(Terms(**said), columns, subject)

    def _setting(self, term: str, value: Any) -> str | None:
        """A value of the settings as the term's canonical text."""
        return self._value(term, term, value, "data.terms or data.sources")


def unmatched(config: DataConfig, files: list[DataFile]) -> list[int]:
    """Entries of ``data.sources`` that name none of the files: most often a misspelt name."""
    return [
        index
        for index, source in enumerate(config.sources)
        if not any(_names(source.files, file.name) for file in files)
    ]


def names_licence(config: DataConfig) -> bool:
    """Whether rows may come with a licence, so that the declared use matters to them."""
    layers = (config.terms, *config.sources)
    return bool(config.licence) or any(layer.licence or layer.columns.licence for layer in layers)


def _names(patterns: tuple[str, ...], name: str) -> bool:
    return any(
        name == pattern or name.startswith(pattern.rstrip("/") + "/") or fnmatch.fnmatchcase(name, pattern)
        for pattern in patterns
    )


def _key(value: Any) -> str:
    return "" if value is None else f"{type(value).__name__}:{value}"
