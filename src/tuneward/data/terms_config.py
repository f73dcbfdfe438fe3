"""Settings of the law: under which terms rows may be used, by project, by file and by row.

Place on the road: ``data.terms``, ``data.sources`` and ``data.summary`` of ``tuneward.yaml``; read by ``data.terms``.
What is required of rows stands in the policy, not here.
"""

from datetime import date
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from tuneward.configuration import Section
from tuneward.domain.law import TERM_NAMES

LegalBasis = Literal[
    "consent",
    "contract",
    "legal_obligation",
    "vital_interests",
    "public_task",
    "legitimate_interests",
    "no_personal_data",
]
Condition = Literal[
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
]
Category = Literal["public", "licensed", "private", "crawled", "user", "synthetic", "other"]


def _not_blank(value: str | None) -> str | None:
    if value is not None and not value.strip():
        raise ValueError("is blank; leave the setting out instead")
    return value


class TermColumns(Section):
    """Columns that say it row by row; where one is named, its empty cells say nothing, and no default stands in."""

    legal_basis: str | None = None
    """Column of the legal basis: its name here, or its letter (``6(1)(f)``)."""
    consent: str | None = None
    """Column of the consent's reference; kept only as a keyed pseudonym."""
    consent_expires: str | None = None
    """Column of the last day on which the consent holds (``YYYY-MM-DD``)."""
    purpose: str | None = None
    """Column of the purpose."""
    condition: str | None = None
    """Column of the condition for special categories: its name here, or its letter (``9(2)(h)``)."""
    licence: str | None = None
    """Column of the licence."""
    origin: str | None = None
    """Column that says where the row comes from."""
    category: str | None = None
    """Column of the category of source."""
    collected: str | None = None
    """Column of the day of collection (``YYYY-MM-DD``)."""
    classification: str | None = None
    """Column that says how confidential the row is."""
    retention: str | None = None
    """Column of the last day on which the row may be kept (``YYYY-MM-DD``)."""
    geography: str | None = None
    """Column of the country that the row comes from."""

    def named(self) -> dict[str, str]:
        """Term → column, for those that are named."""
        return {name: column for name in TERM_NAMES if (column := getattr(self, name))}

    @field_validator(*TERM_NAMES)
    @classmethod
    def _not_blank(cls, value: str | None) -> str | None:
        return _not_blank(value)


class TermsConfig(Section):
    """Under which terms rows may be used; what is left out is not said."""

    legal_basis: LegalBasis | None = None
    """Ground on which personal data are processed (GDPR Art. 6(1)), or ``no_personal_data``."""
    consent: str | None = None
    """Reference of the consent, where one covers all rows; kept only as a keyed pseudonym."""
    consent_expires: date | None = None
    """Last day on which the consent holds."""
    purpose: str | None = None
    """What the data were collected for (GDPR Art. 5(1)(b))."""
    condition: Condition | None = None
    """What lifts the prohibition of processing special categories (GDPR Art. 9(2))."""
    licence: str | None = None
    """Licence of the data: an SPDX expression, or a name of the table or of ``data.licences``."""
    origin: str | None = None
    """Where the data come from, in words or as an address."""
    category: Category | None = None
    """Kind of source in the Commission's template for the summary of training content: ``public`` data set,
    ``licensed`` from right holders, other ``private`` data set, ``crawled`` from the web, data of the
    provider's ``user``s, ``synthetic``, or ``other``."""
    collected: date | None = None
    """Last day of collection."""
    classification: str | None = None
    """How confidential the data are, in the site's own words."""
    retention: date | None = None
    """Last day on which the data may be kept (GDPR Art. 5(1)(e))."""
    geography: str | None = None
    """Country that the data come from (ISO 3166-1 alpha-2; Norway in quotes, ``"NO"``), or ``EU`` or
    ``EEA``."""
    columns: TermColumns = TermColumns()
    """Columns that say it row by row."""

    @field_validator("consent", "purpose", "licence", "origin", "classification", "geography")
    @classmethod
    def _not_blank(cls, value: str | None) -> str | None:
        return _not_blank(value)

    @model_validator(mode="after")
    def _said_once(self) -> "TermsConfig":
        twice = [name for name in self.columns.named() if getattr(self, name) is not None]
        if twice:
            raise ValueError(f"{', '.join(twice)}: give a value or a column, not both")
        return self


class SourceConfig(TermsConfig):
    """Some of the files, and the terms of their rows; what is left out is taken from ``data.terms``."""

    files: tuple[str, ...] = Field(min_length=1)
    """Which files: names as ``data.train`` and ``data.test`` find them; ``*`` and ``?`` are patterns."""
    subject: str | None = None
    """Column that names the data subject in these files."""

    @field_validator("files", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("subject")
    @classmethod
    def _subject_not_blank(cls, value: str | None) -> str | None:
        return _not_blank(value)


class SummaryConfig(Section):
    """What only the provider can say in the public summary of training content (AI Act Art. 53(1)(d))."""

    provider: str | None = None
    """Name and contact of the provider."""
    representative: str | None = None
    """Name and contact of the authorised representative, for providers outside the Union."""
    model: str | None = None
    """Name of the model as it is placed on the market."""
    base_summary: str | None = None
    """Where the summary of the base model can be read."""
    opt_outs: str | None = None
    """Measures to respect reservations of rights under Art. 4(3) of Directive (EU) 2019/790."""
    illegal_content: str | None = None
    """Measures against illegal content in the training data."""
    other: str | None = None
    """Further information on the processing of the data."""
