"""Exports that are written and not yet proven: whole, out of every reader's sight, and still there after a crash.

    export/.staged-3/model/         what becomes export/3
    export/.staged-3/calls.npz      requests to every signature, and what the live model answered
    export/.staged-3/progress.json  the validation metrics after each of its batches

The live model has moved on when an export is proven, perhaps in another process: what is needed is kept with it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf

from framework import files
from framework.export.held_out import Arrays, Call

_PREFIX = ".staged-"
_MODEL = "model"
_CALLS = "calls.npz"
_PROGRESS = "progress.json"
_INDEX = "index"

Progress = Sequence[Mapping[str, float]]


@dataclasses.dataclass(frozen=True)
class Staged:
    """One such export.

    Attributes:
        path: The directory around it.
        version: Under which it will be published.
    """

    path: pathlib.Path
    version: int

    @property
    def model(self) -> pathlib.Path:
        """The export itself."""
        return self.path / _MODEL

    @property
    def target(self) -> pathlib.Path:
        """Where it will be."""
        return self.path.parent / str(self.version)

    def calls(self) -> list[Call]:
        """Requests to every signature, with the live model's answers."""
        with np.load(self.path / _CALLS, allow_pickle=False) as loaded:
            index = json.loads(loaded[_INDEX].tobytes())
            return [
                Call(signature, *({name: _parsed(loaded[key], dtype) for name, key, dtype in part} for part in parts))
                for signature, *parts in index
            ]

    def progress(self) -> Progress:
        """The validation metrics after each of its batches, as Keras had them; empty where nobody looked."""
        return files.read_json(self.path / _PROGRESS)

    def publish(self) -> None:
        """Gives the export its name.

        Raises:
            FileExistsError: The version is there already.
        """
        files.sync_tree(self.model)
        if self.target.exists():
            raise FileExistsError(f"{self.target} exists already.")
        os.rename(self.model, self.target)
        files.sync(self.path.parent)
        self.discard()

    def discard(self) -> None:
        """Deletes it, or what publishing left of it."""
        doomed = self.path.with_name(f"{files.TEMPORARY}{self.path.name}")  # swept, should this be interrupted
        shutil.rmtree(doomed, ignore_errors=True)  # of one that wasn't swept yet
        with contextlib.suppress(FileNotFoundError):
            self.path.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)


@contextlib.contextmanager
def staging(base: pathlib.Path, version: int) -> Iterator[pathlib.Path]:
    """A directory for the export; with what `keep_calls` adds it is staged when the block ends without an error."""
    with files.publishing(_path(base, version)) as temporary:
        model = temporary / _MODEL
        model.mkdir()
        model.chmod(0o755)  # whatever this process's umask is, a server has to read it
        yield model


def keep_calls(model: pathlib.Path, calls: Iterable[Call], progress: Progress) -> None:
    """Writes what proves an export beside it."""
    index: list[tuple] = []
    arrays: dict[str, np.ndarray] = {}

    def add(values: Arrays) -> list[tuple[str, str, str]]:
        added = []
        for name, value in values.items():
            tensor = tf.constant(value)
            arrays[f"array{len(arrays)}"] = np.frombuffer(tf.io.serialize_tensor(tensor).numpy(), np.uint8)
            added.append((name, f"array{len(arrays) - 1}", tensor.dtype.name))
        return added

    for call in calls:
        index.append((call.signature, add(call.inputs), add(call.answers)))
    arrays[_INDEX] = np.frombuffer(json.dumps(index).encode(), np.uint8)
    np.savez(model.with_name(_CALLS), **arrays)  # type: ignore[arg-type]
    files.write_json(model.with_name(_PROGRESS), [dict(values) for values in progress])


def list_staged(base: pathlib.Path) -> list[Staged]:
    """The exports in `base` that wait to be proven, by version; the remains of published ones are deleted."""
    base = pathlib.Path(base)
    if not base.is_dir():
        return []
    found = []
    for path in base.glob(f"{_PREFIX}*"):
        number = re.fullmatch(rf"{re.escape(_PREFIX)}(\d+)", path.name)
        if number:
            staged = Staged(path, int(number[1]))
            if staged.model.is_dir():
                found.append(staged)
            else:
                staged.discard()
    return sorted(found, key=lambda staged: staged.version)


def staged(base: pathlib.Path, version: int) -> Staged:
    """The export of that version, which `staging` has left."""
    return Staged(_path(base, version), version)


def _path(base: pathlib.Path, version: int) -> pathlib.Path:
    return pathlib.Path(base) / f"{_PREFIX}{version}"


def _parsed(data: np.ndarray, dtype: str) -> np.ndarray:
    return tf.io.parse_tensor(data.tobytes(), dtype).numpy()
