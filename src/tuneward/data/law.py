"""Law: may this row be used, today, under this policy?

Place on the road: ``data.records`` → here → ``data.screening``, which asks once more when it knows what the row holds.
Rows that may not be used are faults that name them, or leave, as the policy says; nothing passes in silence. Licences
are judged once each, not row by row. No legal advice: what is checked, and from which article, stands in docs/law.md.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import Final

from tuneward.amounts import counted
from tuneward.data.config import DataConfig
from tuneward.data.faults import Faults
from tuneward.data.files import DataFile
from tuneward.data.lines import Row
from tuneward.data.terms import TermsReader, countries_of, tables, unmatched
from tuneward.domain.law import Terms
from tuneward.domain.policy import Policy
from tuneward.domain.record import Record
from tuneward.licences import Refusal, Use, grant_of

#: Reason → code of its fault and its cure.
REASONS: Final[Mapping[str, tuple[str, str]]] = {
    "missing": ("TW-DATA-060", "say it under `data.terms` or `data.sources`, or name the column that says it"),
    "expired": ("TW-DATA-061", "renew the consent, or take the row out"),
    "retention": ("TW-DATA-062", "delete the row: it may not be kept any longer"),
    "geography": ("TW-DATA-063", "take the row out, or have the policy's `geography` changed"),
    "withdrawn": ("TW-DATA-066", "take the row out"),
    "special": ("TW-DATA-069", "say under which condition of Art. 9(2) GDPR it is processed, or have it redacted"),
}
#: Rows of each reason that the card names.
_NAMED: Final = 20
_KEPT: Final = 4096


@dataclass
class Law:
    """Judges rows one by one and remembers which left and why.

    Attributes:
        config: the project's ``data`` section.
        policy: what is required, and what happens without.
        use: the declared use, for licences.
        today: the day on which consents and retention are judged.
        key: key of the consents' pseudonyms.
        withdrawn: pseudonyms of withdrawn consents and of subjects who withdrew.
        faults: receives rows that the policy does not let leave quietly.
        left: (split, reason) → rows that left.
        named: reason → up to twenty of them, as ``file:line``.
    """

    config: DataConfig
    policy: Policy
    use: Use
    today: date
    key: bytes
    withdrawn: Collection[str]
    faults: Faults
    left: Counter[tuple[str, str]] = field(default_factory=Counter)
    named: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    _judged: dict[Terms, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    _refused: dict[str, tuple[Refusal, str]] = field(default_factory=dict)
    _licences: dict[str, Counter[str]] = field(default_factory=dict)

    @cached_property
    def _reader(self) -> TermsReader:
        return TermsReader(self.config, self.key, self.faults)

    @cached_property
    def _allowed(self) -> frozenset[str]:
        groups = (countries_of(name) for name in self.policy.geography)
        return frozenset(country for group in groups if group for country in group)

    def config_of(self, file: DataFile) -> DataConfig:
        """The settings with which a file's columns are chosen: its source may name another subject column."""
        subject = self._reader.subject_column(file)
        return self.config if subject == self.config.subject else self.config.model_copy(update={"subject": subject})

    def terms(self, row: Row, file: DataFile) -> Terms | None:
        """The terms of a row, or None where they cannot be read, which is a fault then."""
        return self._reader.read(row, file)

    def admits(self, record: Record) -> bool:
        """Whether the row may be used, as far as its terms say; what may not is counted, and told or left out."""
        terms = record.terms or Terms()
        reasons = self._judged.get(terms)
        if reasons is None:
            reasons = tuple(self._against(terms))
            if len(self._judged) >= _KEPT:
                self._judged.clear()
            self._judged[terms] = reasons
        if terms.licence:
            self._count_licence(terms.licence, record)
        if self.withdrawn and self._is_withdrawn(record, terms):
            reasons = (*reasons, ("withdrawn", "the consent was withdrawn"))
        if "subject" in self.policy.require and record.subject is None:
            reasons = (*reasons, ("missing", f"policy `{self.policy.name}` requires: subject"))
        return self._passes(record, reasons)

    def admits_content(self, record: Record, kinds: Iterable[str]) -> bool:
        """Whether the row may be used with the kinds of findings that stay in it."""
        if "condition" not in self.policy.require or (record.terms or Terms()).condition:
            return True
        prefixes = tuple(tables()["special_prefixes"])
        special = sorted(kind for kind in kinds if kind.startswith(prefixes))
        if not special:
            return True
        return self._passes(record, (("special", f"it holds {', '.join(special)} and names no condition for that"),))

    def report(self, files: list[DataFile]) -> None:
        """Tell of licences that do not allow the declared use, and of settings that name no file."""
        for index in unmatched(self.config, files):
            place, cure = f"data.sources[{index}].files", "write names as `train` and `test` find them"
            self.faults.add("TW-DATA-001", "names none of the data's files", place=place, cure=cure)
        for licence, (refusal, first) in sorted(self._refused.items()):
            rows = self._licences[licence].total()
            said = f"{counted(rows, 'row')} under `{licence[:80]}`: {refusal.message}"
            if refusal.unknown:
                cure = "write an SPDX expression, or say what it allows under `data.licences`"
                self.faults.add("TW-DATA-067", said, place=first, cure=cure)
            else:
                cure = "take the rows out, get a licence that allows it, or declare a use that is allowed (`use`)"
                self.faults.add("TW-DATA-068", said, place=first, cure=cure)

    def _against(self, terms: Terms) -> Iterable[tuple[str, str]]:
        missing = [name for name in self.policy.require if self._lacks(terms, name)]
        if self.policy.geography and terms.geography is None and "geography" not in missing:
            missing.append("geography")
        if missing:
            yield "missing", f"policy `{self.policy.name}` requires: {', '.join(missing)}"
        today = self.today.isoformat()
        if terms.consent_expires and terms.consent_expires < today and terms.rests_on_consent:
            yield "expired", f"the consent held until {terms.consent_expires}"
        if terms.retention and terms.retention < today:
            yield "retention", f"it might be kept until {terms.retention}"
        if self.policy.geography and terms.geography:
            countries = countries_of(terms.geography) or frozenset()
            if not countries <= self._allowed:
                yield "geography", f"{terms.geography} is not among {', '.join(self.policy.geography)}"

    def _lacks(self, terms: Terms, name: str) -> bool:
        if name in ("subject", "condition"):  # asked where the record, or what it holds, is known
            return False
        if name in ("consent", "consent_expires"):
            asked = terms.legal_basis == "consent" or terms.condition == "explicit_consent"
            return asked and getattr(terms, name) is None
        return getattr(terms, name) is None

    def _is_withdrawn(self, record: Record, terms: Terms) -> bool:
        if terms.consent in self.withdrawn:
            return True
        return terms.rests_on_consent and record.subject is not None and record.subject in self.withdrawn

    def _passes(self, record: Record, reasons: tuple[tuple[str, str], ...]) -> bool:
        if not reasons:
            return True
        place = str(record.source)
        for reason, message in reasons:
            if self._action(reason) == "block":
                code, cure = REASONS[reason]
                self.faults.add(code, message, place=place, cure=cure)
        reason = reasons[0][0]
        self.left[record.split, reason] += 1
        if len(self.named[reason]) < _NAMED:
            self.named[reason].append(place)
        return False

    def _action(self, reason: str) -> str:
        rules = self.policy.on_unlawful
        return rules.get(reason, rules["*"])

    def _count_licence(self, licence: str, record: Record) -> None:
        counted = self._licences.get(licence)
        if counted is None:
            counted = self._licences[licence] = Counter()
            grant = grant_of(licence, self.use, self.config.licences)
            if isinstance(grant, Refusal):
                self._refused[licence] = (grant, str(record.source))
        counted[record.split] += 1
