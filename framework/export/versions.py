"""What lies in an export directory: `<base>/<integer>/`, each with its manifest, and the pointers to them.

    export/7/              the best so far
    export/1000000/        version 3, promoted by a person
    export/best.json       {"version": 7, ...}: the best by the objective
    export/latest.json     {"version": 1000000, ...}: what TensorFlow Serving serves, the highest integer
    export/refused.json    what a policy didn't let through, and why

The pointers are for whoever can't list directories or follow links, such as clients of an object store. They are
written after what they point to is there, and before what they no longer point to is deleted. As in a manifest, numbers
that JSON hasn't are text.
"""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import filelock

from framework import files
from framework.export.plain_json import plain_json
from framework.tasks.objective import Objective

MANIFEST = "manifest.json"
BEST = "best.json"
LATEST = "latest.json"
REFUSED = "refused.json"
PROMOTION = "promotion"
# Promoted versions are counted from the next multiple of this above the others.
PROMOTED_FROM = 1_000_000
_LOCK = ".lock"
# Where files can't be linked, promoting copies a model.
_LOCK_SECS = 600


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


@contextlib.contextmanager
def locked(base: pathlib.Path) -> Iterator[None]:
    """Keeps others from changing which versions there are: training publishes while a person promotes.

    Raises:
        filelock.Timeout: Somebody else has the lock for ten minutes.
    """
    base = pathlib.Path(base)
    base.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(base / _LOCK, timeout=_LOCK_SECS):
        yield


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


def find_manifest(base: pathlib.Path, version: int) -> dict[str, Any]:
    """The manifest of a version; empty where it is somebody else's SavedModel."""
    try:
        return read_manifest(pathlib.Path(base, str(version)))
    except FileNotFoundError:
        return {}


def promoted_versions(base: pathlib.Path) -> dict[int, int]:
    """What a person put before all others, `{version: promoted from}`, ascending; the last one is served."""
    high = (version for version in list_versions(base) if version >= PROMOTED_FROM)
    promotions = ((version, find_manifest(base, version).get(PROMOTION)) for version in high)
    return {version: promotion["from"] for version, promotion in promotions if promotion}


def next_version(base: pathlib.Path) -> int:
    """What the next export is called: one more than the newest that training made.

    A version that was promoted and deleted counts: a promotion says which one it is of.
    """
    promoted = promoted_versions(base)
    return max({*list_versions(base), *promoted.values()} - promoted.keys(), default=0) + 1


def best_record(base: pathlib.Path, objective: Objective) -> Record | None:
    """The best version by the manifests themselves, so that a crash between two writes can't lose or demote it.

    Promoted versions are copies of others and don't count.
    """
    best, best_value = None, None
    for version in list_versions(base):
        manifest = find_manifest(base, version)
        if not manifest or manifest.get(PROMOTION):
            continue
        metrics = {name: float(value) for name, value in manifest["metrics"].items()}
        value = metrics.get(objective.monitor)
        if value is not None and objective.improved(value, best_value):
            best_value = value
            best = Record(version, manifest["epoch"], manifest["step"], metrics)
    return best


def write_pointers(base: pathlib.Path, best: Record | None) -> None:
    """Writes `best.json` and `latest.json`; where there is nothing to point to, nothing."""
    base = pathlib.Path(base)
    if best is not None:
        _write_if_other(base / BEST, plain_json(dataclasses.asdict(best)))
    versions = list_versions(base)
    if versions:
        point_to_latest(base, versions[-1])


def read_pointer(base: pathlib.Path, name: str) -> int | None:
    """The version that `best.json` or `latest.json` points to; `None` where there is none."""
    path = pathlib.Path(base, name)
    return int(files.read_json(path)["version"]) if path.exists() else None


def point_to_latest(base: pathlib.Path, version: int) -> None:
    """Says which version is served, or will be when the higher ones are gone."""
    promotion = find_manifest(base, version).get(PROMOTION)
    _write_if_other(pathlib.Path(base, LATEST), {"version": version, "promoted_from": promotion and promotion["from"]})


def _write_if_other(path: pathlib.Path, value: Mapping[str, Any]) -> None:
    # A reader's cache, or an object store's client, needn't fetch it again for nothing.
    try:
        same = path.exists() and files.read_json(path) == value
    except ValueError:
        same = False
    if not same:
        files.write_json(path, value)


def prune(base: pathlib.Path, *, keep: int | None, best: int | None) -> list[int]:
    """Deletes the oldest versions beyond the `keep` newest, never the best nor a promoted one.

    Args:
        base: The export directory.
        keep: How many of the newest stay; 0 leaves the best alone, `None` deletes nothing.
        best: The version of the best record.

    Returns:
        The versions deleted.
    """
    if keep is None:
        return []
    promoted = promoted_versions(base)
    versions = [version for version in list_versions(base) if version not in promoted]
    stay = {best, *versions[len(versions) - min(keep, len(versions)) :]}
    gone = [version for version in versions if version not in stay]
    for version in gone:
        delete_version(base, version)
    return gone


def delete_version(base: pathlib.Path, version: int) -> None:
    """Takes a version out of the servers' sight, then deletes it: what they see is whole."""
    doomed = pathlib.Path(base, f"{files.TEMPORARY}deleted-{version}")
    shutil.rmtree(doomed, ignore_errors=True)  # should an earlier deletion of this number have been interrupted
    pathlib.Path(base, str(version)).rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def record_refusal(base: pathlib.Path, epoch: int, step: int, metrics: Mapping[str, float], why: Sequence[str]) -> None:
    """Adds a candidate that a policy refused to `refused.json`; one that is there already is the same."""
    path = pathlib.Path(base, REFUSED)
    refused = files.read_json(path) if path.exists() else []
    if not any((entry["epoch"], entry["step"]) == (epoch, step) for entry in refused):
        entry = plain_json({"epoch": epoch, "step": step, "metrics": metrics, "reasons": why})
        files.write_json(path, [*refused, entry])
