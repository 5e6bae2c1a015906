"""Predictions as JSON lines or CSV, one a line."""

import base64
import csv
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, Any

import numpy as np

FORMATS = ("jsonl", "csv")


def rows(predictions: Mapping[str, np.ndarray]) -> Iterator[dict[str, Any]]:
    """One `{name: value}` of plain Python values for each example of a batch `{name: [batch, ...]}`."""
    columns = [_plain(array) for array in predictions.values()]
    for values in zip(*columns, strict=True):
        yield dict(zip(predictions, values, strict=True))


def write_json_lines(batches: Iterable[Iterable[dict[str, Any]]], file: IO[str]) -> None:
    """One JSON object a line; what JSON has no number for (NaN, infinity) is null."""
    for batch in batches:
        for row in batch:
            print(json.dumps(row, ensure_ascii=False, allow_nan=False), file=file)
        file.flush()


def write_csv(batches: Iterable[Iterable[dict[str, Any]]], names: Sequence[str], file: IO[str]) -> None:
    """A header, then a line for each row; a list is one cell of JSON."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(names)
    for batch in batches:
        for row in batch:
            writer.writerow([json.dumps(v) if isinstance(v, list | dict) else v for v in row.values()])
        file.flush()


def _plain(array: np.ndarray) -> list[Any]:
    """The array's values as JSON has them, float32 with the digits that it has and no more."""
    if array.dtype.kind == "f" and array.dtype.itemsize < 8:
        array = array.astype("S24").astype(np.float64)
    return _nested(array.tolist())


def _nested(value: Any) -> Any:
    if isinstance(value, list):
        return [_nested(item) for item in value]
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return {"b64": base64.b64encode(value).decode()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
