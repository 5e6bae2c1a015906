"""Which SavedModel a path means."""

from __future__ import annotations

import os
import pathlib
import re

from framework import files
from framework.export.versions import BEST, promoted_versions

SAVED_MODEL = "saved_model.pb"
_LARGEST = 2**63 - 1


def find_export(path: str | os.PathLike) -> pathlib.Path:
    """The SavedModel at `path`: itself, one of the versions in it, or of those of the run that it is.

    Of versions it is the one that a person promoted, which is served too; else the best, which `best.json` names; where
    there is none, or its version is gone, the newest.

    Args:
        path: A SavedModel, a directory of versions, or a run directory.

    Raises:
        FileNotFoundError: There is no SavedModel in any of these places.
    """
    path = pathlib.Path(path).expanduser()
    for base in (path, path / "export"):
        if (base / SAVED_MODEL).is_file():
            return base
        versions = {
            version: directory
            for version, directory in version_directories(base).items()
            if (directory / SAVED_MODEL).is_file()
        }
        if versions:
            promoted = max(versions.keys() & promoted_versions(base), default=None)
            return versions.get(best_version(base) if promoted is None else promoted, versions[max(versions)])
    raise FileNotFoundError(
        f"There is no SavedModel in {path}: expected {SAVED_MODEL}, versions such as {path / '1'}, or a run's "
        f"{path / 'export'}."
    )


def versions_base(path: str | os.PathLike) -> pathlib.Path:
    """Where to watch for versions: `path` itself, or `export` in it where it is a run directory.

    A run that has just begun has no version yet. A SavedModel is its own, only version.
    """
    path = pathlib.Path(path).expanduser()
    if (path / SAVED_MODEL).is_file() or version_directories(path):
        return path
    is_run = (path / "export").is_dir() or (path / "config.json").is_file()
    return path / "export" if is_run else path


def version_directories(base: pathlib.Path) -> dict[int, pathlib.Path]:
    """`{version: path}` of every child whose name is an integer, ascending: what TensorFlow Serving would take.

    It doesn't look inside, so `00000123` counts, and what isn't a SavedModel too.

    Raises:
        OSError: The directory can't be read, other than for not being there.
    """
    try:
        children = sorted(os.listdir(base))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    found = {int(name): base / name for name in children if re.fullmatch(r"[0-9]+", name)}
    return {version: found[version] for version in sorted(found) if version <= _LARGEST}


def best_version(base: pathlib.Path) -> int:
    """The version that `best.json` names; -1, which none has, where it can't be told."""
    try:
        return int(files.read_json(base / BEST)["version"])
    except (OSError, ValueError, TypeError, KeyError):
        return -1
