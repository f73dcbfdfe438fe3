"""Worker: a process that inspects texts for another one: ``python -m tuneward.inspection.worker``.

Place on the road: the child's side of ``inspection.workers``. Texts are answered with findings and written nowhere.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tuneward.inspection.config import InspectionConfig
from tuneward.inspection.inspector import make_inspector
from tuneward.processes import answer_lines


def begin(settings: dict[str, Any]) -> Callable[[list[str]], object]:
    """What answers a list of texts with the findings in each."""
    config = InspectionConfig.model_validate(settings["inspection"])
    inspector = make_inspector(config, folder=Path(settings["folder"]))
    return lambda texts: [[finding.values for finding in inspector.inspect(text)] for text in texts]


if __name__ == "__main__":
    answer_lines(begin)
