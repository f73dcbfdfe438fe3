"""The documentation says what the code does: pages from docstrings, README's commands, links, dependencies."""

import importlib.metadata
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tuneward.error_codes import CODES
from tuneward.errors import StorageError
from tuneward.workflows.init import init
from tuneward.workflows.workspace import open_workspace

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]


def test_generated_pages_are_what_the_code_says() -> None:
    done = subprocess.run([sys.executable, ROOT / "docs" / "generate.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_has_a_place_that_was_to_be_filled(page: Path) -> None:
    assert not re.findall(r"@[A-Z0-9_]+@", page.read_text(encoding="utf-8"))


def test_every_command_that_the_readme_names_exists() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^tuneward ([a-z]+)", text, flags=re.MULTILINE)) | set(
        re.findall(r"bin/tuneward ([a-z]+)", text)
    )
    written = {page.stem.split("-")[0] for page in (ROOT / "docs" / "commands").glob("*.md")}
    assert named
    assert named <= written


@pytest.mark.parametrize("page", [*PAGES, *(ROOT / "examples").rglob("*.md")], ids=lambda page: page.parent.name)
def test_a_site_is_made_before_the_road_is_walked(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for block in re.findall(r"^```[a-z]*\n(.*?)^```|((?:^    .*\n)+)", text, flags=re.MULTILINE | re.DOTALL):
        named = re.findall(r"(?:^|&& )\s*tuneward ([a-z]+)", "".join(block), flags=re.MULTILINE)
        if "run" in named and page.parent.name != "commands":
            assert "init" in named[: named.index("run")], f"{page}: `tuneward run` finds no site"


@pytest.mark.parametrize("example", ["claims", "e2e"])
def test_init_as_an_example_gives_it_makes_the_site_that_the_road_needs(example: str, tmp_path: Path) -> None:
    folder = tmp_path / example
    shutil.copytree(ROOT / "examples" / example, folder, ignore=shutil.ignore_patterns(".tuneward", "data"))
    before = (folder / "tuneward.yaml").read_bytes()
    with pytest.raises(StorageError, match="TW-STOR-001"):
        open_workspace(folder, actor="ada")
    assert init(folder, actor="ada").created == ("site",)
    assert open_workspace(folder, actor="ada").project.project
    assert (folder / "tuneward.yaml").read_bytes() == before


def test_every_make_target_that_the_readme_names_exists() -> None:
    named = set(re.findall(r"^make ([a-z]+)", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.MULTILINE))
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert named == {"quickstart", "test"}
    assert named <= targets


def test_every_dependency_has_its_line_and_its_pin() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*settings["dependencies"], *settings["optional-dependencies"]["test"]]
    names = {re.split(r"[\[<>=;]", requirement)[0].lower() for requirement in wanted}
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8").lower()
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").lower().replace("_", "-")
    for name in names:
        assert name in page or (name.startswith("types-") and "types-*" in page), name
        assert f"\n{name}==" in pins, name


def test_every_error_code_is_used_and_none_is_used_unlisted() -> None:
    used: set[str] = set()
    for path in (ROOT / "src").rglob("*.py"):
        if path.name != "error_codes.py" or path.parent.name != "tuneward":
            used |= set(re.findall(r"TW-[A-Z]+-\d{3}", path.read_text(encoding="utf-8")))
    assert used == set(CODES)


def test_the_version_is_one() -> None:
    import tuneward

    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert settings["version"] == tuneward.__version__ == importlib.metadata.version("tuneward")
