"""Rows digest: the same whatever the order, and whatever part of the rows memory holds."""

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.storage import nouns
from tuneward.digests import merkle_root
from tuneward.governance.rows_digest import RowsDigest, rows_digest
from tuneward.storage.repository import canonical_noun

lines = st.lists(st.binary(max_size=6).map(lambda data: data.replace(b"\n", b"")), max_size=40)


@given(lines, st.integers(1, 60), st.randoms(use_true_random=False))
def test_pieces_change_nothing(rows, held, draw):
    digest = RowsDigest(held_bytes=held)
    digest.add(rows[:7])
    digest.add(draw.sample(rows[7:], len(rows[7:])))
    assert digest.count == len(rows)
    assert digest.root() == merkle_root(sorted(rows))


def test_rows_at_hand():
    assert rows_digest(nouns.RECORDS) == merkle_root(sorted(map(canonical_noun, nouns.RECORDS)))
    assert rows_digest(nouns.RECORDS[::-1]) == rows_digest(nouns.RECORDS)


def test_a_full_disk_is_told(tmp_path, monkeypatch):
    def full(**_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tuneward.governance.rows_digest.tempfile.TemporaryFile", full)
    with pytest.raises(OSError, match="No space"):
        RowsDigest(tmp_path, held_bytes=1).add([b"some", b"rows"])
