"""Every kind of bad file is refused with its place; the same rows in any dress read the same."""

import csv
import io
import json

import pyarrow
import pyarrow.parquet
import pytest
from data_cases import prepare, refused, row, write_rows

from tuneward.data import lines, readers
from tuneward.errors import DataError

ROWS = [row("What happened?", 'A fall,\nand a "crash".'), row("Où ça ?", "Zürich – 東京"), row("c", "d")]


def csv_bytes(rows, delimiter=","):
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, ["prompt", "answer"], delimiter=delimiter, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def jsonl_bytes(rows):
    return "".join(json.dumps(r) + "\n" for r in rows).encode()


def texts(prepared):
    return [[m.content for m in record.messages] for record in prepared.train]


@pytest.fixture
def plain(tmp_path):
    write_rows(tmp_path / "plain" / "train.jsonl", ROWS)
    return texts(prepare(tmp_path / "plain"))


@pytest.mark.parametrize("dress", [lambda b: b, lambda b: b"\xef\xbb\xbf" + b, lambda b: b.replace(b"\n", b"\r\n")])
@pytest.mark.parametrize("suffix", ["jsonl", "ndjson", "csv"])
def test_byte_order_mark_and_crlf_read_as_if_absent(tmp_path, plain, suffix, dress):
    rows = [{k: v.replace("\n", " ") for k, v in r.items()} for r in ROWS] if suffix == "csv" else ROWS
    (tmp_path / f"train.{suffix}").write_bytes(dress(csv_bytes(rows) if suffix == "csv" else jsonl_bytes(rows)))
    expected = [[t.replace("\n", " ") for t in pair] for pair in plain] if suffix == "csv" else plain
    assert texts(prepare(tmp_path, train=[f"train.{suffix}"])) == expected


def test_all_formats_give_the_same_conversations(tmp_path, plain):
    (tmp_path / "train.csv").write_bytes(csv_bytes(ROWS))
    (tmp_path / "semicolon.csv").write_bytes(csv_bytes(ROWS, ";"))
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "train.parquet")
    for name in ("train.csv", "semicolon.csv", "train.parquet"):
        assert texts(prepare(tmp_path, train=[name])) == plain


def test_a_csv_row_over_several_lines_is_named_by_its_first(tmp_path):
    (tmp_path / "train.csv").write_bytes(csv_bytes(ROWS))
    assert [r.source.line for r in prepare(tmp_path, train=["train.csv"]).train] == [2, 4, 5]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", ("TW-DATA-002", "train.jsonl")),
        (b"\n \n", ("TW-DATA-002", "train.jsonl")),
        (b'{"prompt":"a","answer":"b"}\n{"prompt":"a","ans', ("TW-DATA-008", "train.jsonl:2")),
        (b'{"prompt":"a","answer":"b"}\n{"prompt":"a" "answer"}\n', ("TW-DATA-008", "train.jsonl:2")),
        (b'{"prompt":"a","answer":NaN}\n', ("TW-DATA-008", "train.jsonl:1")),
        (b'{"prompt":"a","answer":' + b"[" * 100_000 + b"}\n", ("TW-DATA-008", "train.jsonl:1")),
        (b'{"prompt":"a","answer":' + b"1" * 5000 + b"}\n", ("TW-DATA-008", "train.jsonl:1")),
        (b'["a","b"]\n', ("TW-DATA-009", "train.jsonl:1")),
        (b"null\n", ("TW-DATA-009", "train.jsonl:1")),
        (b'{"prompt":"a","answer":"b"}\n{"prompt":"\xff","answer":"b"}\n', ("TW-DATA-006", "train.jsonl:2")),
        ('{"prompt":"a"}'.encode("utf-16"), ("TW-DATA-006", "train.jsonl")),
        (b'{"prompt":"a\x00","answer":"b"}\n', ("TW-DATA-007", "train.jsonl:1")),
    ],
)
def test_bad_jsonl(tmp_path, content, fault):
    (tmp_path / "train.jsonl").write_bytes(content)
    assert refused(tmp_path) == [fault]


@pytest.mark.parametrize("answer", ['"one","answer":"two"', '{"a":1,"a":2}'])
def test_a_key_that_stands_twice_is_not_chosen_from(tmp_path, answer):
    (tmp_path / "train.jsonl").write_text(f'{{"prompt":"q","answer":{answer}}}\n')
    assert refused(tmp_path) == [("TW-DATA-008", "train.jsonl:1")]


def test_the_byte_that_is_not_utf8_is_named(tmp_path):
    (tmp_path / "train.jsonl").write_bytes(b'{"prompt":"a","answer":"b"}\n{"prompt":"\xff"}\n')
    with pytest.raises(DataError, match="byte 39 of the file"):
        prepare(tmp_path)
    assert (tmp_path / "train.jsonl").read_bytes()[39] == 0xFF


@pytest.mark.parametrize(
    ("content", "faults"),
    [
        (b"prompt,answer\n", [("TW-DATA-002", "train.csv")]),
        (b"prompt,answer\na,b\na,b,c\nd\ne,f\n", [("TW-DATA-010", "train.csv:3"), ("TW-DATA-010", "train.csv:4")]),
        (b"prompt,answer,prompt\na,b,c\n", [("TW-DATA-011", "train.csv:1")]),
        (b"prompt,,answer\na,b,c\n", [("TW-DATA-011", "train.csv:1")]),
        (b'prompt,answer\na,b\n"a,b\nc,d\n', [("TW-DATA-012", "train.csv:3")]),
        (b"prompt,answer\na\x00,b\n", [("TW-DATA-007", "train.csv:2")]),
        (b"prompt,answer\na,b\n\xe9,b\nc,d,e\n", [("TW-DATA-006", "train.csv:3"), ("TW-DATA-010", "train.csv:4")]),
    ],
)
def test_bad_csv(tmp_path, content, faults):
    (tmp_path / "train.csv").write_bytes(content)
    assert refused(tmp_path, train=["train.csv"]) == faults


def test_parquet_with_wrong_columns_says_which_it_has(tmp_path):
    pyarrow.parquet.write_table(pyarrow.table({"body": ["a"], "label": ["b"]}), tmp_path / "train.parquet")
    with pytest.raises(DataError, match="body, label") as caught:
        prepare(tmp_path, train=["train.parquet"])
    assert caught.value.faults[0].code == "TW-DATA-015"


def test_parquet_times_that_python_cannot_hold_are_read_as_text(tmp_path):
    late = pyarrow.array([9 * 10**17] * len(ROWS), pyarrow.timestamp("us"))  # the year 30489
    fine = pyarrow.array([123456789] * len(ROWS), pyarrow.timestamp("ns"))
    table = pyarrow.Table.from_pylist(ROWS).append_column("late", late).append_column("fine", fine)
    pyarrow.parquet.write_table(table, tmp_path / "train.parquet")
    prepared = prepare(tmp_path, train=["train.parquet"])
    assert len(prepared.train) == len(ROWS)


def test_times_inside_a_parquet_value_that_python_cannot_hold_are_a_fault(tmp_path):
    late = pyarrow.array([[9 * 10**17]] * len(ROWS), pyarrow.list_(pyarrow.timestamp("us")))
    table = pyarrow.Table.from_pylist(ROWS).append_column("seen", late)
    pyarrow.parquet.write_table(table, tmp_path / "train.parquet")
    assert refused(tmp_path, train=["train.parquet"]) == [("TW-DATA-013", "train.parquet:1")]


def test_a_parquet_column_that_stands_twice(tmp_path):
    columns = [pyarrow.array([text]) for text in ("q", "one", "two")]
    table = pyarrow.table(columns, names=["prompt", "answer", "answer"])
    pyarrow.parquet.write_table(table, tmp_path / "twice.parquet")
    assert refused(tmp_path, train=("twice.parquet",)) == [("TW-DATA-011", "twice.parquet")]


def test_parquet_that_is_none_or_cut(tmp_path):
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "whole.parquet")
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "whole.parquet").read_bytes()[:-40])
    (tmp_path / "text.parquet").write_bytes(b"prompt,answer\na,b\n")
    assert refused(tmp_path, train=["cut.parquet", "text.parquet"]) == [
        ("TW-DATA-013", "cut.parquet"),
        ("TW-DATA-013", "text.parquet"),
    ]


def test_parquet_values_of_a_wrong_type_are_named_by_row(tmp_path):
    table = pyarrow.table({"prompt": ["a", "b"], "answer": [1, None]})
    pyarrow.parquet.write_table(table, tmp_path / "train.parquet")
    assert refused(tmp_path, train=["train.parquet"]) == [
        ("TW-DATA-016", "train.parquet:1"),
        ("TW-DATA-018", "train.parquet:2"),
    ]


def test_a_kind_of_file_that_is_not_read(tmp_path):
    (tmp_path / "train.xlsx").write_bytes(b"x")
    assert refused(tmp_path, train=["train.xlsx"]) == [("TW-DATA-004", "train.xlsx")]


def test_gigantic_lines_and_fields_are_refused_and_the_rest_still_read(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 1000)
    monkeypatch.setattr(readers, "MAX_FIELD_CHARACTERS", 300)
    write_rows(tmp_path / "train.jsonl", [row(answer="x" * 5000), row(answer="x" * 400), row(answer="")])
    assert refused(tmp_path) == [
        ("TW-DATA-014", "train.jsonl:1"),
        ("TW-DATA-014", "train.jsonl:2"),
        ("TW-DATA-018", "train.jsonl:3"),
    ]


def test_faults_never_repeat_a_rows_text(tmp_path):
    secret = "Geheimnis"
    lines = [json.dumps(row(secret, 5)), '{"prompt": "Geheimnis', json.dumps([secret]), json.dumps(row(secret, ""))]
    (tmp_path / "train.jsonl").write_text("\n".join(lines))
    with pytest.raises(DataError) as caught:
        prepare(tmp_path)
    assert len(caught.value.faults) == 4
    assert secret not in str(caught.value)
