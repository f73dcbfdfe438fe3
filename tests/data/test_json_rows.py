"""JSON and JSONL: the same rows in any dress, every fault with its place, and no more memory for more rows."""

import json
import tracemalloc

import pytest
from reader_cases import read_all, rows_of

from tuneward.data import json_text
from tuneward.data.faults import Faults
from tuneward.data.files import open_file
from tuneward.data.readers import read

ROWS = [
    {"prompt": "a", "answer": 'b "]},{" c'},
    {"prompt": "é\u2028東", "answer": {"x": [1, 2.5, None, True]}},
    {"n": 12},
]
EXPECTED = [(number, row) for number, row in enumerate(ROWS, start=1)]


@pytest.fixture(params=[1, 7, 64 * 1024])
def piece(request, monkeypatch):
    """Pieces so small that every border of the text falls between two of them."""
    monkeypatch.setattr(json_text, "PIECE_BYTES", request.param)


@pytest.mark.parametrize(
    "dress",
    [
        lambda rows: json.dumps(rows),
        lambda rows: json.dumps(rows, indent=2, ensure_ascii=False),
        lambda rows: "\ufeff \n" + json.dumps(rows, ensure_ascii=False) + "\r\n",
        lambda rows: "\n".join(json.dumps(row, indent=1) for row in rows),
        lambda rows: "".join(json.dumps(row) for row in rows),
        lambda rows: "".join(json.dumps(row) + "\n" for row in rows),
    ],
)
def test_an_array_and_objects_one_after_another_give_the_same_rows(tmp_path, piece, dress):
    (tmp_path / "rows.json").write_bytes(dress(ROWS).encode())
    assert rows_of(tmp_path / "rows.json") == (EXPECTED, [])


@pytest.mark.parametrize(
    ("text", "rows", "faults"),
    [
        ("[]", 0, []),
        ("[ \n ]", 0, []),
        ('{"prompt": "a"}', 1, []),
        ('[{"n": 1}, {"n": 2}', 2, [("TW-DATA-008", "rows.json:2")]),
        ('[{"n": 1}, {"n": 2', 1, [("TW-DATA-008", "rows.json:2")]),
        ('[{"n": 1}, {"n": "2', 1, [("TW-DATA-008", "rows.json:2")]),
        ('[{"n": 1},', 1, [("TW-DATA-008", "rows.json:2")]),
        ('[{"n": 1},]', 1, [("TW-DATA-008", "rows.json:2")]),
        ('[{"n": 1} {"n": 2}]', 1, [("TW-DATA-008", "rows.json:1")]),
        ('[{"n": 1}] x', 1, [("TW-DATA-008", "rows.json:1")]),
        ('[{"n" 1}, {"n": 2}]', 0, [("TW-DATA-008", "rows.json:1")]),
        ('[{"n": 1}, 12, "x", null, [1], {"n": 2}]', 2, [("TW-DATA-009", f"rows.json:{n}") for n in (2, 3, 4, 5)]),
        ('[{"n": NaN}, {"n": 1, "n": 2}, {"n": 3}]', 1, [("TW-DATA-008", f"rows.json:{n}") for n in (1, 2)]),
        ('[{"n": ' + "1" * 5000 + '}, {"n": 2}]', 1, [("TW-DATA-008", "rows.json:1")]),
        ('[{"n": ' + "[" * 1000 + "]" * 1000 + "}]", 0, [("TW-DATA-008", "rows.json:1")]),
        ('[{"n": ' + "[" * 150 + "]" * 150 + '}, {"n": 2}]', 1, [("TW-DATA-008", "rows.json:1")]),
        ('[{"n": ' + "[" * 99 + "]" * 99 + "}]", 1, []),
        ("just words", 0, [("TW-DATA-008", "rows.json:1")]),
    ],
)
def test_bad_json(tmp_path, piece, text, rows, faults):
    (tmp_path / "rows.json").write_text(text)
    read, told = rows_of(tmp_path / "rows.json")
    assert (len(read), told) == (rows, faults)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b'[{"n": 1},\n {"n": "\xff"}]', ("TW-DATA-006", "rows.json:2")),
        (b'[{"n": 1},\n {"n": "\xc3', ("TW-DATA-006", "rows.json:2")),
        (b'[{"n": 1},\n {"n": "\x00"}]', ("TW-DATA-007", "rows.json")),
        ('[{"n": 1}]'.encode("utf-16"), ("TW-DATA-006", "rows.json")),
        ('[{"n": 1}]'.encode("utf-16-le"), ("TW-DATA-006", "rows.json")),
        ('[{"n": 1}]'.encode("utf-32-be"), ("TW-DATA-006", "rows.json")),
    ],
)
def test_text_that_is_no_utf8_is_told_with_its_line(tmp_path, content, fault):
    (tmp_path / "rows.json").write_bytes(content)
    assert rows_of(tmp_path / "rows.json")[1] == [fault]


def test_the_bytes_and_line_of_a_fault_are_right_behind_many_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(json_text, "PIECE_BYTES", 10)
    content = ("\ufeff[" + ",\n".join(json.dumps({"n": n, "e": "é"}, ensure_ascii=False) for n in range(50))).encode()
    (tmp_path / "rows.json").write_bytes(content + b',\n{"x": "\xff"}]')
    _, faults = read_all(tmp_path / "rows.json")
    assert [fault.place for fault in faults] == ["rows.json:51"]
    assert f"byte {len(content) + 9} of the file (0xff)" in faults[0].message


def test_a_row_that_is_too_large_is_told_before_it_fills_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(json_text, "MAX_LINE_BYTES", 1000)
    monkeypatch.setattr(json_text, "PIECE_BYTES", 100)
    (tmp_path / "rows.json").write_text(json.dumps([{"n": 1}, {"n": "x" * 100_000}, {"n": 2}]))
    assert rows_of(tmp_path / "rows.json") == ([(1, {"n": 1})], [("TW-DATA-014", "rows.json:2")])


def test_byte_order_marks_of_joined_files_are_read_as_if_absent(tmp_path):
    part = '\ufeff{"n": 1}\n'.encode()
    (tmp_path / "rows.jsonl").write_bytes(part + part)
    assert rows_of(tmp_path / "rows.jsonl") == ([(1, {"n": 1}), (2, {"n": 1})], [])


def test_every_line_of_another_encoding_is_named_and_its_encoding_guessed(tmp_path):
    lines = ['{"n": "é"}'.encode(), '{"n": "é"}'.encode("cp1252"), b'{"n": "e"}', '{"n": "ü"}'.encode("cp1252")]
    (tmp_path / "rows.jsonl").write_bytes(b"\n".join(lines))
    rows, faults = read_all(tmp_path / "rows.jsonl")
    assert [row.source.line for row in rows] == [1, 3]
    assert [(fault.code, fault.place) for fault in faults] == [("TW-DATA-006", f"rows.jsonl:{n}") for n in (2, 4)]
    assert all("Windows-1252" in fault.cure for fault in faults)


@pytest.mark.parametrize("depth", [101, 1000, 100_000])
def test_json_nested_too_deeply_is_refused_wherever_it_is_called_from(tmp_path, depth):
    (tmp_path / "rows.jsonl").write_text('{"n": ' + "[" * depth + "]" * depth + '}\n{"n": 1}\n')
    assert rows_of(tmp_path / "rows.jsonl") == ([(2, {"n": 1})], [("TW-DATA-008", "rows.jsonl:1")])


@pytest.mark.parametrize("suffix", ["json", "jsonl"])
def test_a_row_of_a_million_columns_is_refused_quickly(tmp_path, suffix):
    wide = json.dumps({f"c{n}": n for n in range(400_000)})
    (tmp_path / f"rows.{suffix}").write_text(f"[{wide}]" if suffix == "json" else wide + "\n")
    assert rows_of(tmp_path / f"rows.{suffix}") == ([], [("TW-DATA-046", f"rows.{suffix}:1")])


@pytest.mark.parametrize("dress", ["array", "minified", "lines"])
def test_memory_stays_flat_however_many_rows_there_are(tmp_path, dress):
    peaks = []
    for count in (1_000, 20_000):
        path = tmp_path / f"{count}.json"
        rows = (json.dumps({"prompt": f"question {n} " * 5, "answer": "an answer " * 10}) for n in range(count))
        if dress == "lines":
            path.write_text("\n".join(rows) + "\n")
        else:
            path.write_text("[" + (",\n" if dress == "array" else ",").join(rows) + "]")
        peaks.append(_peak(path, count))
    assert peaks[1] < peaks[0] + 100_000


def _peak(path, count):
    faults = Faults()
    file = open_file(path, path.name, "train", faults)
    tracemalloc.start()
    assert sum(1 for _ in read(file, faults)) == count
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak
