"""A long table of numbers whose rows are in the order of time, on disk or in memory."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from framework.extras import require
from framework.registry import did_you_mean

_CHUNK_BYTES = 2**24
# Of what a model can be fed.
_LARGEST = float(np.finfo(np.float32).max)


@dataclasses.dataclass(frozen=True)
class Columns:
    """Some columns of a two-dimensional array, which may lie in a memory-mapped file.

    Attributes:
        values: `[rows, all columns]`.
        chosen: Which of them, in this order.
    """

    values: np.ndarray
    chosen: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: np.ndarray | slice) -> np.ndarray:
        """The values at `rows` int `[...]`: `[..., chosen]`."""
        taken = self.values[rows]
        return taken if self.chosen == tuple(range(taken.shape[-1])) else taken[..., list(self.chosen)]

    def chunks(self, first: int = 0, last: int | None = None) -> Iterator[tuple[int, np.ndarray]]:
        """(row, values from there on) of the rows [first, last), a few megabytes at a time."""
        last = len(self) if last is None else last
        size = max(1, _CHUNK_BYTES // max(1, self.values.itemsize * self.values.shape[1]))
        for start in range(first, last, size):
            yield start, self.take(slice(start, min(start + size, last)))

    def missing_rows(self) -> np.ndarray:
        """The rows that have a value which float32 can't hold as a number, int64, ascending. A pass over the data."""
        if self.values.dtype.kind != "f":
            return np.zeros(0, np.int64)
        found = [start + np.flatnonzero(~(np.abs(part) <= _LARGEST).all(axis=1)) for start, part in self.chunks()]
        return np.concatenate(found).astype(np.int64)


class Series:
    """Named columns of one length.

    Args:
        data: A `.npy` file (memory-mapped: however long, it takes no memory), a `.csv` or `.parquet` file (read with
            pandas), a DataFrame, `{name: [rows]}`, or an array `[rows]` or `[rows, columns]`.
        names: Of an array's columns; by default `"column_0"` and so on.

    Attributes:
        names: Of the columns, in their order.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is of another kind, the data have no rows or another shape, or columns differ in length.
        ImportError: pandas is needed and isn't installed.
    """

    def __init__(self, data: Any, names: Sequence[str] | None = None):
        if isinstance(data, (str, os.PathLike)):
            data = _read(pathlib.Path(data))
        self._array: np.ndarray | None = None
        self._columns: dict[str, np.ndarray] = {}
        if hasattr(data, "columns"):
            data = {str(name): data[name].to_numpy() for name in data.columns}
        if isinstance(data, Mapping):
            self._columns = {str(name): np.asarray(values) for name, values in data.items()}
            shapes = {name: values.shape for name, values in self._columns.items()}
            if not shapes or len(set(shapes.values())) > 1 or len(next(iter(shapes.values()))) != 1:
                raise ValueError(f"A series' columns are arrays [rows] of one length, got the shapes {shapes}.")
            self.names = tuple(self._columns)
        else:
            array = data if isinstance(data, np.ndarray) else np.asarray(data)
            if array.ndim not in (1, 2) or array.dtype.kind not in "iufb":
                raise ValueError(
                    f"A series is numbers [rows] or [rows, columns], got {array.dtype} of shape {array.shape}."
                )
            self._array = array[:, np.newaxis] if array.ndim == 1 else array
            width = self._array.shape[1]
            self.names = tuple(names) if names is not None else tuple(f"column_{index}" for index in range(width))
            if len(self.names) != width:
                raise ValueError(f"There are {width} columns and {len(self.names)} names for them: {self.names}.")
        if not len(self):
            raise ValueError("A series needs at least one row.")

    def __len__(self) -> int:
        return len(self._array) if self._array is not None else len(next(iter(self._columns.values())))

    def check_names(self, names: Sequence[str], what: str) -> None:
        """Checks that there are columns of these names.

        Raises:
            ValueError: There is one missing; near names are in the message.
        """
        for name in names:
            if name not in self.names:
                raise ValueError(
                    f"{what}: there is no column {name!r}.{did_you_mean(name, self.names)} Columns: "
                    f"{', '.join(self.names)}."
                )

    def numeric_names(self) -> list[str]:
        """The columns that hold numbers or booleans."""
        return [name for name in self.names if self._array is not None or self._columns[name].dtype.kind in "iufb"]

    def column(self, name: str) -> np.ndarray:
        """`[rows]`, of whatever dtype it has."""
        if self._array is not None:
            return self._array[:, self.names.index(name)]
        return self._columns[name]

    def numbers(self, names: Sequence[str]) -> Columns:
        """Columns of numbers: a view of an array or file, a float32 copy of what came as separate columns.

        Raises:
            ValueError: One holds something else; the message has the first such value.
        """
        if self._array is not None:
            return Columns(self._array, tuple(self.names.index(name) for name in names))
        for name in names:
            values = self._columns[name]
            if values.dtype.kind not in "iufb":
                raise ValueError(
                    f"Column {name!r} holds {values.dtype} such as {values[0]!r}, expected numbers. Convert it first, "
                    "or name the columns that the windows should have with columns=."
                )
        stacked = np.stack([np.asarray(self._columns[name], np.float32) for name in names], axis=1)
        return Columns(stacked, tuple(range(len(names))))

    def classes(self, name: str) -> tuple[Columns, list[str]]:
        """A column of classes as ids int64 or another integer dtype `[rows, 1]`, and the classes' names.

        Raises:
            ValueError: It holds neither names nor ids from 0, or some are missing.
        """
        values = self.column(name)
        if values.dtype.kind == "b":
            return Columns(values[:, np.newaxis], (0,)), ["False", "True"]
        if values.dtype.kind in "iu":
            ids = Columns(values[:, np.newaxis], (0,))
            found = sorted(set().union(*(np.unique(part).tolist() for _, part in ids.chunks())))
            if found != list(range(len(found))):
                raise ValueError(f"Class ids in column {name!r} must be 0 to {len(found) - 1}, got {found[:10]}.")
            return ids, [str(value) for value in found]
        if values.dtype.kind == "f" or not all(isinstance(value, str) for value in values):
            raise ValueError(
                f"Column {name!r} holds {values.dtype}; expected names or ids of classes throughout, none of them "
                "missing."
            )
        names, numbered = np.unique(values.astype(str), return_inverse=True)
        return Columns(numbered.astype(np.int64)[:, np.newaxis], (0,)), names.tolist()

    def check_order(self, name: str) -> None:
        """Checks that rows are in the order of a column.

        Raises:
            ValueError: There is no such column, or a row that comes after a later one.
        """
        self.check_names([name], "time")
        times = self.column(name)
        if times.dtype.kind not in "iufM":
            pandas = require("pandas", extra="pandas", purpose="Reading times")
            times = pandas.to_datetime(pandas.Series(times)).to_numpy()
        earlier = np.flatnonzero(~(times[1:] >= times[:-1]))  # a time that is missing isn't later either
        if len(earlier):
            row = int(earlier[0]) + 1
            raise ValueError(
                f"Rows must be in the order of {name!r}: row {row} ({times[row]}) comes after row {row - 1} "
                f"({times[row - 1]}). Sort the data, and give each of several series a pipeline of its own."
            )


def _read(path: pathlib.Path) -> Any:
    if not path.exists():
        raise FileNotFoundError(f"There is no file {path}.")
    suffixes = "".join(path.suffixes[-2:])
    if path.suffix == ".npy":
        return np.load(path, mmap_mode="r", allow_pickle=False)
    if path.suffix == ".parquet":
        require("pyarrow", extra="parquet", purpose=f"Reading {path.name}")
        return require("pandas", extra="parquet", purpose=f"Reading {path.name}").read_parquet(path)
    if path.suffix == ".csv" or suffixes.endswith(".csv.gz"):
        return require("pandas", extra="pandas", purpose=f"Reading {path.name}").read_csv(path)
    raise ValueError(f"{path} isn't a file of a known kind: expected .npy, .csv, .csv.gz or .parquet.")
