"""Pages: templates of HTML pages that load nothing from anywhere.

Place on the road: under every page that is written as a file (data card, summary of training content, report). What is
put into a page is escaped, and a name that is missing is an error. Knows no page's content.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2

from tuneward.amounts import counted


def page(path: Path, **filters: Callable[..., Any]) -> jinja2.Template:
    """The template in a file, UTF-8.

    Args:
        path: the file.
        filters: functions that the template may use, beside ``thousands`` (1,234) and
            ``counted`` (1,234 rows; see :mod:`tuneward.amounts`).

    Raises:
        OSError: it cannot be read.
        jinja2.TemplateError: it is no template.
    """
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(thousands=lambda number: f"{number:,}", counted=counted, **filters)
    return environment.from_string(path.read_text(encoding="utf-8"))
