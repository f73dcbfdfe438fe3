"""The model card: one page of Markdown about a version, for people.

Place on the road: one of the papers that ``register`` makes, from ``card.template.md`` beside this file. Every value
that enters is escaped, so that no name or purpose can forge a heading, a table or a link.
"""

import re
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined

from tuneward.registry.figures import limits, number, table
from tuneward.registry.provenance import Provenance

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~!&])")
_SPACE = re.compile(r"\s+")


class _Written(str):
    """Markdown of ours, not to be escaped again."""

    __slots__ = ()


def escaped(value: object) -> str:
    """Text that Markdown shows as it is, on one line."""
    if isinstance(value, _Written):
        return value
    return _SPECIAL.sub(r"\\\1", _SPACE.sub(" ", number(value)).strip())


def code(value: object) -> str:
    """A code span: ids, digests and settings."""
    return _Written(f"`{_SPACE.sub(' ', number(value)).replace('`', ' ').replace('|', ' ').strip() or ' '}`")


def make_card(provenance: Provenance) -> bytes:
    """Build the card; UTF-8, the same bytes for the same provenance."""
    # Markdown, not HTML: `escaped` is the escaping, applied to every value by `finalize`.
    environment = Environment(  # noqa: S701
        undefined=StrictUndefined, finalize=escaped, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters["code"] = code
    template = environment.from_string((files("tuneward.registry") / "card.template.md").read_text("utf-8"))
    return template.render(_context(provenance)).encode()


def _context(provenance: Provenance) -> dict[str, Any]:
    report = provenance.report
    return {
        "version": provenance,
        "settings": sorted(provenance.run.config.items()),
        "training_figures": sorted(
            (name, value) for name, value in provenance.run.figures.items() if isinstance(value, str | int | float)
        ),
        "rows": table(report, fields=False),
        "field_rows": table(report, fields=True),
        "fields": report["fields"],
        "limits": limits(report),
        "failures": [(model, sorted(counts.items())) for model, counts in sorted(report["failures"].items()) if counts],
    }
