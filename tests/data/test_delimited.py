"""CSV and TSV: the separator of each, ragged rows all told, and no more columns than a row may have."""

import tracemalloc

import pytest
from reader_cases import read_all, rows_of

from tuneward.data.faults import Faults
from tuneward.data.files import open_file
from tuneward.data.readers import read


@pytest.mark.parametrize(("suffix", "separator"), [("csv", ","), ("csv", ";"), ("csv", "\t"), ("tsv", "\t")])
def test_the_separator_is_found(tmp_path, suffix, separator):
    (tmp_path / f"rows.{suffix}").write_text(f"prompt{separator}answer\na{separator}b\n")
    assert rows_of(tmp_path / f"rows.{suffix}") == ([(2, {"prompt": "a", "answer": "b"})], [])


def test_commas_in_the_header_of_a_tsv_separate_nothing(tmp_path):
    (tmp_path / "rows.tsv").write_text("a,b,c\td\n1\t2\n")
    assert rows_of(tmp_path / "rows.tsv") == ([(2, {"a,b,c": "1", "d": "2"})], [])


def test_every_ragged_row_is_told(tmp_path):
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n1\n1,2,3\n,\n1,2\n")
    rows, faults = rows_of(tmp_path / "rows.csv")
    assert [place for place, _ in rows] == [2, 5, 6]
    assert faults == [("TW-DATA-010", "rows.csv:3"), ("TW-DATA-010", "rows.csv:4")]


def test_mixed_encodings_are_told_line_by_line_and_the_rest_is_read(tmp_path):
    lines = [b"a,b", "é,1".encode(), "é,2".encode("cp1252"), "€,3".encode(), "\x81é,4".encode("latin-1"), b"e,5"]
    (tmp_path / "rows.csv").write_bytes(b"\n".join(lines) + b"\n")
    rows, faults = read_all(tmp_path / "rows.csv")
    assert [row.values["b"] for row in rows] == ["1", "3", "5"]
    assert [fault.place for fault in faults] == ["rows.csv:3", "rows.csv:5"]
    assert ["Windows-1252" in fault.cure for fault in faults] == [True, False]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
def test_wide_encodings_are_named_with_and_without_a_mark(tmp_path, encoding):
    (tmp_path / "rows.csv").write_bytes("prompt,answer\na,b\n".encode(encoding))
    rows, faults = read_all(tmp_path / "rows.csv")
    assert (rows, [(fault.code, fault.place) for fault in faults]) == ([], [("TW-DATA-006", "rows.csv")])
    assert encoding[:6].upper() in faults[0].message


def test_a_million_columns_are_refused_quickly(tmp_path):
    (tmp_path / "rows.csv").write_text(",".join(f"c{n}" for n in range(1_000_000)) + "\n" + "1,2\n" * 1_000)
    assert rows_of(tmp_path / "rows.csv") == ([], [("TW-DATA-046", "rows.csv:1")])


def test_memory_stays_flat_however_many_rows_there_are(tmp_path):
    peaks = []
    for count in (1_000, 20_000):
        path = tmp_path / f"{count}.csv"
        path.write_text("prompt,answer\n" + "".join(f'"question {n}, {n}",answer\n' for n in range(count)))
        faults = Faults()
        file = open_file(path, path.name, "train", faults)
        tracemalloc.start()
        assert sum(1 for _ in read(file, faults)) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 100_000


PLAIN = 'label\ttext\nham\t"Hello" she said\nham\t"open\nspam\t"closed"\n\nham\t5" and 6"\n'


def test_quotes_of_a_tsv_that_enclose_nothing_are_characters(tmp_path):
    (tmp_path / "rows.tsv").write_text(PLAIN)
    rows, faults = rows_of(tmp_path / "rows.tsv")
    assert faults == []
    assert [(line, row["text"]) for line, row in rows] == [
        (2, '"Hello" she said'),
        (3, '"open'),
        (4, '"closed"'),
        (6, '5" and 6"'),
    ]


def test_quotes_of_a_tsv_enclose_where_every_quoted_field_is_closed(tmp_path):
    (tmp_path / "rows.tsv").write_text('label\ttext\nham\t"say ""hi"""\nham\t5" and 6"\n')
    assert [row["text"] for _, row in rows_of(tmp_path / "rows.tsv")[0]] == ['say "hi"', '5" and 6"']


def test_a_quoted_field_of_a_tsv_may_go_on_in_the_next_line_or_hold_a_tab(tmp_path):
    (tmp_path / "rows.tsv").write_text('label\ttext\nham\t"one\ntwo"\nspam\t"a\tb"\n')
    assert [row["text"] for _, row in rows_of(tmp_path / "rows.tsv")[0]] == ["one\ntwo", "a\tb"]


def test_a_csv_is_read_as_before(tmp_path):
    (tmp_path / "rows.csv").write_text(PLAIN.replace("\t", ","))
    assert [fault[0] for fault in rows_of(tmp_path / "rows.csv")[1]] == ["TW-DATA-012"]
