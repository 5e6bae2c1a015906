"""Whether a table fits into memory, told before any of it is taken."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import psutil

from framework.data.tables.columns import Column
from framework.data.tables.scanning import ColumnScan

# Of a value in an array, and once more in a tensor; of text a pointer to it, and TensorFlow's string.
_BYTES = {"float32": 4 + 4, "int64": 8 + 8, "bool": 1 + 1, "string": 8 + 24}
# Of a text that it shares with no other row: Python's object.
_BYTES_OF_TEXT = 57
# Of what is free, what the data may take.
_MOST = 0.8


def check_memory(columns: Iterable[Column], parts: Sequence[Mapping[str, ColumnScan]], place: str) -> None:
    """Checks that rows fit into what is free.

    Args:
        columns: The features.
        parts: What was seen of every table's columns.
        place: The training table's name.

    Raises:
        ValueError: They don't; the message has the figures.
    """
    scans = [(column, scan[column.title]) for column in columns for scan in parts]
    needed = sum(scan.num_rows * _BYTES[column.feature.stored.dtype] for column, scan in scans)
    needed += sum(scan.num_rows * _BYTES_OF_TEXT + 2 * scan.text_length for _, scan in scans if scan.is_text)
    free = psutil.virtual_memory().available
    if needed > _MOST * free:
        num_rows = sum(next(iter(scan.values())).num_rows for scan in parts)
        raise ValueError(
            f"The {num_rows:,} rows of {place} need about {needed / 2**30:.1f} GiB of memory, {free / 2**30:.1f} GiB "
            "are free. Take fewer columns (columns=, drop=); or make records of it, a part at a time, with "
            "scripts/make_records.py, which the pipeline 'records' reads from the disk."
        )
