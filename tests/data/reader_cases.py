"""What the readers' tests share: a file's rows and faults in one call, and files packed in every way."""

import gzip
from pathlib import Path
from typing import Any

import pyarrow

from tuneward.data.faults import Faults
from tuneward.data.files import Limits, open_file
from tuneward.data.readers import read
from tuneward.errors import DataError


def rows_of(path: Path, **limits: Any) -> tuple[list[tuple[int, dict[str, Any]]], list[tuple[str, str]]]:
    """(Place, values) of every row, and (code, place) of every fault; each fault has a cure."""
    rows, faults = read_all(path, **limits)
    return [(row.source.line, dict(row.values)) for row in rows], [(fault.code, fault.place) for fault in faults]


def read_all(path: Path, **limits: Any) -> tuple[list[Any], list[Any]]:
    """Every row and every fault of a file."""
    faults = Faults(listed=1000)
    file = open_file(path, path.name, "train", faults, limits=Limits(**limits))
    rows = list(read(file, faults)) if file else []
    told: list[Any] = []
    try:
        faults.raise_if_any()
    except DataError as error:
        told = list(error.faults)
    assert all(fault.cure for fault in told)
    return rows, told


def packed(data: bytes, packing: str) -> bytes:
    """Bytes packed as ``.gz`` or ``.zst``."""
    return gzip.compress(data) if packing == ".gz" else pyarrow.compress(data, codec="zstd", asbytes=True)
