"""The journal: what was found is known again, to the letter; what is torn, foreign or too large is done without."""

import errno
import hashlib
import os
import tracemalloc
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneward.data.inspection_journal import InspectionJournal, forget
from tuneward.domain.finding import Finding

KEY = b"records"
finding = st.builds(
    Finding,
    st.sampled_from(["email", "term:customers"]),
    st.integers(0, 10**9),
    st.integers(0, 10**9),
    st.floats(0, 1),
    st.sampled_from(["email.plain", "term"]),
    st.sampled_from(["raw", "base64>url"]),
)
rows = st.lists(
    st.tuples(st.lists(st.text(max_size=5), max_size=3), st.lists(st.lists(finding, max_size=2), max_size=3)),
    max_size=8,
    unique_by=lambda row: tuple(row[0]),
)


def journal(path, inspector="one", key=KEY):
    return InspectionJournal(path, inspector=inspector, key=key)


def remember(path, pieces, **who):
    made = journal(path, **who)
    for piece in pieces:
        made.add(made.keys([texts for texts, _ in piece]), [found for _, found in piece])
    made.close()


def known(path, texts, **who):
    made = journal(path, **who)
    found = made.look(made.keys(texts))
    made.close()
    return found


def piece_of(number):
    return [((f"piece {number}", f"row {row}"), [[Finding("email", number, row, 0.25, "r")], []]) for row in range(3)]


@settings(max_examples=40, deadline=None)
@given(st.lists(rows, max_size=3))
def test_what_was_found_is_known_again(tmp_path_factory, pieces):
    path = tmp_path_factory.mktemp("journal") / "one.journal"
    remember(path, pieces)
    first = {}
    for piece in pieces:
        for texts, found in piece:
            first.setdefault(tuple(texts), found)
    assert known(path, list(first)) == list(first.values())
    assert known(path, [["another"], ["one", "", "", ""]]) == [None, None]


def test_texts_are_told_apart_by_where_they_end(tmp_path):
    remember(tmp_path / "j", [[(("ab", "c"), [[], []])]])
    assert known(tmp_path / "j", [("a", "bc"), ("abc",), ("ab", "c")]) == [None, None, [[], []]]


@pytest.mark.parametrize("who", [{"inspector": "two"}, {"key": b"another site"}])
def test_another_inspector_or_key_knows_nothing(tmp_path, who):
    remember(tmp_path / "j", [piece_of(1)])
    assert known(tmp_path / "j", [texts for texts, _ in piece_of(1)], **who) == [None] * 3


def test_the_journal_of_another_inspector_is_begun_anew(tmp_path):
    remember(tmp_path / "j", [piece_of(1)])
    remember(tmp_path / "j", [piece_of(2)], inspector="two")
    assert known(tmp_path / "j", [piece_of(1)[0][0]]) == [None]


@pytest.mark.parametrize("harm", ["cut", "flip", "rubbish"])
def test_a_torn_end_is_cut_off_and_the_rest_holds(tmp_path, harm):
    path = tmp_path / "j"
    remember(path, [piece_of(1), piece_of(2)])
    whole = path.read_bytes()
    remember(path, [piece_of(3)])
    torn = bytearray(path.read_bytes())
    if harm == "cut":
        del torn[-5:]
    elif harm == "flip":
        torn[len(whole) + 30] ^= 1
    else:
        torn = bytearray(whole + b"\xff" * 700)
    path.write_bytes(torn)
    asked = [texts for number in (1, 2, 3) for texts, _ in piece_of(number)]
    wanted = [found for number in (1, 2) for _, found in piece_of(number)]
    assert known(path, asked) == [*wanted, None, None, None]
    assert path.read_bytes() == whole
    remember(path, [piece_of(3)])
    assert None not in known(path, asked), "what comes after stands where the torn piece stood"


@pytest.mark.parametrize("content", [b"", b"x", b"\0" * 5000, b'{"format":"another"}\n'])
def test_a_file_that_is_no_journal_is_begun_anew(tmp_path, content):
    (tmp_path / "j").write_bytes(content)
    remember(tmp_path / "j", [piece_of(1)])
    assert None not in known(tmp_path / "j", [texts for texts, _ in piece_of(1)])


def test_whoever_has_no_key_cannot_say_that_a_row_is_clean(tmp_path):
    """Neither with a checksum of his own nor with a piece that an inspector who finds less has written."""
    path, texts = tmp_path / "j", ("anna@example.org",)
    made = journal(path)
    line = made.keys([texts])[0] + b"[[]]"
    packed = zlib.compress(len(line).to_bytes(4, "little") + line)
    made.close()
    honest = path.read_bytes()
    unkeyed = hashlib.blake2b(packed, digest_size=16).digest()
    path.write_bytes(honest + len(packed).to_bytes(4, "little") + unkeyed + packed)
    assert known(path, [texts]) == [None]
    assert path.read_bytes() == honest
    laxer = tmp_path / "laxer"
    remember(laxer, [], inspector="finds less")
    begins = laxer.stat().st_size
    remember(laxer, [[(texts, [[]])]], inspector="finds less")
    path.write_bytes(honest + laxer.read_bytes()[begins:])
    assert known(path, [texts]) == [None]


@pytest.mark.parametrize("name", ["j", "j.new"])
def test_a_link_in_its_place_is_not_followed(tmp_path, name):
    remember(tmp_path / "j.journal", [piece_of(1)])
    (tmp_path / "others").write_text("of somebody else")
    link = tmp_path / ("j.journal" if name == "j" else name)
    link.unlink(missing_ok=True)
    link.symlink_to("others")
    made = journal(tmp_path / "j.journal")
    made.add(made.keys([piece_of(2)[0][0]]), [piece_of(2)[0][1]])
    made.finish()
    assert (tmp_path / "others").read_text() == "of somebody else"


def test_a_pipe_in_its_place_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "j")
    remember(tmp_path / "j", [piece_of(1)])
    assert known(tmp_path / "j", [piece_of(1)[0][0]]) == [None]


def test_no_memory_is_taken_for_what_a_torn_piece_says_of_its_length(tmp_path):
    remember(tmp_path / "j", [piece_of(1)])
    with (tmp_path / "j").open("ab") as handle:
        handle.write(b"\xff" * 30)
    tracemalloc.start()
    try:
        assert None not in known(tmp_path / "j", [texts for texts, _ in piece_of(1)])
        assert tracemalloc.get_traced_memory()[1] < 1 << 24
    finally:
        tracemalloc.stop()


def test_a_run_that_ends_well_keeps_its_own_rows_and_no_others(tmp_path):
    path = tmp_path / "j"
    remember(path, [piece_of(1), piece_of(2)])
    made = journal(path)
    old, new = piece_of(2), piece_of(3)
    assert made.look(made.keys([texts for texts, _ in old])) == [found for _, found in old]
    made.add(made.keys([texts for texts, _ in new]), [found for _, found in new])
    made.finish()
    asked = [texts for number in (1, 2, 3) for texts, _ in piece_of(number)]
    assert known(path, asked) == [None] * 3 + [found for _, found in old + new]
    assert [file.name for file in tmp_path.iterdir()] == ["j"]


def test_it_does_not_grow_from_run_to_run(tmp_path):
    path, sizes = tmp_path / "j", []
    for _ in range(3):
        made = journal(path)
        pieces = [piece_of(1), piece_of(1), piece_of(2)]
        for piece in pieces:
            keys = made.keys([texts for texts, _ in piece])
            new = [number for number, found in enumerate(made.look(keys)) if found is None]
            made.add([keys[number] for number in new], [piece[number][1] for number in new])
        made.finish()
        sizes.append(path.stat().st_size)
    assert sizes[1] == sizes[2] <= sizes[0]


def test_a_full_disk_ends_the_journal_and_not_the_run(tmp_path, monkeypatch):
    path = tmp_path / "j"
    made = journal(path)
    made.add(made.keys([piece_of(1)[0][0]]), [piece_of(1)[0][1]])
    whole = path.read_bytes()

    class Full:
        def __init__(self, handle):
            self.handle = handle

        def write(self, data):
            self.handle.write(data[: len(data) // 2])
            self.handle.flush()
            raise OSError(errno.ENOSPC, "No space left on device")

        def __getattr__(self, name):
            return getattr(self.handle, name)

    made._handle = Full(made._handle)
    made.add(made.keys([piece_of(2)[0][0]]), [piece_of(2)[0][1]])
    made.add(made.keys([piece_of(3)[0][0]]), [piece_of(3)[0][1]])
    made.finish()
    assert path.read_bytes() == whole
    assert known(path, [piece_of(1)[0][0]]) == [piece_of(1)[0][1]]


def test_a_place_that_cannot_be_written_is_done_without(tmp_path):
    (tmp_path / "file").write_text("in the way")
    remember(tmp_path / "file" / "j", [piece_of(1)])
    assert known(tmp_path / "file" / "j", [piece_of(1)[0][0]]) == [None]


def test_a_rewriting_that_fails_leaves_nothing(tmp_path, monkeypatch):
    path = tmp_path / "j"
    remember(path, [piece_of(1)])
    made = journal(path)
    monkeypatch.setattr(
        InspectionJournal, "_piece", lambda self, lines: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full"))
    )
    made.finish()
    assert list(tmp_path.iterdir()) == []


def test_it_holds_no_text_and_only_its_owner_reads_it(tmp_path):
    path = tmp_path / "folder" / "j"
    remember(path, [[(("anna@example.org",), [[Finding("email", 0, 16, 1.0, "email")]])]])
    pieces = list(journal(path)._pieces(path.open("rb")))
    assert len(pieces) == 2
    for lines, _ in pieces:
        assert b"anna" not in b"".join(lines)
    assert path.stat().st_mode & 0o077 == 0


def test_an_erasure_drops_every_journal(tmp_path):
    remember(tmp_path / "one.journal", [piece_of(1)])
    remember(tmp_path / "two.journal", [piece_of(1)])
    (tmp_path / "two.new").write_bytes(b"a rewriting that was killed")
    forget(tmp_path)
    assert list(tmp_path.iterdir()) == []
    forget(tmp_path / "not there")
