"""Tables that have types already: DataFrames, arrays by name, Parquet files."""

from __future__ import annotations

import datetime
import decimal
import os
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from framework.data.tables.blocks import BLOCK, Block, Table, check_names
from framework.extras import require

# Under such names pandas writes an index that has none, and reads it as an index again.
_PANDAS_INDEX = re.compile(r"__index_level_\d+__")
_PLAIN = {type(None), bool, int, float, str, datetime.date, datetime.datetime}


class FrameTable(Table):
    """A DataFrame, of pandas or another library with the same protocol, or arrays `[rows]` by name.

    Raises:
        ValueError: Two columns have one name, a column isn't `[rows]`, or columns differ in length.
    """

    def __init__(self, frame: Any):
        self.place = "the DataFrame" if hasattr(frame, "columns") else "the dict of arrays"
        names = list(frame.columns) if hasattr(frame, "columns") else list(frame)
        self.names = check_names([str(name) for name in names], self.place)
        self._columns = {str(name): _as_column(frame[name], str(name)) for name in names}
        lengths = {name: len(column) for name, column in self._columns.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"Columns must have the same number of rows, got {lengths}.")
        self._num_rows = lengths[self.names[0]]

    def blocks(self) -> Iterator[Block]:
        for first in range(0, self._num_rows, BLOCK):
            last = min(first + BLOCK, self._num_rows)
            columns = {name: _plain(column[first:last].tolist()) for name, column in self._columns.items()}
            yield Block(columns, list(range(first, last)))


def _as_column(values: Any, name: str) -> np.ndarray:
    column = np.asarray(values)
    if column.ndim != 1:
        raise ValueError(
            f"Column {name!r} has shape {column.shape}, expected one value for each row. Give each of several a column "
            "of its own, or use framework.pipeline_from_arrays."
        )
    # As Python's own dates; NumPy's in nanoseconds would come out as whole numbers.
    return column.astype("datetime64[us]") if column.dtype.kind == "M" else column


class ParquetTable(Table):
    """A Parquet file, read in groups of rows; a DataFrame's index that has no name is no column.

    Raises:
        ValueError: It isn't a Parquet file, or two columns have one name.
        ImportError: pyarrow isn't installed.
    """

    def __init__(self, path: str):
        self.place = path
        self.folder = os.path.dirname(path) or "."
        with self._open() as file:
            names = [name for name in file.schema_arrow.names if not _PANDAS_INDEX.fullmatch(name)]
        self.names = check_names(names, path)

    def blocks(self) -> Iterator[Block]:
        first = 0
        with self._open() as file:
            for batch in file.iter_batches(BLOCK):
                columns = {name: _plain(batch.column(name).to_pylist()) for name in self.names}
                yield Block(columns, list(range(first, first + len(batch))))
                first += len(batch)

    def _open(self) -> Any:
        arrow = require("pyarrow", extra="parquet", purpose="Reading Parquet")
        parquet = require("pyarrow.parquet", extra="parquet", purpose="Reading Parquet")
        try:
            return parquet.ParquetFile(self.place)
        except arrow.ArrowInvalid as error:
            raise ValueError(f"{self.place} can't be read as Parquet: {error}") from error


def _plain(values: list[Any]) -> list[Any]:
    """Missing values of all libraries as `None`, their numbers as Python's."""
    return values if set(map(type, values)) <= _PLAIN else [_as_plain(value) for value in values]


def _as_plain(value: Any) -> Any:
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    return float(value) if isinstance(value, decimal.Decimal) else value
