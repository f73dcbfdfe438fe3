"""The command line: one JSON object with --json, faults with their cure, exit codes of the error tree."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tuneward.cli.output import plain
from tuneward.cli.proof import _kept
from tuneward.errors import ConfigError, StorageError
from tuneward.governance.keys import Keys
from tuneward.governance.notes import open_note, origin
from tuneward.workflows.workspace import open_office


def tuneward(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tuneward.cli.main", *arguments],
        cwd=cwd,
        env={**os.environ, "TUNEWARD_ACTOR": "ada"},
        capture_output=True,
        text=True,
    )


def test_init_then_status_speak_json(tmp_path: Path) -> None:
    made = tuneward("init", "--name", "My Project", "--json", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["created"] == ["site", "project"]
    again = json.loads(tuneward("init", "--json", cwd=tmp_path).stdout)
    assert again["created"] == []
    status = tuneward("status", "--json", cwd=tmp_path)
    seen = json.loads(status.stdout)
    assert seen["project"] == "my-project"
    assert seen["next"] == "tuneward pull smollm2-135m-instruct"
    assert [state["state"] for state in seen["steps"]] == ["open"] * 7


def test_the_next_command_is_told_for_the_project_that_was_named(tmp_path: Path) -> None:
    tuneward("init", "mine", cwd=tmp_path)
    shown = tuneward("status", "--project", "mine", cwd=tmp_path)
    assert shown.stdout.endswith("next: tuneward pull smollm2-135m-instruct --project mine\n")
    assert tuneward("status", cwd=tmp_path / "mine").stdout.endswith("next: tuneward pull smollm2-135m-instruct\n")


def test_the_list_of_commands_cuts_no_sentence(tmp_path: Path) -> None:
    told = tuneward("--help", cwd=tmp_path).stdout
    assert "..." not in told.partition("Commands:")[2]
    assert "offline; name every link that does not hold." in " ".join(told.split())


def test_all_faults_of_the_project_file_are_told_at_once(tmp_path: Path) -> None:
    tuneward("init", cwd=tmp_path)
    path = tmp_path / "tuneward.yaml"
    path.write_text(path.read_text().replace("epochs: 1", "epoch: 1").replace("use: internal ", "use: outside "))
    done = tuneward("status", "--json", cwd=tmp_path)
    assert done.returncode == ConfigError.exit_code
    faults = json.loads(done.stdout)["error"]["faults"]
    assert {fault["code"] for fault in faults} == {"TW-CONF-003", "TW-CONF-004"}
    unknown = next(fault for fault in faults if fault["code"] == "TW-CONF-003")
    assert "did you mean `epochs`?" in unknown["cure"]
    line = 1 + next(n for n, text in enumerate(path.read_text().splitlines()) if "epoch: 1" in text)
    assert unknown["place"] == f"{path}:{line}"


def test_without_a_site_the_cure_is_init(tmp_path: Path) -> None:
    done = tuneward("log", cwd=tmp_path)
    assert done.returncode == StorageError.exit_code
    assert "tuneward init" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("arguments", [["prepar"], ["status", "--colour"], ["log", "--last", "none"]])
def test_a_wrong_command_line_is_a_configuration_fault(tmp_path: Path, arguments: list[str]) -> None:
    done = tuneward(*arguments, "--json", cwd=tmp_path)
    assert done.returncode == ConfigError.exit_code
    assert json.loads(done.stdout)["error"]["faults"][0]["code"] == "TW-CONF-007"


def test_doctor_names_what_is_missing_and_never_raises(tmp_path: Path) -> None:
    done = tuneward("doctor", "--json", cwd=tmp_path)
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert checks["site"]["cure"] == "tuneward init"
    assert {"Python", "torch", "processor", "memory", "disk", "packages", "project"} <= set(checks)


def test_plain_turns_results_into_json_values(tmp_path: Path) -> None:
    assert plain({"a": (1, tmp_path)}) == {"a": [1, str(tmp_path)]}


@pytest.mark.parametrize("command", [("log",), ("key", "list"), ("member", "list")])
def test_times_say_that_they_are_utc(tmp_path: Path, command: tuple[str, ...]) -> None:
    tuneward("init", cwd=tmp_path)
    assert "(UTC)" in tuneward(*command, cwd=tmp_path).stdout


@pytest.mark.parametrize("form", ["plain", "json", "mailed"])
def test_a_checkpoint_led_into_a_file_is_one_that_verify_takes(tmp_path: Path, form: str) -> None:
    tuneward("init", cwd=tmp_path)
    done = tuneward("log", "--checkpoint", *(["--json"] if form == "json" else []), cwd=tmp_path)
    assert done.returncode == 0
    kept = tmp_path / "kept.txt"
    kept.write_bytes((done.stdout.replace("\n", "\r\n") if form == "mailed" else done.stdout).encode())
    site = open_office(tmp_path, actor="ada").site
    assert open_note(_kept(kept), origin(site.id), Keys.open(site.keys_folder).public)[0] == 1


def test_no_more_of_a_kept_file_is_read_than_a_note_can_be_long() -> None:
    assert len(_kept(Path("/dev/zero"))) < 100_000


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_closed_standard_streams_end_no_command(tmp_path: Path, closed: tuple[int, ...]) -> None:
    closing = " ".join(f"{number}>&-" for number in closed)
    command = [*("sh", "-c", f'exec "$@" {closing}', "sh"), sys.executable, "-m", "tuneward.cli.main", "init", "--json"]
    done = subprocess.run(command, cwd=tmp_path, env={**os.environ, "TUNEWARD_ACTOR": "ada"}, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert tuneward("status", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("command", [("status",), ("status", "--json"), ("nonsense", "--json")])
def test_an_output_on_a_full_disk_is_one_fault(tmp_path: Path, command: tuple[str, ...]) -> None:
    tuneward("init", cwd=tmp_path)
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "tuneward.cli.main", *command],
            cwd=tmp_path,
            env={**os.environ, "TUNEWARD_ACTOR": "ada"},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == StorageError.exit_code
    assert "TW-STOR-007" in done.stderr
    assert "Traceback" not in done.stderr
