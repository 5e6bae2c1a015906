"""Snapshots on disk: atomic, checked, and the newest readable one is used.

    checkpoints/00000003-00000000/snapshot.npz      arrays, and the rest as JSON in an array of bytes
    checkpoints/00000003-00000000/blake2b           the digest of that file

The directory's name is the position (epoch, step) from which the snapshot goes on.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib
import shutil
import zipfile
from typing import Any

import numpy as np
from absl import logging

from framework import files
from framework.data.train import Position

_SNAPSHOT = "snapshot.npz"
_DIGEST = "blake2b"
_META = "__meta__"


class CorruptCheckpointError(RuntimeError):
    """A checkpoint isn't what was written."""


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """All state of a run between two steps.

    Attributes:
        position: The epoch and step that come next.
        arrays: Values of variables and of callbacks' arrays, by name.
        meta: Everything else, as JSON.
    """

    position: Position
    arrays: dict[str, np.ndarray]
    meta: dict[str, Any]


class CheckpointStore:
    """The checkpoints of one run.

    Args:
        directory: Where they lie.
        keep: How many of the newest stay.
    """

    def __init__(self, directory: pathlib.Path, *, keep: int):
        self.directory = pathlib.Path(directory)
        self.keep = keep

    def positions(self) -> list[Position]:
        """Where one can go on from, in the order of training."""
        if not self.directory.is_dir():
            return []
        names = (child.name.split("-") for child in self.directory.iterdir() if not child.name.startswith("."))
        return sorted(Position(int(n[0]), int(n[1])) for n in names if len(n) == 2 and all(p.isdecimal() for p in n))

    def save(self, snapshot: Snapshot) -> None:
        """Writes a snapshot under its position; one that is there already is the same and stays."""
        path = self._path(snapshot.position)
        if not path.exists():
            with files.publishing(path) as temporary:
                _write(temporary, snapshot)
        positions = self.positions()
        for position in positions[: max(len(positions) - self.keep, 0)]:
            shutil.rmtree(self._path(position), ignore_errors=True)

    def newest(self) -> Snapshot | None:
        """The newest readable snapshot; unreadable ones are named in the log, passed over and removed."""
        files.sweep(self.directory)
        for position in reversed(self.positions()):
            path = self._path(position)
            try:
                return _read(path, position)
            except CorruptCheckpointError as error:
                logging.warning("%s Going on from the checkpoint before it.", error)
                shutil.rmtree(path, ignore_errors=True)
        return None

    def discard(self, position: Position) -> None:
        """Deletes a snapshot from which there is no way on."""
        shutil.rmtree(self._path(position), ignore_errors=True)

    def _path(self, position: Position) -> pathlib.Path:
        return self.directory / f"{position.epoch:08d}-{position.step:08d}"


def _write(directory: pathlib.Path, snapshot: Snapshot) -> None:
    meta = np.frombuffer(json.dumps(snapshot.meta).encode(), np.uint8)
    # NumPy has no bfloat16 of its own: such arrays travel as bytes of their kind and are viewed back on restore.
    with (directory / _SNAPSHOT).open("wb") as file:
        np.savez(file, **{_META: meta}, **snapshot.arrays)  # type: ignore[arg-type]
    (directory / _DIGEST).write_text(_digest(directory / _SNAPSHOT), encoding="ascii")


def _read(directory: pathlib.Path, position: Position) -> Snapshot:
    try:
        expected = (directory / _DIGEST).read_text(encoding="ascii")
        if _digest(directory / _SNAPSHOT) != expected:
            raise CorruptCheckpointError(f"The checkpoint {directory} is damaged: its checksum doesn't match.")
        with np.load(directory / _SNAPSHOT, allow_pickle=False) as loaded:
            arrays = dict(loaded)
        meta = json.loads(arrays.pop(_META).tobytes())
    # Any other OSError (no permission, too many open files) says nothing of the data: it mustn't cost a checkpoint.
    except (FileNotFoundError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise CorruptCheckpointError(f"The checkpoint {directory} can't be read: {error}.") from error
    return Snapshot(position, arrays, meta)


def _digest(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=32)).hexdigest()
