"""Files and directories that exist under their final name only when they are whole."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

TEMPORARY = ".tmp-"


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A temporary path beside `path`, which takes its place (fsynced) when the block ends without an error."""
    path = pathlib.Path(path)
    with _speaking_of(path):
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{TEMPORARY}{path.name}-")
    os.close(handle)
    temporary = pathlib.Path(name)
    try:
        yield temporary
        os.chmod(temporary, 0o644)  # mkstemp's 600 would lock out everyone else
        sync(temporary)
        os.replace(temporary, path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def publishing(directory: pathlib.Path) -> Iterator[pathlib.Path]:
    """A temporary directory beside `directory`, renamed to it (all fsynced) when the block ends without an error.

    Raises:
        FileExistsError: `directory` is there already; nothing is overwritten.
    """
    directory = pathlib.Path(directory)
    directory.parent.mkdir(parents=True, exist_ok=True)
    with _speaking_of(directory):
        temporary = pathlib.Path(tempfile.mkdtemp(dir=directory.parent, prefix=f"{TEMPORARY}{directory.name}-"))
    try:
        yield temporary
        os.chmod(temporary, 0o755)  # mkdtemp's 700 would lock a server out
        sync_tree(temporary)
        if directory.exists():
            raise FileExistsError(f"{directory} exists already.")
        os.rename(temporary, directory)
        sync(directory.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def _speaking_of(path: pathlib.Path) -> Iterator[None]:
    """Names in an error what was to be written, and not what it would be called until then."""
    try:
        yield
    except OSError as error:
        error.filename = str(path)
        raise


def sync(path: pathlib.Path) -> None:
    """Flushes a file or directory to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(directory: pathlib.Path) -> None:
    """Flushes a directory and all that is in it to the disk."""
    for parent, _, names in os.walk(directory):
        for name in names:
            sync(pathlib.Path(parent, name))
        sync(pathlib.Path(parent))


def sweep(directory: pathlib.Path) -> None:
    """Removes what an interrupted writer left behind."""
    for leftover in pathlib.Path(directory).glob(f"{TEMPORARY}*"):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def write_json(path: pathlib.Path, value: Any) -> None:
    """Writes `value` as readable JSON, atomically."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, sort_keys=False, allow_nan=True) + "\n", encoding="utf-8")


def read_json(path: pathlib.Path) -> Any:
    """Reads JSON.

    Raises:
        ValueError: The file isn't JSON; the message names it.
    """
    try:
        return json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} isn't valid JSON: {error}") from error
