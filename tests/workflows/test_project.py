"""Settings of one room that name what another room's settings make."""

from pathlib import Path

import pytest

from tests.journey.tiny_project import SETTINGS
from tuneward.errors import ConfigError
from tuneward.workflows.project import load_project

GUARD = """\
serving:
  guard:
    prompts:
      email: redact
      {name}: block
"""


def guarded(folder: Path, name: str, more: str = "") -> Path:
    text = SETTINGS.replace("serving: {port: 0, max_rows: 8}\n", GUARD.format(name=f'"{name}"')) + more
    (folder / "tuneward.yaml").write_text(text, encoding="utf-8")
    return folder


LISTS = "inspection:\n  terms: {customers: c.txt}\n  patterns: {case-number: 'C[0-9]+'}\n"


@pytest.mark.parametrize("name", ["term:customers", "pattern:case-number", "term", "pattern", "*"])
def test_a_guard_may_name_lists_and_patterns_that_are_there(tmp_path, name):
    assert load_project(guarded(tmp_path, name, LISTS)).serving.guard.prompts[name] == "block"


@pytest.mark.parametrize(
    ("name", "more", "cure"),
    [
        ("term:custmers", LISTS, "did you mean `term:customers`?"),
        ("pattern:customers", LISTS, "did you mean `term:customers`?"),
        ("term:zz", LISTS, "there are: term:customers, pattern:case-number"),
        ("term:customers", "", "`inspection` names no list and no pattern"),
    ],
)
def test_a_guard_that_names_a_list_that_is_not_there_is_refused(tmp_path, name, more, cure):
    with pytest.raises(ConfigError) as caught:
        load_project(guarded(tmp_path, name, more))
    (fault,) = caught.value.faults
    line = (tmp_path / "tuneward.yaml").read_text().splitlines().index(f'      "{name}": block') + 1
    assert (fault.code, fault.place) == ("TW-CONF-004", f"{tmp_path / 'tuneward.yaml'}:{line}")
    assert fault.message == f"`serving.guard.prompts.{name}`: no such list or pattern: `{name}`"
    assert cure in fault.cure


@pytest.mark.parametrize(("name", "near"), [("emial", "email"), ("email:x", "email"), ("pasword", "password")])
def test_a_kind_that_is_not_there_is_refused_with_the_nearest(tmp_path, name, near):
    with pytest.raises(ConfigError) as caught:
        load_project(guarded(tmp_path, name))
    (fault,) = caught.value.faults
    assert "no such kind of finding" in fault.message
    assert fault.cure.startswith(f"did you mean `{near}`?")
