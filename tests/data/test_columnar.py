"""Parquet and Arrow: the same rows from each, damage told with its place, memory flat."""

import tracemalloc

import pyarrow
import pyarrow.feather
import pyarrow.parquet
import pytest
from reader_cases import read_all, rows_of

from tuneward.data import columnar
from tuneward.data.faults import Faults
from tuneward.data.files import open_file
from tuneward.data.readers import read

ROWS = [
    {"prompt": f"q{n}", "answer": ["x"] * (n % 3), "turns": [{"role": "user", "content": "é"}]} for n in range(1000)
]
TABLE = pyarrow.Table.from_pylist(ROWS)


def write(path, table=TABLE, chunk=300):
    if path.name.endswith(".parquet"):
        pyarrow.parquet.write_table(table, path, row_group_size=chunk)
    elif path.name.startswith("packed"):
        pyarrow.feather.write_feather(table, path, compression="zstd", chunksize=chunk)
    elif path.suffix == ".feather":
        pyarrow.feather.write_feather(table, path, compression="uncompressed", chunksize=chunk)
    else:
        make = pyarrow.ipc.new_stream if path.name.startswith("stream") else pyarrow.ipc.new_file
        with make(path, table.schema) as writer:
            writer.write_table(table, max_chunksize=chunk)


NAMES = ["rows.parquet", "stream.arrow", "file.arrow", "file.ipc", "rows.feather", "packed.feather"]


@pytest.mark.parametrize("name", NAMES)
def test_every_columnar_form_gives_the_same_rows(tmp_path, name):
    write(tmp_path / name)
    assert rows_of(tmp_path / name) == ([(n, row) for n, row in enumerate(ROWS, start=1)], [])


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_is_cut_or_none(tmp_path, name):
    write(tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    for part in (
        whole[: len(whole) // 2],
        whole[:-4] if not name.startswith("stream") else whole[:-300],
        b"a,b\n1,2\n",
    ):
        (tmp_path / name).write_bytes(part)
        _, faults = rows_of(tmp_path / name)
        assert [code for code, _ in faults] == ["TW-DATA-013"]


def test_the_row_is_told_at_which_a_stream_breaks(tmp_path):
    write(tmp_path / "stream.arrow", chunk=100)
    data = (tmp_path / "stream.arrow").read_bytes()
    (tmp_path / "stream.arrow").write_bytes(data[: len(data) * 55 // 100])
    rows, faults = rows_of(tmp_path / "stream.arrow")
    assert len(rows) in (400, 500)
    assert faults == [("TW-DATA-013", f"stream.arrow:{len(rows) + 1}")]


def test_the_first_feather_is_refused_by_name(tmp_path):
    (tmp_path / "old.feather").write_bytes(b"FEA1" + bytes(100))
    _, faults = read_all(tmp_path / "old.feather")
    assert [fault.code for fault in faults] == ["TW-DATA-013"]
    assert "Feather 1" in faults[0].message


@pytest.mark.parametrize("name", ["rows.parquet", "file.arrow", "stream.arrow"])
def test_too_many_columns_and_columns_that_stand_twice(tmp_path, name):
    write(tmp_path / name, pyarrow.table({f"c{n}": [n] for n in range(10_001)}))
    assert rows_of(tmp_path / name) == ([], [("TW-DATA-046", name)])
    write(tmp_path / name, pyarrow.table([pyarrow.array(["x"])] * 2, names=["a", "a"]))
    assert rows_of(tmp_path / name) == ([], [("TW-DATA-011", name)])


def test_a_parquet_bomb_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / "bomb.parquet"
    table = pyarrow.table({"text": [str(n) + "x" * 100_000 for n in range(100)]})
    pyarrow.parquet.write_table(table, path, compression="zstd", use_dictionary=False)
    assert rows_of(path, unpacked_mib=1)[1] == [("TW-DATA-044", path.name)]
    monkeypatch.setattr(columnar, "RATIO_COUNTS_FROM_BYTES", 2**20)
    rows, faults = rows_of(path)
    assert (rows, faults) == ([], [("TW-DATA-044", path.name)])


def test_times_that_python_cannot_hold_are_read_as_text_from_arrow_too(tmp_path):
    late = pyarrow.table({"at": pyarrow.array([9 * 10**17], pyarrow.timestamp("us"))})  # the year 30489
    write(tmp_path / "file.arrow", late)
    ((_, values),), faults = rows_of(tmp_path / "file.arrow")
    assert (values["at"][:5], faults) == ("30489", [])


@pytest.mark.parametrize("name", ["rows.parquet", "stream.arrow", "packed.feather"])
def test_memory_stays_flat_however_many_rows_there_are(tmp_path, name):
    peaks = []
    for count in (2_000, 40_000):
        path = tmp_path / f"{name.split('.')[0]}-{count}.{name.split('.')[1]}"
        write(path, pyarrow.table({"prompt": [f"question {n} " * 10 for n in range(count)]}), chunk=1_000)
        faults = Faults()
        file = open_file(path, path.name, "train", faults)
        tracemalloc.start()
        arrow = pyarrow.total_allocated_bytes()
        most = 0
        for number, _ in enumerate(read(file, faults), start=1):
            most = max(most, pyarrow.total_allocated_bytes() - arrow) if number % 100 == 0 else most
        peaks.append(tracemalloc.get_traced_memory()[1] + most)
        tracemalloc.stop()
        assert number == count
    assert peaks[1] < peaks[0] + 1_000_000  # of six megabytes; the footer of Parquet grows a little
