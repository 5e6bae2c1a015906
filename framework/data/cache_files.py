"""Arrays of a cache as files: written aside, checked when they are opened, mapped into memory and not read into it.

A cache is a directory with a `.npy` file for each array, and `cache.json`, which says what they are.
"""

from __future__ import annotations

import pathlib
import shutil
from collections.abc import Callable, Mapping
from typing import Any

import filelock
import google_crc32c
import numpy as np
from absl import logging

from framework import files

_SIDECAR = "cache.json"
_BLOCK = 1 << 24  # bytes of which a checksum is taken at a time

Arrays = dict[str, np.ndarray]
Layout = Mapping[str, tuple[tuple[int, ...], np.dtype]]


def load_or_make(path: pathlib.Path, layout: Layout, make: Callable[[Arrays], Any]) -> tuple[Arrays, Any]:
    """The arrays of a cache, which is made if there is none. One process at a time comes in here.

    A cache that isn't what was written is named in the log and made again.

    Args:
        path: Its directory.
        layout: `{name: (shape, dtype)}` of its arrays.
        make: Fills arrays, and returns a note to go with them, of plain values.

    Returns:
        The arrays by name, read-only, and the note.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(path.with_name(f"{path.name}.lock")):
        if not _is_whole(path, layout):
            _write(path, layout, make)
        sidecar = files.read_json(path / _SIDECAR)
        return {name: _map(path, sidecar, name) for name in layout}, sidecar["note"]


def _write(path: pathlib.Path, layout: Layout, make: Callable[[Arrays], Any]) -> None:
    for leftover in path.parent.glob(f"{files.TEMPORARY}{path.name}-*"):  # of a process that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    with files.publishing(path) as temporary:
        arrays: Arrays = {
            name: np.lib.format.open_memmap(temporary / f"{number}.npy", mode="w+", dtype=dtype, shape=shape)
            for number, (name, (shape, dtype)) in enumerate(layout.items())
        }
        note = make(arrays)
        described = {
            name: {"file": f"{number}.npy", "crc32c": _checksum(array)}
            for number, (name, array) in enumerate(arrays.items())
        }
        del arrays  # which writes them
        files.write_json(temporary / _SIDECAR, {"arrays": described, "note": note})


def _is_whole(path: pathlib.Path, layout: Layout) -> bool:
    """Whether there is a cache with these arrays; what is there and isn't one is taken away."""
    if not path.exists():
        return False
    try:
        sidecar = files.read_json(path / _SIDECAR)
        for name, (shape, dtype) in layout.items():
            array = _map(path, sidecar, name)
            if (array.shape, array.dtype) != (shape, dtype):
                raise ValueError(f"{name} is {array.dtype}{array.shape}, expected {dtype}{shape}.")
            if _checksum(array) != sidecar["arrays"][name]["crc32c"]:
                raise ValueError(f"{name} hasn't the checksum with which it was written.")
    except (OSError, ValueError, KeyError) as error:
        logging.warning("The cache %s is damaged and is made again: %s", path, error)
        shutil.rmtree(path)
        return False
    return True


def _map(path: pathlib.Path, sidecar: Mapping[str, Any], name: str) -> np.ndarray:
    return np.load(path / sidecar["arrays"][name]["file"], mmap_mode="r", allow_pickle=False)


def _checksum(array: np.ndarray) -> int:
    """CRC32C of an array's bytes."""
    data = array.reshape(-1).view(np.uint8)
    checksum = 0
    for first in range(0, len(data), _BLOCK):
        checksum = google_crc32c.extend(checksum, data[first : first + _BLOCK].tobytes())
    return checksum
