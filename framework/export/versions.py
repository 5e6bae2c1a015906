"""What lies in an export directory: `<base>/<integer>/`, each with its manifest, and the pointer to the best."""

from __future__ import annotations

import dataclasses
import pathlib
import shutil
from typing import Any

from framework import files
from framework.tasks.objective import Objective

MANIFEST = "manifest.json"
BEST = "best.json"


@dataclasses.dataclass(frozen=True)
class Record:
    """The best so far.

    Attributes:
        version: Its export, `<base>/<version>`.
        epoch: Counted from 0.
        step: Optimizer steps taken.
        metrics: The epoch's logs.
    """

    version: int
    epoch: int
    step: int
    metrics: dict[str, float]


def list_versions(base: pathlib.Path) -> list[int]:
    """Published versions, ascending. What isn't an integer isn't a version, as TensorFlow Serving sees it too."""
    base = pathlib.Path(base)
    if not base.is_dir():
        return []
    names = (child.name for child in base.iterdir() if child.is_dir())
    # Python takes "007" and other scripts' digits for integers too; no version of ours is called so.
    return sorted(int(name) for name in names if name.isdecimal() and name == str(int(name)))


def read_manifest(export_dir: pathlib.Path) -> dict[str, Any]:
    """The manifest of one version.

    Raises:
        FileNotFoundError: There is none.
    """
    path = pathlib.Path(export_dir) / MANIFEST
    if not path.exists():
        raise FileNotFoundError(f"{path} doesn't exist: {export_dir} isn't an export of this framework.")
    return files.read_json(path)


def best_record(base: pathlib.Path, objective: Objective) -> Record | None:
    """The best version by the manifests themselves, so that a crash between two writes can't lose or demote it."""
    best, best_value = None, None
    for version in list_versions(base):
        try:
            manifest = read_manifest(pathlib.Path(base, str(version)))
        except FileNotFoundError:
            continue  # somebody else's SavedModel
        value = manifest["metrics"].get(objective.monitor)
        if value is not None and objective.improved(value, best_value):
            best_value = value
            best = Record(version, manifest["epoch"], manifest["step"], manifest["metrics"])
    return best


def prune(base: pathlib.Path, *, keep: int | None, best: int | None) -> list[int]:
    """Deletes the oldest versions beyond the `keep` newest, never the best.

    Args:
        base: The export directory.
        keep: How many of the newest stay; 0 leaves the best alone, `None` deletes nothing.
        best: The version of the best record.

    Returns:
        The versions deleted.
    """
    if keep is None:
        return []
    versions = list_versions(base)
    stay = {best, *versions[len(versions) - min(keep, len(versions)) :]}
    gone = [version for version in versions if version not in stay]
    for version in gone:
        # Out of the servers' sight first: what they see is whole.
        doomed = pathlib.Path(base, f"{files.TEMPORARY}deleted-{version}")
        pathlib.Path(base, str(version)).rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)
    return gone
