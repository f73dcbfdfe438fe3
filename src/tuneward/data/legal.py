"""The legal table: under which terms the kept rows stand, what their licences ask, and until when that holds.

Place on the road: the card's legal part, ``terms.json`` of the prepared dataset and the register's entries are made
here, from the rows that are left at the end. Names no row and no person: consents and subjects are keyed pseudonyms.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from tuneward.data.law import Law
from tuneward.data.rows import Rows
from tuneward.digests import digest_value
from tuneward.domain.law import Terms, TermsEntry
from tuneward.domain.record import Split
from tuneward.licences import Grant, grant_of
from tuneward.licences import version as licence_table

#: Lines of the table; what is beyond is summed up in the last one.
LINES: Final = 50
#: Terms that may differ from row to row, and by which lines of the table are not told apart.
_OWN: Final = ("consent", "consent_expires", "retention", "collected")


@dataclass
class Ledger:
    """Counts kept rows by their terms, in order; rows of equal terms cost a number.

    Attributes:
        law: the judge, with its settings and what left.
    """

    law: Law
    sets: dict[Terms, str] = field(default_factory=dict)
    rows: dict[tuple[str, Split], int] = field(default_factory=dict)
    runs: dict[Split, list[list[Any]]] = field(default_factory=lambda: {"train": [], "test": []})

    def add(self, terms: Terms | None, split: Split) -> None:
        """Take a kept row's terms, train first, each split in its order."""
        terms = terms or Terms()
        name = self.sets.get(terms)
        if name is None:
            name = self.sets[terms] = digest_value(terms.to_json())
        self.rows[name, split] = self.rows.get((name, split), 0) + 1
        runs = self.runs.setdefault(split, [])
        if runs and runs[-1][0] == name:
            runs[-1][1] += 1
        else:
            runs.append([name, 1])

    def add_all(self, rows: Mapping[Split, Rows]) -> "Ledger":
        """Take the rows of each split; returns itself."""
        for split, kept in rows.items():
            for terms in kept.terms:
                self.add(terms, split)
        return self

    @property
    def says_nothing(self) -> bool:
        """Whether no kept row came with any term."""
        return all(terms == Terms() for terms in self.sets)

    def name_of(self, terms: Terms | None) -> str | None:
        """The digest by which a kept row's entry names its terms; None where it came with none."""
        return None if terms is None or terms == Terms() else self.sets[terms]

    @cached_property
    def file(self) -> dict[str, Any]:
        """``terms.json``: every set by its digest, and in order how many rows of each split came under which."""
        sets = {name: terms.to_json() for terms, name in self.sets.items()}
        return {"format": "tuneward-terms/1", "sets": dict(sorted(sets.items())), "rows": self.runs}

    @property
    def digest(self) -> str | None:
        """Digest of :attr:`file`; None where nothing was said."""
        return None if self.says_nothing else digest_value(self.file)

    def entries(self, dataset: str) -> list[TermsEntry]:
        """What the register keeps for the dataset with this id."""
        return [
            TermsEntry(
                dataset=dataset,
                id=name,
                consent=terms.consent,
                rests_on_consent=terms.rests_on_consent,
                terms=terms.to_json(),
            )
            for terms, name in sorted(self.sets.items(), key=lambda item: item[1])
            if terms != Terms()
        ]

    # what card and summary tell -----------------------------------------------------------------------------------

    def counts(self) -> dict[str, Any]:
        """The part of the dataset's counts that later steps read."""
        left: dict[str, dict[str, int]] = defaultdict(dict)
        for (split, reason), number in sorted(self.law.left.items()):
            left[split][reason] = number
        return {
            "as_of": self.law.today.isoformat(),
            "valid_until": min((day for terms in self.sets if (day := terms.last_day)), default=None),
            "sets": len(self.sets),
            "licences": self._by("licence"),
            "duties": self.duties(),
            "left": dict(left),
        }

    def duties(self) -> list[dict[str, Any]]:
        """What the licences of the kept rows ask under the declared use, each duty once with its licences."""
        found: dict[tuple[str, str], list[str]] = {}
        for expression in self._by("licence"):
            grant = grant_of(expression, self.law.use, self.law.config.licences)
            for licence in grant.licences if isinstance(grant, Grant) else ():
                for duty in licence.duties:
                    if self.law.use in duty.uses:
                        names = found.setdefault((duty.kind, duty.text), [])
                        names += [licence.name] if licence.name not in names else []
        return [{"kind": kind, "text": text, "licences": names} for (kind, text), names in sorted(found.items())]

    def table(self) -> dict[str, Any]:
        """The card's legal part."""
        groups: dict[str, dict[str, Any]] = {}
        for terms, name in self.sets.items():
            said = terms.to_json()
            shared = {key: value for key, value in said.items() if key not in _OWN}
            line = groups.setdefault(digest_value(shared), {"terms": shared, **_empty_line()})
            _add(line, terms, {split: self.rows.get((name, split), 0) for split in ("train", "test")})
        lines = sorted(groups.values(), key=lambda line: (-line["train"] - line["test"], digest_value(line["terms"])))
        more = lines[LINES:]
        return {
            "use": self.law.use,
            "licence_table": licence_table(),
            "require": list(self.law.policy.require),
            "geography": list(self.law.policy.geography),
            "on_unlawful": dict(self.law.policy.on_unlawful),
            "lines": [_shown(line) for line in lines[:LINES]],
            "more": {"sets": len(more), "rows": sum(line["train"] + line["test"] for line in more)},
            "named": {reason: [{"row": row} for row in rows] for reason, rows in sorted(self.law.named.items())},
        }

    def _by(self, term: str) -> dict[str, int]:
        """Value of a term → kept rows; rows without it are left out."""
        counted: Counter[str] = Counter()
        for terms, name in self.sets.items():
            if value := getattr(terms, term):
                counted[value] += sum(self.rows.get((name, split), 0) for split in ("train", "test"))
        return dict(sorted(counted.items()))


def _empty_line() -> dict[str, Any]:
    return {"train": 0, "test": 0, "consents": set(), "expires": [], "retention": [], "collected": []}


def _add(line: dict[str, Any], terms: Terms, rows: Mapping[str, int]) -> None:
    for split, number in rows.items():
        line[split] += number
    if terms.consent:
        line["consents"].add(terms.consent)
    for key, value in (
        ("expires", terms.consent_expires),
        ("retention", terms.retention),
        ("collected", terms.collected),
    ):
        if value:
            line[key] = [min(line[key][0], value), max(line[key][1], value)] if line[key] else [value, value]


def _shown(line: dict[str, Any]) -> dict[str, Any]:
    """A line as JSON: how many consents, and the first and last of each date."""
    return {**line, "consents": len(line["consents"])}
