"""What `tuneward serve` prints when it is ready."""

import json
from pathlib import Path

import pytest

from tuneward.cli import serve as command
from tuneward.cli.main import main
from tuneward.workflows.init import init
from tuneward.workflows.serve import ServeResult

PROJECT = """\
project: claims
purpose: Be served.
base: nowhere
data: {train: [t.jsonl], test: [t.jsonl], legal_basis: contract}
evaluation: {task: {kind: text}, gate: {}}
"""


@pytest.mark.parametrize("key", ["tuneward-key", None])
def test_a_key_is_shown_or_how_to_make_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], key: str | None
) -> None:
    init(tmp_path, actor="ada")
    (tmp_path / "tuneward.yaml").write_text(PROJECT, encoding="utf-8")
    result = ServeResult("http://127.0.0.1:1/v1", ("claims",), key)
    monkeypatch.setattr(command, "run_gateway", lambda workspace, *, port, ready, progress: ready(result))
    for arguments in ([], ["--json"]):
        with pytest.raises(SystemExit):
            main(["serve", "--project", str(tmp_path), *arguments])
        printed = capsys.readouterr().out
        if arguments:
            assert json.loads(printed)["key"] == key
        elif key:
            assert key in printed
            assert "key create" not in printed
        else:
            assert "`tuneward key create NAME` makes another" in printed
