"""`consent` and `licence` at the command line: what is printed names no person, and mistakes have their cure."""

import json
from pathlib import Path

import pytest

from tuneward.cli.main import main
from tuneward.digests import merkle_root
from tuneward.workflows.init import init


@pytest.fixture
def tuneward(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setenv("TUNEWARD_ACTOR", "ada")
    init(tmp_path / "p", actor="ada")

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--project", str(tmp_path / "p")])
        return (int(ended.value.code or 0), *capsys.readouterr())

    return run


def test_a_withdrawal_before_anything_is_read(tuneward):
    code, out, err = tuneward("consent", "withdraw", "Rossi, Maria", "--subject", "--json")
    assert code == 0
    (one,) = json.loads(out)["withdrawn"]
    assert one["withdrawal"]["id"].startswith("sub_")
    assert one["marks"] == []
    assert "Rossi" not in out + err
    assert tuneward("consent", "withdraw", "Rossi, Maria", "--subject")[1].count("recorded before") == 1
    assert "affected: nothing" in tuneward("consent", "list")[1]
    assert "Rossi" not in tuneward("log", "--json")[1]


def test_mistakes_have_a_cure(tuneward):
    code, _, err = tuneward("consent", "withdraw", "  ")
    assert (code != 0, "TW-GOV-017" in err) == (True, True)
    assert tuneward("consent", "withdraw", "x", "--subject", "--reference")[0] != 0
    assert tuneward("consent", "list")[1].startswith("no consent was withdrawn")
    code, _, err = tuneward("licence", "decide", "MIT", "--reason", "read it", "--base", "nothing")
    assert (code != 0, "TW-BASE-050" in err) == (True, True)
    assert tuneward("licence", "list")[1].startswith("no base yet")


def test_a_proof_is_checked_without_a_site(tmp_path, capsys):
    leaf = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    proof = {"format": "tuneward-row-proof/1", "record": "rec_1", "dataset": "dat_1", "index": 0, "size": 1, "path": []}
    value = proof | {"leaf": leaf, "fingerprint": merkle_root([bytes.fromhex(leaf)])}
    file = tmp_path / "proof.json"
    for wrapped in (value, {"proof": value, "next": "x"}):
        file.write_text(json.dumps(wrapped), encoding="utf-8")
        with pytest.raises(SystemExit) as ended:
            main(["data", "check-proof", str(file), "--fingerprint", value["fingerprint"]])
        assert not ended.value.code
        assert "rec_1 is row 1 of 1" in capsys.readouterr().out
    for broken in ("{", "[]", json.dumps(value | {"index": 1})):
        file.write_text(broken, encoding="utf-8")
        with pytest.raises(SystemExit) as ended:
            main(["data", "check-proof", str(file)])
        assert ended.value.code
        assert "TW-PROOF-014" in capsys.readouterr().err
