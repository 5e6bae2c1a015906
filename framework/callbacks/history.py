"""The history as a file that is whole at any moment."""

from __future__ import annotations

import csv
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from framework import files

EPOCH = "epoch"


class WriteHistory(keras.callbacks.Callback):
    """Writes every epoch's logs to a CSV file, atomically and anew each time: never half a row, never one twice.

    Args:
        path: Of the CSV file: one row an epoch; its first column, `epoch`, counts from 0.

    Attributes:
        rows: One dict an epoch.
        constants: Further values of every row from now on.
    """

    def __init__(self, path: str | pathlib.Path):
        super().__init__()
        self.path = pathlib.Path(path)
        self.rows: list[dict[str, float]] = []
        self.constants: dict[str, float] = {}

    def on_train_begin(self, logs=None):
        self.rows = []

    def on_epoch_end(self, epoch, logs=None):
        values = {name: float(value) for name, value in {**(logs or {}), **self.constants}.items()}
        self.rows.append({EPOCH: epoch, **values})
        write_history(self.path, self.rows)

    def get_state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"rows": list(self.rows)}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Goes on from a checkpoint; the file forgets what came after it."""
        self.rows = list(state["rows"])
        if self.rows:
            write_history(self.path, self.rows)


def write_history(path: pathlib.Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Writes one line for each row; what a row hasn't stays empty."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with files.replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)


def read_history(path: pathlib.Path) -> dict[str, list[float]]:
    """`{name: values}`, one value an epoch; NaN where a row had none."""
    with pathlib.Path(path).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = [name for name in (rows[0] if rows else {}) if name != EPOCH]
    return {name: [float(row[name] or "nan") for row in rows] for name in names}
