"""Packed files: read as if they were not packed; bombs, damage and early ends are told, never waited for."""

import gzip
import time
import tracemalloc

import pyarrow
import pytest
from data_cases import prepare, refused, row, write_rows
from reader_cases import packed, read_all, rows_of

from tuneward.data import documents, unpacking
from tuneward.data.faults import Faults
from tuneward.data.files import DataFile
from tuneward.data.readers import read

LINES = b"".join(b'{"prompt": "question %d", "answer": "a%d"}\n' % (n, n * n) for n in range(5_000))
PACKINGS = [".gz", ".zst"]


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.jsonl", LINES),
        ("rows.json", b"[" + LINES.strip().replace(b"\n", b",\n") + b"]"),
        ("rows.csv", b"prompt,answer\na,b\nc,d\n"),
        ("rows.tsv", b"prompt\tanswer\na\tb\n"),
        ("rows.txt", b"One.\n\nTwo.\n"),
        ("rows.html", b"<p>One.<p>Two."),
        ("rows.eml", b"Subject: x\n\nHello.\n"),
        ("rows.mbox", b"From a@b Mon Jan  1 00:00:00 2024\nSubject: x\n\nHello.\n"),
    ],
)
def test_a_packed_file_reads_as_if_it_were_not(tmp_path, name, content, packing):
    (tmp_path / name).write_bytes(content)
    (tmp_path / (name + packing)).write_bytes(packed(content, packing))
    plain, read = rows_of(tmp_path / name), rows_of(tmp_path / (name + packing))
    assert plain[0]
    assert read == plain


@pytest.mark.parametrize("packing", PACKINGS)
def test_files_packed_one_after_another_read_as_one(tmp_path, packing):
    (tmp_path / f"rows.jsonl{packing}").write_bytes(packed(LINES, packing) + packed(LINES, packing))
    assert len(rows_of(tmp_path / f"rows.jsonl{packing}")[0]) == 10_000


def test_records_keep_the_digest_of_the_packed_file_and_the_same_ids(tmp_path):
    write_rows(tmp_path / "train.jsonl", [row(f"q{n}") for n in range(3)])
    with gzip.GzipFile(tmp_path / "train.jsonl.gz", "wb", mtime=0) as handle:
        handle.write((tmp_path / "train.jsonl").read_bytes())
    first, again = (prepare(tmp_path, train=["train.jsonl.gz"]) for _ in range(2))
    assert [r.id for r in first.train] == [r.id for r in again.train]
    assert {r.source.file_digest for r in first.train} != {r.source.file_digest for r in prepare(tmp_path).train}
    assert [r.source.line for r in first.train] == [1, 2, 3]


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("cut", [1, 10, 2_000])
def test_a_packed_file_that_ends_too_early(tmp_path, packing, cut):
    path = tmp_path / f"rows.jsonl{packing}"
    path.write_bytes(packed(LINES, packing)[:-cut])
    _, faults = rows_of(path)
    assert faults[-1] == ("TW-DATA-043", path.name)


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_packed_file_that_is_damaged_or_none(tmp_path, packing):
    data = bytearray(packed(LINES, packing))
    data[12:52] = (
        b"\xff" * 40
    )  # what is damaged further in may unpack to other text, unless it was packed with a checksum
    (tmp_path / f"broken.jsonl{packing}").write_bytes(data)
    (tmp_path / f"none.jsonl{packing}").write_bytes(LINES)
    (tmp_path / f"tail.jsonl{packing}").write_bytes(packed(LINES, packing) + b"garbage")
    for name in ("broken", "none", "tail"):
        faults = rows_of(tmp_path / f"{name}.jsonl{packing}")[1]
        assert faults[-1] == ("TW-DATA-043", f"{name}.jsonl{packing}")


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("inside", [b" ", b"x"])
def test_a_bomb_is_refused_quickly_and_in_little_memory(tmp_path, packing, inside):
    path = tmp_path / f"bomb.jsonl{packing}"
    path.write_bytes(packed(inside * (128 * 2**20), packing))
    started = time.monotonic()
    tracemalloc.start()
    rows, faults = read_all(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert rows == []
    assert (faults[-1].code, faults[-1].message.split("than ")[1][:9]) == ("TW-DATA-044", "200 times")
    assert "data.unpacked_ratio" in faults[-1].cure
    assert peak < 80 * 2**20
    assert time.monotonic() - started < 30


def test_a_bomb_of_empty_lines_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "RATIO_COUNTS_FROM_BYTES", 2**20)
    (tmp_path / "bomb.jsonl.zst").write_bytes(packed(b"\n" * 2**23, ".zst"))
    assert rows_of(tmp_path / "bomb.jsonl.zst") == ([], [("TW-DATA-044", "bomb.jsonl.zst")])


def test_a_file_that_unpacks_to_more_than_is_allowed(tmp_path, monkeypatch):
    path = tmp_path / "rows.jsonl.zst"
    path.write_bytes(packed(LINES * 10, ".zst"))
    _, faults = rows_of(path, unpacked_mib=1)
    assert faults == [("TW-DATA-044", path.name)]
    assert rows_of(path, unpacked_mib=3)[1] == []
    monkeypatch.setattr(unpacking, "RATIO_COUNTS_FROM_BYTES", 1000)
    assert rows_of(path, unpacked_ratio=2)[1] == [("TW-DATA-044", path.name)]


def test_a_file_whose_size_nobody_has_asked_for_is_held_to_its_ratio(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "RATIO_COUNTS_FROM_BYTES", 1000)
    path = tmp_path / "rows.jsonl.zst"
    path.write_bytes(packed(LINES, ".zst"))
    file = DataFile(path=path, name=path.name, digest="", bytes=0, split="train")
    faults = Faults()
    assert sum(1 for _ in read(file, faults)) == 5_000
    assert len(faults) == 0


def test_the_settings_say_how_far_a_file_may_unpack(tmp_path):
    write_rows(tmp_path / "train.jsonl", [row(f"q{n} " * 50) for n in range(9_000)])
    (tmp_path / "train.jsonl.gz").write_bytes(gzip.compress((tmp_path / "train.jsonl").read_bytes()))
    assert refused(tmp_path, train=["train.jsonl.gz"], unpacked_mib=1, tokens=1000) == [
        ("TW-DATA-044", "train.jsonl.gz")
    ]


def test_a_packed_document_is_held_to_the_size_of_a_document(tmp_path, monkeypatch):
    monkeypatch.setattr(documents, "MAX_TEXT_BYTES", 1_000)
    monkeypatch.setattr(documents, "MAX_HTML_BYTES", 1_000)
    for name in ("text.txt.gz", "page.html.gz"):
        (tmp_path / name).write_bytes(gzip.compress(b"word " * 1_000))
        assert rows_of(tmp_path / name)[1] == [("TW-DATA-040", name)]


def test_what_is_no_text_is_not_read_packed(tmp_path):
    (tmp_path / "rows.parquet.gz").write_bytes(gzip.compress(b"x"))
    (tmp_path / "rows.tar.gz").write_bytes(gzip.compress(b"x"))
    (tmp_path / "rows.gz").write_bytes(gzip.compress(b"x"))
    for name, words in (("rows.parquet.gz", "unpack it"), ("rows.tar.gz", "convert it"), ("rows.gz", "convert it")):
        _, faults = read_all(tmp_path / name)
        assert [fault.code for fault in faults] == ["TW-DATA-004"]
        assert words in faults[0].cure


def test_zstandard_windows_are_bounded(tmp_path):
    path = tmp_path / "rows.jsonl.zst"
    # a frame (RFC 8878, 3.1.1) whose window is 2**41 bytes
    path.write_bytes(b"\x28\xb5\x2f\xfd\x00\xf8\x01\x00\x00")
    before = pyarrow.total_allocated_bytes()
    assert rows_of(path)[1] == [("TW-DATA-043", path.name)]
    assert pyarrow.total_allocated_bytes() - before < 2**20
