"""The house itself: no rooms without a noun, no files that two nouns share, no torch at the web's door."""

import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "tuneward"
FILES = sorted(SOURCE.rglob("*.py"))
LINES = 350


def test_no_room_lacks_a_noun() -> None:
    vague = {"util", "utils", "helper", "helpers", "common", "misc"}
    assert [path for path in FILES if {path.stem, *path.parts} & vague] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_file_holds_a_second_noun(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LINES


@pytest.mark.parametrize("module", ["tuneward.web.app", "tuneward.cli.main", "tuneward.workflows.run"])
def test_doors_load_no_torch(module: str) -> None:
    script = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0
