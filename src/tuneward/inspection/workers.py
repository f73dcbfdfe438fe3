"""Workers: processes that inspect texts beside this one.

Place on the road: ``prepare`` makes them once and ``data.inspecting`` hands them texts.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tuneward.domain.finding import Finding
from tuneward.inspection.config import InspectionConfig
from tuneward.inspection.inspector import Inspector
from tuneward.processes import Processes

Found = list[list[Finding]]
#: Texts go in, a list of findings for each comes out.
Workers = Processes[Sequence[str], Found]


def make_workers(
    config: InspectionConfig,
    folder: Path,
    *,
    count: int,
    inspector: Inspector,
    told: Callable[[str], None] = lambda text: None,
) -> Workers:
    """Processes that find what ``inspector`` finds.

    Args:
        config: the project's ``inspection`` section.
        folder: the folder that names of term lists start from.
        count: how many.
        inspector: what the same settings make in this process.
        told: takes a line about a process that did not answer and was ended.
    """
    return Processes(
        "tuneward.inspection.worker",
        {"inspection": config.canonical(), "folder": str(folder.absolute())},
        count=count,
        written=list,
        read=_read,
        here=lambda texts: [inspector.inspect(text) for text in texts],
        told=told,
    )


def _read(texts: Sequence[str], answer: Any) -> Found:
    found = [[Finding(*values) for values in in_text] for in_text in answer]
    if len(found) != len(texts):  # a text without an answer would pass as clean
        raise ValueError("an answer for each text")
    return found
