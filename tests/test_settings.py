"""No library reports usage: every switch is set before any import, and the libraries read it so."""

import getpass
import json
import os
import subprocess
import sys

import pytest

from tuneward.settings import SILENCE, Settings


def environment_after(module: str) -> dict[str, str]:
    script = f"import {module}, json, os; print(json.dumps(dict(os.environ)))"
    clean = {name: value for name, value in os.environ.items() if name not in SILENCE}
    done = subprocess.run([sys.executable, "-c", script], env=clean, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_the_command_line_is_silent_before_it_imports_anything() -> None:
    seen = environment_after("tuneward.cli.main")
    assert {name: seen.get(name) for name in SILENCE} == SILENCE


def test_the_hub_library_sees_the_switch() -> None:
    script = (
        "from tuneward.settings import silence; silence();"
        "from huggingface_hub import constants as c;"
        "print(c.HF_HUB_DISABLE_TELEMETRY, c.HF_HUB_OFFLINE)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True"]


def test_the_data_library_of_the_oracles_sees_the_switches() -> None:
    script = (
        "from tuneward.settings import silence; silence();"
        "from datasets import config as c;"
        "print(c.HF_HUB_OFFLINE, c.HF_UPDATE_DOWNLOAD_COUNTS, c.HF_DATASETS_DISABLE_PROGRESS_BARS)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False", "True"]


def test_settings_come_from_the_environment(monkeypatch) -> None:
    monkeypatch.setenv("TUNEWARD_SITE", "/somewhere/.tuneward")
    monkeypatch.setenv("TUNEWARD_ACTOR", "ada")
    read = Settings.from_environment()
    assert str(read.site) == "/somewhere/.tuneward"
    assert read.actor == "ada"


@pytest.mark.parametrize("unknown", [KeyError, OSError])  # before and from Python 3.13 on
def test_a_user_whom_the_system_cannot_name_acts_under_a_number(monkeypatch, unknown) -> None:
    def nobody() -> str:
        raise unknown

    monkeypatch.delenv("TUNEWARD_ACTOR", raising=False)
    monkeypatch.setattr(getpass, "getuser", nobody)
    assert Settings.from_environment().actor == f"uid-{os.getuid()}"
