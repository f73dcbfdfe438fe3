"""What `chat` takes as a message, and what is printed so that it can be typed again."""

import io
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from tuneward.cli import serve
from tuneward.cli.main import main
from tuneward.cli.output import runnable
from tuneward.workflows.chat import ChatResult

MAIL = "Subject: Claim\nDate: 2025-05-12\n\nA pipe burst.\n\nRegards\n"


class Line:
    def __init__(self) -> None:
        self.asked: list[str] = []

    def ask(self, messages) -> ChatResult:
        self.asked.append(messages[-1].content)
        return ChatResult("m", "{}", "chatcmpl-x", 1, 1, "stop", "tuneward verify chatcmpl-x")


@pytest.fixture
def line(monkeypatch) -> Line:
    asked = Line()

    @contextmanager
    def conversation(workspace, **options):
        yield asked

    monkeypatch.setattr(serve, "conversation", conversation)
    monkeypatch.setattr(serve, "open_workspace", lambda folder: None)
    return asked


def chat(monkeypatch, stdin: str, *, terminal: bool = False) -> int:
    stream = io.StringIO(stdin)
    monkeypatch.setattr(stream, "isatty", lambda: terminal, raising=False)
    monkeypatch.setattr(sys, "stdin", stream)
    with pytest.raises(SystemExit) as ended:
        main(["chat"])
    return int(ended.value.code or 0)


def test_what_is_piped_in_is_one_message_blank_lines_and_all(monkeypatch, line):
    assert chat(monkeypatch, MAIL) == 0
    assert line.asked == [MAIL]


def test_in_a_conversation_a_mail_ends_with_two_empty_lines(monkeypatch, line):
    assert chat(monkeypatch, f"{MAIL}\n\nSecond mail.\n", terminal=True) == 0
    assert line.asked == [MAIL.strip(), "Second mail."]


def test_an_empty_message_is_refused(monkeypatch, line, capsys):
    assert chat(monkeypatch, " \n") != 0
    assert "TW-DATA-031" in capsys.readouterr().err
    assert line.asked == []


def test_ctrl_c_says_that_nothing_is_lost(monkeypatch, line, capsys):
    def stop(messages):
        raise KeyboardInterrupt

    monkeypatch.setattr(line, "ask", stop)
    assert chat(monkeypatch, MAIL) == 130
    assert "nothing is lost" in capsys.readouterr().err


def test_the_next_command_can_be_typed_where_the_shell_does_not_know_tuneward(monkeypatch, tmp_path):
    program = tmp_path / "a folder" / "tuneward"
    monkeypatch.setattr(sys, "argv", [str(program), "status"])
    monkeypatch.setenv("PATH", str(tmp_path))
    assert runnable("tuneward status") == f"'{program}' status"
    assert runnable("see the page") == "see the page"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    assert runnable("tuneward status") == "tuneward status"
    assert Path(sys.argv[0]) == program
