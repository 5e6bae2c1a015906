"""Promoting a version and rolling back, by a person.

TensorFlow Serving serves the highest integer in a directory. Promoting version 3 publishes it once more under a number
that is higher than all others, 1000000 and up, as links to the same files. Exports that training makes go on counting
below: a later best is published as ever, `best.json` points to it, but it isn't served before the promotion is taken
back. Nothing is reloaded meanwhile, nothing deletes a promoted version, and version 3 itself may go.

Rolling back undoes the last change of what is served: a promotion is withdrawn, so that the one before it is served
again, or the newest version that training has made meanwhile; where nothing is promoted, the version before the newest.
"""

from __future__ import annotations

import datetime
import os
import pathlib
import shutil

from framework import files
from framework.export.versions import (
    MANIFEST,
    PROMOTED_FROM,
    PROMOTION,
    delete_version,
    list_versions,
    locked,
    point_to_latest,
    promoted_versions,
    read_manifest,
)


def promote(base: str | os.PathLike, version: int, *, at: datetime.datetime | None = None) -> int:
    """Makes a version the one that is served, until it is rolled back or another one is promoted.

    Args:
        base: The export directory.
        version: One of its versions; of a promoted one, what it was promoted from. What is promoted and served already
            stays as it is.
        at: The time that is recorded; by default now.

    Returns:
        The number under which it is served.

    Raises:
        LookupError: There is no such version.
        FileNotFoundError: It has no manifest: it isn't an export of this framework.
    """
    base = pathlib.Path(base)
    _require(base, version)  # before anything is written into a directory that may be another than was meant
    with locked(base):
        _require(base, version)  # training may have deleted it meanwhile
        return _promote(base, version, at)


def _require(base: pathlib.Path, version: int) -> None:
    versions = list_versions(base)
    if version not in versions:
        raise LookupError(f"{base} has no version {version}; it has {_listed(versions)}.")


def _promote(base: pathlib.Path, version: int, at: datetime.datetime | None) -> int:
    manifest = read_manifest(base / str(version))
    promoted = promoted_versions(base)
    origin = manifest.get(PROMOTION, {}).get("from", version)
    served = max(promoted, default=None)
    if served is not None and promoted[served] == origin:
        point_to_latest(base, served)  # should the process that promoted it have died over that
        return served
    promotion = {"from": origin, "at": (at or datetime.datetime.now(datetime.UTC)).isoformat(timespec="seconds")}
    number = (list_versions(base)[-1] // PROMOTED_FROM + 1) * PROMOTED_FROM if served is None else served + 1
    with files.publishing(base / str(number)) as temporary:
        _link_tree(base / str(version), temporary)
        # Replaces the link, not the other version's file.
        files.write_json(temporary / MANIFEST, {**manifest, "version": number, PROMOTION: promotion})
    point_to_latest(base, number)
    return number


def roll_back(base: str | os.PathLike) -> int:
    """Undoes the last change of what is served.

    Returns:
        The version that is served now.

    Raises:
        LookupError: There is nothing to go back to.
    """
    base = pathlib.Path(base)
    _two_newest(base)  # before anything is written into a directory that may be another than was meant
    with locked(base):
        before, served = _two_newest(base)
        if served not in promoted_versions(base):
            return _promote(base, before, None)
        point_to_latest(base, before)
        delete_version(base, served)
    return before


def _two_newest(base: pathlib.Path) -> list[int]:
    versions = list_versions(base)
    if len(versions) < 2:
        raise LookupError(
            f"There is nothing to go back to in {base}: it has {_listed(versions)}. Exports(keep=3) keeps the three "
            "newest versions beside the best."
        )
    return versions[-2:]


def _link_tree(source: pathlib.Path, target: pathlib.Path) -> None:
    """The same files under other names; published files are never changed, so that they can be shared."""

    def link(name: str, other: str) -> None:
        try:
            os.link(name, other)
        except OSError:  # a file system without links
            shutil.copy2(name, other)

    shutil.copytree(source, target, copy_function=link, dirs_exist_ok=True)


def _listed(versions: list[int]) -> str:
    return ", ".join(map(str, versions)) or "no version"
