"""`tuneward inspect`: places and kinds, never the text; every bad file at once."""

import json
import subprocess
import sys

import pytest

from tuneward.cli.main import _run

MAIL = "Please write to jane.roe@example.org soon."


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    code = _run(["inspect", *arguments])
    out = capsys.readouterr()
    assert "jane" not in out.out + out.err
    return code, out.out, out.err


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_findings_of_every_field_one_object_a_line(folder, capsys):
    rows = [{"messages": [{"role": "user", "content": "hi " + MAIL}], "card": 4111111111111111, "ok": True}, {"a": "x"}]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, out, _ = run(capsys, "rows.jsonl", "--json")
    found = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [(f["record"], f["field"], f["kind"], f["start"], f["end"], f["view"]) for f in found] == [
        ("rows.jsonl:1", "messages[0].content", "email", 19, 39, "raw"),
        ("rows.jsonl:1", "card", "card", 0, 16, "raw"),
    ]
    assert all(set(f) == {"record", "field", "kind", "start", "end", "confidence", "rule", "view"} for f in found)


def test_people_read_lines_and_a_sum(folder, capsys):
    (folder / "mail.txt").write_text(MAIL + " TCK-77\n")
    (folder / "terms.txt").write_text("Soon\n")
    code, out, _ = run(capsys, "mail.txt", "--terms", "words=terms.txt", "--pattern", "ticket=TCK-[0-9]+", "--show")
    assert code == 0
    assert "mail.txt:1  text 16–36  email  0.98  email.address" in out
    assert "Please write to [EMAIL] [TERM:WORDS]. [PATTERN:TICKET]" in out
    assert "3 findings: 1 email, 1 pattern:ticket, 1 term:words" in out


def test_a_key_that_is_somebody_s_address_is_found_and_not_printed(folder, capsys):
    (folder / "rows.jsonl").write_text(json.dumps({"by": {"jane.roe@example.org": "write to her"}}) + "\n")
    code, out, _ = run(capsys, "rows.jsonl", "--json")
    assert code == 0
    assert json.loads(out)["field"] == "by{0}"


def test_fail_says_by_its_status_whether_anything_was_found(folder, capsys):
    (folder / "a.txt").write_text(MAIL)
    (folder / "b.txt").write_text("nothing here\n")
    assert run(capsys, "a.txt", "--fail")[0] == 1
    assert run(capsys, "b.txt", "--fail")[:2] == (0, "nothing found\n")
    assert run(capsys, "a.txt", "--min-confidence", "1", "--fail")[0] == 0


def test_every_bad_file_is_told_and_the_good_ones_are_read(folder, capsys):
    (folder / "good.txt").write_text(MAIL)
    (folder / "bad.jsonl").write_text('{"a": \n{"a": "' + MAIL + '"}\n')
    (folder / "odd.xyz").write_text("x")
    (folder / "empty").mkdir()
    code, out, err = run(capsys, "gone.txt", "bad.jsonl", "good.txt", "odd.xyz", "empty")
    assert code == 3
    assert "bad.jsonl:2" in out
    assert "good.txt:1" in out
    for wanted in ("TW-DATA-001  gone.txt", "TW-DATA-008  bad.jsonl:1", "TW-DATA-004  odd.xyz", "TW-DATA-005  empty"):
        assert wanted in err
    code, out, _ = run(capsys, "gone.txt", "good.txt", "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert code == 3
    assert lines[0]["kind"] == "email"
    assert lines[1]["error"]["faults"][0]["code"] == "TW-DATA-001"


def test_a_folder_stands_for_its_files(folder, capsys):
    (folder / "in" / "deep").mkdir(parents=True)
    (folder / "in" / "deep" / "a.txt").write_text(MAIL)
    (folder / "in" / ".hidden").write_text(MAIL)
    assert "in/deep/a.txt:1" in run(capsys, "in")[1]


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--terms", "x"], "TW-CONF-007"),
        (["--terms", "x=gone.txt"], "TW-INSP-001"),
        (["--pattern", "x=("], "TW-INSP-003"),
        (["--pattern", "Not a name=x"], "TW-CONF-004"),
    ],
)
def test_options_that_cannot_be_used(folder, capsys, options, code):
    (folder / "a.txt").write_text(MAIL)
    status, _, err = run(capsys, "a.txt", *options)
    assert status == 2
    assert code in err


@pytest.mark.parametrize(
    ("sent", "options", "field"),
    [
        (MAIL, [], "text"),
        (json.dumps({"note": MAIL}), [], "note"),
        (f"note,x\n{MAIL},1\n", ["--format", "csv"], "note"),
    ],
)
def test_standard_input(sent, options, field):
    command = [sys.executable, "-m", "tuneward.cli.main", "inspect", "-", "--json", *options]
    done = subprocess.run(command, input=sent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(f["field"], f["kind"], f["end"] - f["start"]) for f in found] == [(field, "email", 20)]
    assert found[0]["record"].startswith("-:")
