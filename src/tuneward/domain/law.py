"""Law: the terms under which a row came in, consents withdrawn, and decisions on a base's licence."""

from dataclasses import dataclass, fields
from typing import Any

#: Articles 6(1)(a) to (f) GDPR, and rows that are about nobody.
LEGAL_BASES: tuple[str, ...] = (
    "consent",
    "contract",
    "legal_obligation",
    "vital_interests",
    "public_task",
    "legitimate_interests",
    "no_personal_data",
)
#: Article 9(2)(a) to (j) GDPR: what lifts the prohibition of processing special categories.
CONDITIONS: tuple[str, ...] = (
    "explicit_consent",
    "employment",
    "vital_interests",
    "not_for_profit_body",
    "made_public",
    "legal_claims",
    "substantial_public_interest",
    "health_care",
    "public_health",
    "research",
)
#: Sections 2.1 to 2.6 of the Commission's template for the public summary of training content.
CATEGORIES: tuple[str, ...] = ("public", "licensed", "private", "crawled", "user", "synthetic", "other")


@dataclass(frozen=True)
class Terms:
    """Under which terms a row may be used; what is None was not said.

    Many rows share one set: rows are held together with it by its digest.

    Attributes:
        legal_basis: one of :data:`LEGAL_BASES` (GDPR Art. 6(1)).
        consent: keyed pseudonym of the consent's reference, ``con_…``.
        consent_expires: last day on which the consent holds, ``YYYY-MM-DD``.
        purpose: what the data were collected for.
        condition: one of :data:`CONDITIONS` (GDPR Art. 9(2)).
        licence: SPDX expression, or a name that the table of licences or the project knows.
        origin: where the data come from, in the project's words.
        category: one of :data:`CATEGORIES`.
        collected: last day of collection.
        classification: how confidential the data are, in the site's words.
        retention: last day on which the data may be kept.
        geography: country (ISO 3166-1 alpha-2) or group of countries that the data come from.
    """

    legal_basis: str | None = None
    consent: str | None = None
    consent_expires: str | None = None
    purpose: str | None = None
    condition: str | None = None
    licence: str | None = None
    origin: str | None = None
    category: str | None = None
    collected: str | None = None
    classification: str | None = None
    retention: str | None = None
    geography: str | None = None

    def to_json(self) -> dict[str, str]:
        """What was said; what was not is left out."""
        return {name: value for name in TERM_NAMES if (value := getattr(self, name)) is not None}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Terms":
        """Inverse of :meth:`to_json`."""
        return cls(**value)

    @property
    def rests_on_consent(self) -> bool:
        """Whether the rows fall when their data subject's consent is withdrawn.

        They do where consent is the basis or lifts the prohibition of Art. 9, where a consent is referred to, and where
        no basis is given: what is not known to rest on something else rests on the consent (GDPR Art. 7(3)).
        """
        return self.legal_basis in (None, "consent") or self.condition == "explicit_consent" or self.consent is not None

    @property
    def last_day(self) -> str | None:
        """The last day on which rows under these terms may be used, or None where no date ends that."""
        consent = self.consent_expires if self.rests_on_consent else None
        return min((day for day in (consent, self.retention) if day), default=None)


TERM_NAMES: tuple[str, ...] = tuple(field.name for field in fields(Terms))


@dataclass(frozen=True)
class TermsEntry:
    """A set of terms of a dataset, as the register keeps it; record entries name it.

    Attributes:
        dataset: the dataset's id.
        id: digest of the terms.
        consent: see :class:`Terms`; stands apart so that a withdrawal finds it.
        rests_on_consent: see :class:`Terms`.
        terms: all that was said, as :meth:`Terms.to_json` has it.
    """

    dataset: str
    id: str
    consent: str | None
    rests_on_consent: bool
    terms: dict[str, Any]


@dataclass(frozen=True)
class Withdrawal:
    """A consent withdrawn, by its reference or by its data subject.

    Attributes:
        id: the keyed pseudonym: ``con_…`` of a reference, ``sub_…`` of a subject.
        reason: in the words of whoever recorded it.
        recorded_by: the member.
        recorded_at: UTC, ISO 8601.
    """

    id: str
    reason: str
    recorded_by: str
    recorded_at: str


@dataclass(frozen=True)
class Affected:
    """A noun that stands downstream of a withdrawn consent; the mark stays.

    Attributes:
        id: ``WITHDRAWAL>KIND:ID``.
        withdrawal: the withdrawal's id.
        kind: ``dataset``, ``run``, ``adapter``, ``evaluation``, ``version``, ``deployment`` or ``export``.
        noun: id of the noun.
        rows: rows of the dataset that the withdrawal reaches; of what was made from it, of the datasets above.
        marked_at: UTC, ISO 8601.
    """

    id: str
    withdrawal: str
    kind: str
    noun: str
    rows: int
    marked_at: str


@dataclass(frozen=True)
class LicenceDecision:
    """Under which licence a base is used, decided by a member.

    Attributes:
        id: ``lic_…``.
        base: the base's id.
        licence: an expression of licences that the table knows.
        stated: the licence that the base's files state, at the time.
        text_digest: digest of the licence text beside the weights (``licences.text_digest``), or None without one.
        text_known: whether the table knows that text as this licence's; None where it has none to compare.
        use: the declared use for which it was checked.
        reason: in the words of whoever decided.
        decided_by: the member.
        decided_at: UTC, ISO 8601.
    """

    id: str
    base: str
    licence: str
    stated: str
    text_digest: str | None
    text_known: bool | None
    use: str
    reason: str
    decided_by: str
    decided_at: str
