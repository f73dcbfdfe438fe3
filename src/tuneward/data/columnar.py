"""Columnar files: rows of Apache Parquet and Apache Arrow (IPC files and streams, Feather 2).

Place on the road: readers of ``data.readers``. Rows are taken in batches of the file, and become Python's a few at a
time; Arrow files are mapped, not loaded. A row's place is its number in the file, from 1. Knows neither prompts nor
answers. Source: the Arrow columnar format, 1.5, "Serialization and Interprocess Communication".
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pyarrow
import pyarrow.parquet

from tuneward.data.faults import Faults
from tuneward.data.files import DataFile
from tuneward.data.header import is_sound
from tuneward.data.lines import Row
from tuneward.data.unpacking import RATIO_COUNTS_FROM_BYTES
from tuneward.domain.record import Source

_BATCH_ROWS: Final = 128
_IPC_FILE: Final = b"ARROW1"
_OLD_FEATHER: Final = b"FEA1"


class _Place:
    """How far a file has been read.

    Attributes:
        row: rows read.
        opened: whether the file's own head was sound.
    """

    row = 0
    opened = False


def read_parquet(file: DataFile, faults: Faults) -> Iterator[Row]:
    """Apache Parquet, batch by batch."""
    with _told(file, faults, "Parquet") as place, pyarrow.parquet.ParquetFile(file.path) as parquet:
        place.opened = True
        if not is_sound(parquet.schema_arrow.names, file.name, faults) or _unpacks_too_far(parquet, file, faults):
            return
        for batch in parquet.iter_batches(batch_size=_BATCH_ROWS):
            yield from _rows(batch, file, place)


def read_arrow(file: DataFile, faults: Faults) -> Iterator[Row]:
    """Apache Arrow, a file or a stream of record batches."""
    with file.path.open("rb") as handle:
        head = handle.read(len(_IPC_FILE))
    if head.startswith(_OLD_FEATHER):
        cure = "write it again with `pyarrow.feather.write_feather`, or as Parquet"
        faults.add("TW-DATA-013", "is Feather 1, which is no longer written", place=file.name, cure=cure)
        return
    with _told(file, faults, "Arrow") as place, pyarrow.memory_map(str(file.path)) as source:
        if head == _IPC_FILE:
            with pyarrow.ipc.open_file(source) as reader:
                place.opened = True
                if is_sound(reader.schema.names, file.name, faults):
                    for number in range(reader.num_record_batches):
                        yield from _rows(reader.get_batch(number), file, place)
            return
        with pyarrow.ipc.open_stream(source) as stream:
            place.opened = True
            if is_sound(stream.schema.names, file.name, faults):
                for batch in stream:
                    yield from _rows(batch, file, place)


def _rows(batch: Any, file: DataFile, place: _Place) -> Iterator[Row]:
    for start in range(0, batch.num_rows, _BATCH_ROWS):
        for values in _written_out(batch.slice(start, _BATCH_ROWS)).to_pylist():
            place.row += 1
            yield Row(values, Source(file.name, file.digest, place.row))


def _unpacks_too_far(parquet: Any, file: DataFile, faults: Faults) -> bool:
    groups = (parquet.metadata.row_group(number) for number in range(parquet.metadata.num_row_groups))
    unpacked, limits = sum(group.total_byte_size for group in groups), file.limits
    if unpacked > limits.unpacked_mib * 2**20:
        message = f"unpacks to {unpacked / 2**20:,.0f} MiB; at most {limits.unpacked_mib:,} are read"
    elif unpacked > RATIO_COUNTS_FROM_BYTES and unpacked > limits.unpacked_ratio * file.stored_bytes:
        message = (
            f"unpacks to {unpacked / file.stored_bytes:,.0f} times its size; at most {limits.unpacked_ratio:,} are read"
        )
    else:
        return False
    cure = "write it again without packing, or raise `data.unpacked_mib` and `data.unpacked_ratio` if you trust it"
    faults.add("TW-DATA-044", message, place=file.name, cure=cure)
    return True


@contextmanager
def _told(file: DataFile, faults: Faults, format: str) -> Iterator[_Place]:
    """Faults for what goes wrong in a columnar file, and where."""
    place = _Place()
    try:
        yield place
    except UnicodeDecodeError:
        message = f"a text within the next {_BATCH_ROWS} rows is not UTF-8"
        faults.add("TW-DATA-006", message, place=f"{file.name}:{place.row + 1}", cure="write text columns as UTF-8")
    except OverflowError:
        cure = "write times that stand inside lists and objects as text"
        message = "a time inside a value is out of range"
        faults.add("TW-DATA-013", message, place=f"{file.name}:{place.row + 1}", cure=cure)
    except (pyarrow.ArrowException, OSError, ValueError, RecursionError, MemoryError) as error:
        reason = "cannot be decoded" if place.opened else f"is not {format}, or its end is missing"
        where = f"{file.name}:{place.row + 1}" if place.opened else file.name
        faults.add("TW-DATA-013", reason, place=where, cure=f"write it again ({type(error).__name__})")


def _written_out(batch: Any) -> Any:
    """Times and dates as text: Python's own hold neither nanoseconds nor years past 9999."""
    columns = [
        column.cast(pyarrow.string()) if pyarrow.types.is_temporal(column.type) else column for column in batch.columns
    ]
    return pyarrow.RecordBatch.from_arrays(columns, names=batch.schema.names)
