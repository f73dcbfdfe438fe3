"""A row's proof: it leads to the fingerprint, shows no other row, and any change breaks it."""

import json

import pytest

from tests.data.data_cases import prepare, row, write_rows
from tuneward.data.row_proof import check_row_proof, prove_row
from tuneward.errors import ProofError


@pytest.fixture
def proof(tmp_path):
    write_rows(tmp_path / "train.jsonl", [row(prompt=f"q {n}", answer=f"a {n}") for n in range(7)])
    prepared = prepare(tmp_path)
    names = [record.id for record in prepared.train]
    return prove_row(names[4], dataset="dat_1", fingerprint=prepared.fingerprint, digests=prepared.digests, index=4)


def test_it_holds_offline(proof):
    value = json.loads(json.dumps(proof.to_json()))
    assert check_row_proof(value, fingerprint=proof.fingerprint) == proof
    assert len(proof.path) == 3


@pytest.mark.parametrize(
    "change",
    [
        {"index": 5},
        {"size": 6},
        {"leaf": "0" * 64},
        {"fingerprint": "0" * 64},
        {"path": []},
        {"path": ["0" * 64] * 3},
        {"path": "abc"},
        {"path": ["zz"]},
        {"index": True},
        {"leaf": None},
        {"record": "x" * 200},
        {"format": "other/1"},
    ],
)
def test_a_change_breaks_it(proof, change):
    with pytest.raises(ProofError, match="TW-PROOF-014"):
        check_row_proof({**proof.to_json(), **change})


def test_a_shortened_fingerprint_is_said_to_be_one(proof):
    with pytest.raises(ProofError, match="has 12 characters"):
        check_row_proof(proof.to_json(), fingerprint=proof.fingerprint[:12])


def test_another_fingerprint_is_not_proven(proof):
    with pytest.raises(ProofError, match="another fingerprint"):
        check_row_proof(proof.to_json(), fingerprint="0" * 64)
    for value in (None, [], "x", {}):
        with pytest.raises(ProofError):
            check_row_proof(value)
