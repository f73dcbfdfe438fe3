"""The public summary of training content, in the sections of the Commission's template (AI Act Art. 53(1)(d)).

Place on the road: ``prepare`` writes it beside the data card, as JSON and HTML, from the terms and tokens of the kept
training rows and from what only the provider can say (``data.summary``). What nobody said is listed under ``open`` and
shown as missing: a summary with open points is a draft. Sections as of the template of 24 July 2025.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

from tuneward.amounts import counted
from tuneward.data.terms_config import SummaryConfig
from tuneward.domain.law import Terms
from tuneward.pages import page

TEMPLATE: Final = "European Commission, 24 July 2025"
#: Section of the template → category of source.
SECTIONS: Final[Mapping[str, tuple[str, str]]] = {
    "2.1": ("public", "Publicly available datasets"),
    "2.2.1": ("licensed", "Private datasets licensed from right holders or their representatives"),
    "2.2.2": ("private", "Other private datasets obtained from third parties"),
    "2.3": ("crawled", "Data crawled and scraped from online sources"),
    "2.4": ("user", "User data"),
    "2.5": ("synthetic", "Synthetic data"),
    "2.6": ("other", "Other sources of data"),
}
_BINS: Final = ((1_000_000_000, "less than 1 billion tokens"), (10_000_000_000_000, "1 billion to 10 trillion tokens"))
_LARGEST: Final = "more than 10 trillion tokens"
#: Sources that a section lists; the others are counted.
_LISTED: Final = 200


@dataclass(frozen=True)
class Training:
    """What the summary is made from.

    Attributes:
        title: the project's name.
        base: the base model's name.
        terms: of each training row that is kept.
        tokens: of each of them.
        today: the day of the summary.
    """

    title: str
    base: str
    terms: Iterable[Terms | None]
    tokens: Sequence[int]
    today: date


def make_summary(config: SummaryConfig, training: Training) -> dict[str, Any]:
    """The summary as JSON values; ``content-summary.json`` of the prepared dataset."""
    missing: list[dict[str, str]] = []

    def said(section: str, what: str, value: str | None, setting: str) -> str | None:
        if value is None:
            missing.append({"section": section, "what": what, "setting": setting})
        return value

    sources = _sources(training)
    tokens = sum(training.tokens)
    collected = [terms.collected for terms in sources if terms.collected]
    general = {
        "1.1": {
            "title": "Provider",
            "provider": said("1.1", "name and contact of the provider", config.provider, "data.summary.provider"),
            "representative": config.representative,
        },
        "1.2": {
            "title": "Model",
            "model": config.model or training.title,
            "depends_on": training.base,
            "base_summary": said(
                "1.2", "where the base's summary can be read", config.base_summary, "data.summary.base_summary"
            ),
        },
        "1.3": {
            "title": "Modalities, overall size and characteristics",
            "modality": "text",
            "size": size_of(tokens),
            "tokens": tokens,
            "rows": len(training.tokens),
            "latest_data": said(
                "1.3", "when the latest data were collected", max(collected, default=None), "data.terms.collected"
            ),
        },
    }
    unplaced = sum(share["rows"] for terms, share in sources.items() if terms.category is None)
    if unplaced:
        what = f"what kind of source {counted(unplaced, 'row comes', 'rows come')} from"
        missing.append({"section": "2", "what": what, "setting": "data.terms.category"})
    processing = {
        "3.1": {
            "title": "Respect of reservation of rights from text and data mining",
            "says": said("3.1", "measures to respect opt-outs", config.opt_outs, "data.summary.opt_outs"),
        },
        "3.2": {
            "title": "Removal of illegal content",
            "says": said("3.2", "measures against illegal content", config.illegal_content, "data.summary"),
        },
        "3.3": {"title": "Other information", "says": config.other},
    }
    return {
        "format": "tuneward-content-summary/1",
        "template": TEMPLATE,
        "version": "1",
        "date": training.today.isoformat(),
        "title": training.title,
        "scope": "the fine-tuning only; the content that trained the base stands in the base's own summary",
        "general": general,
        "sources": {number: _section(sources, *about) for number, about in SECTIONS.items()},
        "unplaced": _section(sources, None, "Sources of which no category is said"),
        "processing": processing,
        "open": missing,
    }


def size_of(tokens: int) -> str:
    """The template's bin."""
    return next((words for end, words in _BINS if tokens < end), _LARGEST)


def _sources(training: Training) -> dict[Terms, dict[str, int]]:
    """Terms as far as the summary tells them → rows and tokens."""
    shares: dict[Terms, dict[str, int]] = defaultdict(lambda: {"rows": 0, "tokens": 0})
    for said, tokens in zip(training.terms, training.tokens, strict=True):
        terms = said or Terms()
        told = Terms(licence=terms.licence, origin=terms.origin, category=terms.category, collected=terms.collected)
        shares[told]["rows"] += 1
        shares[told]["tokens"] += tokens
    return dict(shares)


def _section(sources: Mapping[Terms, Mapping[str, int]], category: str | None, title: str) -> dict[str, Any]:
    lines: dict[tuple[str | None, str | None], dict[str, Any]] = {}
    for terms, share in sources.items():
        if terms.category == category:
            line = lines.setdefault(
                (terms.origin, terms.licence),
                {"origin": terms.origin, "licence": terms.licence, "rows": 0, "tokens": 0, "collected": None},
            )
            line["rows"] += share["rows"]
            line["tokens"] += share["tokens"]
            line["collected"] = max(filter(None, (line["collected"], terms.collected)), default=None)
    ordered = sorted(lines.values(), key=lambda line: (-line["tokens"], line["origin"] or "", line["licence"] or ""))
    return {
        "title": title,
        "rows": sum(line["rows"] for line in ordered),
        "tokens": sum(line["tokens"] for line in ordered),
        "listed": ordered[:_LISTED],
        "more": len(ordered[_LISTED:]),
    }


def render_summary(summary: Mapping[str, Any]) -> str:
    """The summary as one HTML page that loads nothing from anywhere."""
    return page(Path(__file__).with_name("content_summary.html")).render(summary=summary)
