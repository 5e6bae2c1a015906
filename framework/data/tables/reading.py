"""What a person means by a path, several, a pattern, a DataFrame or arrays."""

from __future__ import annotations

import glob
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from framework.data.phases import TEST, TRAIN, VALIDATION
from framework.data.tables.blocks import Table
from framework.data.tables.frames import FrameTable, ParquetTable
from framework.data.tables.text_files import CsvTable, JsonTable, Reading

_FORMS = {
    "CSV": (".csv", ".tsv", ".tab"),
    "JSON lines": (".jsonl", ".ndjson", ".json"),
    "Parquet": (".parquet", ".pq"),
}


def open_tables(data: Any, reading: Reading) -> list[Table]:
    """The tables, one for each file, frame or set of arrays.

    Args:
        data: A file, several, a pattern such as `"data/*.csv"`, a DataFrame, or `{name: array [rows]}`.
        reading: How text files are to be read.

    Raises:
        FileNotFoundError: There is no such file, or none that fits the pattern.
        ValueError: A file's form isn't known from its name, or it can't be read as what its name says.
        TypeError: It is none of these.
    """
    if hasattr(data, "columns") or isinstance(data, Mapping):
        return [FrameTable(data)]
    given = [data] if isinstance(data, (str, os.PathLike)) else data
    if not isinstance(given, Sequence) or not given or not all(isinstance(path, (str, os.PathLike)) for path in given):
        raise TypeError(
            "Expected a file, several, a pattern such as 'data/*.csv', a DataFrame or {name: array}, "
            f"got {data!r:.200}."
        )
    paths = [path for pattern in given for path in _matching(os.path.expanduser(os.fspath(pattern)))]
    tables = [_open(path, reading) for path in paths]
    if len({table.typed for table in tables}) > 1:
        raise ValueError(f"CSV has text alone, the other files have types; one table can't be made of both: {paths}.")
    return tables


def open_parts(
    train: Any, validation: Any, test: Any, open_part: Callable[[Any], list[Table]]
) -> tuple[dict[str, list[Table]], dict[str, float]]:
    """The tables of each phase, and what of the training tables is split off for the others.

    Args:
        train: What `open_part` opens.
        validation: A table of its own; or a share of `train`, which is 0 or `None` for no such split.
        test: The same.
        open_part: Opens what a person means, such as `open_tables`.

    Returns:
        `{phase: tables}`, and `{"validation": share, "test": share}`, 0 where there is another table.
    """
    tables, shares = {TRAIN: open_part(train)}, {}
    for phase, given in ((VALIDATION, validation), (TEST, test)):
        is_share = given is None or isinstance(given, (int, float))
        shares[phase] = float(given or 0) if is_share else 0.0
        if not is_share:
            tables[phase] = open_part(given)
    return tables, shares


def _matching(pattern: str) -> list[str]:
    if os.path.isdir(pattern):
        raise ValueError(f"{pattern} is a folder. Name its files by a pattern: {os.path.join(pattern, '*.csv')!r}.")
    if os.path.exists(pattern):
        return [pattern]
    found = sorted(glob.glob(pattern, recursive=True))
    if not found:
        folder = os.path.dirname(pattern) or "."
        there = ", ".join(sorted(os.listdir(folder))[:10]) if os.path.isdir(folder) else None
        raise FileNotFoundError(
            f"There is no file {pattern}; "
            + (f"there is no folder {folder} either." if there is None else f"its folder has: {there or 'nothing'}.")
        )
    return found


def _open(path: str, reading: Reading) -> Table:
    suffix = pathlib.Path(path.lower().removesuffix(".gz")).suffix
    form = next((form for form, suffixes in _FORMS.items() if suffix in suffixes), None)
    if form == "CSV":
        return CsvTable(path, reading)
    if form == "JSON lines":
        return JsonTable(path, reading)
    if form == "Parquet":
        return ParquetTable(path)
    known = "; ".join(f"{form}: {', '.join(suffixes)}" for form, suffixes in _FORMS.items())
    raise ValueError(f"The form of {path} isn't known from its name. Known: {known}; of text also with .gz after it.")
