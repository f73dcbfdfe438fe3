"""Settings of the quality checks: what happens to rows that repeat one another or look wrong.

Place on the road: ``data.quality`` in ``tuneward.yaml``. By default nothing is removed here: rows are counted and named
on the data card, each with its reasons and a suggestion.
"""

from typing import Annotated, Literal

from pydantic import Field

from tuneward.configuration import Section

Reason = Literal[
    "assistant_phrase",
    "broken_json",
    "language",
    "length",
    "outside_schema",
    "perplexity",
    "placeholder",
    "repetition",
    "toxicity",
    "truncated",
]
Language = Literal["de", "en", "es", "fr", "it"]


class QualityConfig(Section):
    """How rows are judged, and which of them leave."""

    near_duplicates: Literal["tag", "drop"] = "tag"
    """Rows whose prompt and answer nearly equal another's: ``tag`` counts and names them, ``drop`` keeps one of each
    cluster."""

    keep: Literal["first", "best"] = "first"
    """Which row of a cluster stays when the others are dropped: the ``first``, or the one of the ``best`` quality."""

    likeness: Annotated[float, Field(gt=0.3, le=1.0)] = 0.6
    """Share of six-character pieces that two texts must have in common to be near-duplicates (Jaccard)."""

    contamination: Literal["exact", "near"] = "exact"
    """To which training rows the policy's ``contamination`` applies: those whose prompt is ``exact``ly one of the test
    set's, or also those that are ``near`` to one or hold half of it word for word. The others are named and kept."""

    drop: tuple[Reason, ...] = ()
    """Reasons for which training rows are left out; all others are named and kept."""

    languages: tuple[Language, ...] = ()
    """Languages that are expected; rows that are clearly in another one are named. Empty: any."""

    embeddings: str | None = Field(default=None, min_length=1)
    """Folder of a sentence embedding model (as sentence-transformers writes them) to find duplicates by meaning with,
    relative to the project's folder or absolute; nothing is downloaded, and every pair of rows is compared."""

    cosine: Annotated[float, Field(gt=0.0, le=1.0)] = 0.9
    """Cosine of two prompts' embeddings from which they are called the same in meaning."""

    perplexity: bool = False
    """Whether the base reads every training answer, and those it finds absurdly likely or unlikely are named. Costs a
    pass over the data."""
