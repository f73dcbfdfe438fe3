"""`tuneward quickstart` on a tiny example: the printed summary, the page, and going on in the same folder."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.journey.conftest import ACTOR
from tests.journey.tiny_project import SETTINGS, make_project
from tuneward.cli.output import stdout
from tuneward.cli.quickstart import _end
from tuneward.errors import ConfigError
from tuneward.workflows.quickstart import QuickstartResult

pytestmark = pytest.mark.journey


def quickstart(folder: Path, example: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tuneward.cli.main", "quickstart", "--json"]
    return subprocess.run(
        [*command, "--folder", str(folder), "--example", str(example)],
        env={**os.environ, "TUNEWARD_ACTOR": ACTOR},
        capture_output=True,
        text=True,
    )


def test_the_quickstart_walks_the_road_and_goes_on_where_it_stood(tmp_path: Path) -> None:
    example = make_project(tmp_path / "example")
    (example / "tuneward.yaml").write_text(SETTINGS.replace("base: base", f"base: {example / 'base'}"))
    done = quickstart(tmp_path / "quick", example)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["verified"]
    assert [step["name"] for step in result["summary"]["steps"]] == [
        "pull", "prepare", "approve", "train", "evaluate", "register", "deploy", "serve", "verify",
    ]  # fmt: skip
    assert result["summary"]["figures"]["task.valid"]["n"] == 6
    page = Path(result["report"]).read_text(encoding="utf-8")
    assert "<svg" in page
    assert "https://" not in page.replace("https://www.w3.org", "").replace("http://www.w3.org", "")
    assert result["answer_id"].removeprefix("chatcmpl-") in page
    again = quickstart(tmp_path / "quick", example)
    assert again.returncode == 0, again.stderr
    states = {step["name"]: step["state"] for step in json.loads(again.stdout)["summary"]["steps"]}
    assert states["train"] == states["deploy"] == "kept"
    assert result["earlier"] == []
    assert json.loads(again.stdout)["earlier"] == [
        "pull", "prepare", "approve", "train", "evaluate", "register", "deploy",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("earlier", "said"),
    [
        ((), "the road took 11:26 (the base's download and conversion 0:30 of it); largest"),
        (
            ("train",),
            "this call took 11:26; an earlier one had done or begun train, whose time is not in it; "
            "the base's download and conversion 0:30 of it; largest",
        ),
        (
            ("pull", "prepare"),
            "this call took 11:26; an earlier one had done or begun pull, prepare, whose time is not in it; largest",
        ),
    ],
)
def test_what_the_time_counts_is_said(earlier: tuple[str, ...], said: str) -> None:
    result = QuickstartResult("quick", "report.html", 686.4, 30.2, 10**9, {}, "chatcmpl-1", True, "", earlier)
    with stdout.capture() as captured:
        _end(result)
    assert captured.get().startswith(f"\n{said}")


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "quick").mkdir()
    (tmp_path / "quick" / "thesis.txt").write_text("years of work")
    done = quickstart(tmp_path / "quick", tmp_path)
    assert done.returncode == ConfigError.exit_code
    assert [path.name for path in (tmp_path / "quick").iterdir()] == ["thesis.txt"]
