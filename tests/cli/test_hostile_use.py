"""Hostile use: what a hasty or hostile user can type or break ends in a fault with its cure, never in a traceback."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tuneward.cli import main as door
from tuneward.cli.main import main
from tuneward.errors import ConfigError, GovernanceError, MachineError, ServingError, StorageError
from tuneward.governance.keys import Keys
from tuneward.storage.site import Site
from tuneward.workflows.init import init


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, object]]:
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--json"])
    printed = json.loads(capsys.readouterr().out)
    assert isinstance(printed, dict)
    return int(ended.value.code or 0), printed


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "a project, größer"
    init(folder, actor="ada")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("TUNEWARD_ACTOR", "ada")
    return folder


def codes(printed: dict[str, object]) -> list[str]:
    error = printed["error"]
    assert isinstance(error, dict)
    return [fault["code"] for fault in error["faults"]]


def test_a_defect_of_ours_is_told_without_traceback_and_without_the_text_in_it(
    site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyError("a row's text")

    monkeypatch.setattr("tuneward.cli.proof.read_log", fail)
    code, printed = run(capsys, "log")
    assert (code, codes(printed)) == (1, ["TW-ENV-002"])
    assert "a row's text" not in json.dumps(printed)
    assert "cli/proof.py:" in json.dumps(printed)


def test_an_error_of_the_operating_system_is_a_storage_error(
    site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "/full")

    monkeypatch.setattr("tuneward.cli.proof.read_log", fail)
    code, printed = run(capsys, "log")
    assert (code, codes(printed)) == (StorageError.exit_code, ["TW-STOR-007"])


def test_an_argument_that_is_no_utf8_is_refused(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, printed = run(capsys, "key", "create", "\udcff")
    assert (code, codes(printed)) == (ConfigError.exit_code, ["TW-CONF-007"])


def test_square_brackets_in_names_are_no_markup(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["key", "create", "[/b] :smile:"], ["key", "list"]):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 0
        assert "[/b] :smile:" in capsys.readouterr().out


def test_a_keys_name_holds_no_control_characters(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, printed = run(capsys, "key", "create", "a\x1b[2J")
    assert (code, codes(printed)) == (GovernanceError.exit_code, ["TW-GOV-014"])


def test_an_unknown_request_names_those_that_are_there(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, printed = run(capsys, "approve", "show", "apr_none")
    assert (code, codes(printed)) == (GovernanceError.exit_code, ["TW-GOV-004"])


def test_a_reader_that_leaves_early_leaves_no_traceback(site: Path) -> None:
    command = f"{sys.executable} -m tuneward.cli.main log --json | true"
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    done = subprocess.run(["sh", "-c", command], env=environment, capture_output=True, text=True)
    assert done.stderr == ""


@pytest.mark.parametrize("left", ["nothing", "keys", "half a key"])
def test_an_init_that_was_stopped_halfway_is_finished_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: str
) -> None:
    class Killed(BaseException):
        pass

    def die(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(
            "tuneward.workflows.init.found" if left == "keys" else "tuneward.workflows.init.Keys.create", die
        )
        with pytest.raises(Killed):
            init(tmp_path, actor="ada")
    if left == "half a key":
        (tmp_path / ".tuneward" / "keys" / "secret").write_text("00")
    assert init(tmp_path, actor="ada").created == ("site", "project")
    assert init(tmp_path, actor="ada").created == ()


def test_an_init_beside_another_that_is_not_ready_keeps_its_hands_off_the_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def die(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr("tuneward.workflows.init.found", die)
        with pytest.raises(Killed):
            init(tmp_path, actor="ada")
    site = Site.open(tmp_path / ".tuneward")
    with site.lock("init"), pytest.raises(StorageError, match="TW-STOR-005"):
        init(tmp_path, actor="bea")
    assert init(tmp_path, actor="ada").created == ("site", "project")
    with site.lock("train"):
        assert init(tmp_path, actor="ada").created == ()


def test_an_init_under_a_wrong_name_is_finished_under_a_right_one(tmp_path: Path) -> None:
    with pytest.raises(GovernanceError, match="TW-GOV-009"):
        init(tmp_path, actor="key:ada")
    assert init(tmp_path, actor="ada").created == ("site", "project")


def test_a_row_with_damaged_json_is_a_storage_error(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with sqlite3.connect(site / ".tuneward" / "site.db") as database:
        database.execute("UPDATE member SET roles = '['")
    code, printed = run(capsys, "member", "list")
    assert (code, codes(printed)) == (StorageError.exit_code, ["TW-STOR-003"])


def test_the_defect_names_only_our_own_lines() -> None:
    try:
        shutil.copyfile(None, None)  # type: ignore[type-var]
    except TypeError as error:
        fault = door._defect(error)
    assert fault.place == ""


def test_chat_beside_a_gateway_asks_for_a_key_of_it(
    site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("TUNEWARD_API_KEY", raising=False)
    with Site.open(site / ".tuneward").lock("serve"):
        code, printed = run(capsys, "chat", "hello")
    assert (code, codes(printed)) == (ServingError.exit_code, ["TW-SERV-041"])
    assert "TUNEWARD_API_KEY" in json.dumps(printed)


@pytest.mark.parametrize("key", ["schlüssel", "two\nlines"])
def test_a_key_that_cannot_be_one_is_refused(
    site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], key: str
) -> None:
    monkeypatch.setenv("TUNEWARD_API_KEY", key)
    code, printed = run(capsys, "chat", "hello")
    assert (code, codes(printed)) == (ServingError.exit_code, ["TW-SERV-041"])


def test_init_makes_the_site_that_the_environment_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEWARD_SITE", str(tmp_path / "elsewhere"))
    made = init(tmp_path / "project", actor="ada")
    assert (made.site, made.created) == (str(tmp_path / "elsewhere"), ("site", "project"))
    assert not (tmp_path / "project" / ".tuneward").exists()


def test_a_broken_example_leaves_no_half_made_quickstart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    example = tmp_path / "example"
    example.mkdir()
    arguments = ("quickstart", "--folder", str(tmp_path / "made"), "--example", str(example))
    assert codes(run(capsys, *arguments)[1]) == ["TW-CONF-007"]
    (example / "tuneward.yaml").write_text("project: x\n")
    (example / "make_data.py").write_text("raise SystemExit(3)\n")
    assert codes(run(capsys, *arguments)[1]) == ["TW-ENV-003"]
    assert [path.name for path in tmp_path.iterdir()] == ["example"]


def test_the_cure_for_a_missing_key_works_as_written(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (site / ".tuneward" / "keys" / "secret").unlink()
    _, printed = run(capsys, "log")
    assert codes(printed) == ["TW-GOV-010"]
    cure = json.dumps(printed["error"], ensure_ascii=False)
    assert f"move '{site / '.tuneward'}' away" in cure
    shutil.move(site / ".tuneward", site / "away")
    init(site, actor="ada")
    assert run(capsys, "log")[0] == 0


def test_keys_members_and_bases_are_given_under_the_projects_policy(
    site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = site / "tuneward.yaml"
    text = settings.read_text()
    settings.write_text(text.replace("policy: solo", "policy: regulated"))
    assert run(capsys, "key", "create", "desk")[0] == GovernanceError.exit_code  # the operator's part, not the owner's
    assert run(capsys, "pull", "smollm2-135m-instruct")[0] == GovernanceError.exit_code
    assert run(capsys, "member", "add", "ada", "--role", "owner", "--role", "operator")[0] == 0
    (site / "regulated").write_text("a file of this name is no policy")
    assert run(capsys, "key", "create", "desk")[0] == 0


def test_a_replaced_public_key_is_named_by_doctor_and_verify(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    public = site / ".tuneward" / "keys" / "public.pem"
    public.write_bytes(Keys.create(site / "other").public_pem)
    code, printed = run(capsys, "verify")
    assert (code, codes(printed)) == (StorageError.exit_code, ["TW-GOV-016"])
    code, printed = run(capsys, "doctor")
    assert code == MachineError.exit_code
    says = {check["name"]: check for check in printed["checks"]}["keys"]
    assert (says["verdict"], says["says"]) == ("bad", "is not the public half of signing.pem")
