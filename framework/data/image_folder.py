"""Folders of image files, one for each class: which files there are, whether they are images, and their splits."""

from __future__ import annotations

import collections
import os
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from absl import logging

from framework.data.bad_examples import BadExampleError
from framework.data.file_source import FileSource, listed, look_at, printable
from framework.data.phases import PHASES, TEST, TRAIN, VALIDATION
from framework.data.splits import stratified_split
from framework.data.tables.folders import is_folder, own_splits
from framework.media import DECODABLE, exif_orientation, image_kind

LAYOUT = "<folder>/<class>/*.jpg, or <folder>/{train,validation,test}/<class>/*.jpg"

# What operating systems leave in folders.
_IGNORED = ("thumbs.db", "desktop.ini")
_IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".jxl")
_HEAD = 1024  # bytes


class ImageFolder:
    """Image files and their classes, divided into splits.

    Each folder is a class; files in its own folders are its too, links are followed, hidden files and folders aren't
    there. Where the folder has no folders for splits, these are drawn at random, every class by the shares. Files with
    the same content come into the same split.

    Args:
        path: See `LAYOUT`.
        validation: The share to split off where there is no folder for it; 0 for none.
        test: The same.
        seed: Of random splits.
        must_be_images: Whether files that aren't images, are empty or can't be read are refused here. With `False` they
            are found when they are decoded, as other bad examples are.

    Attributes:
        class_names: Those of the training split's folders, sorted.
        source: All files, with their class ids as labels.
        splits: `{phase: indices}` into the source.

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: The folder isn't laid out like that, a class has no file, there is only one class, a class is only
            in another split than the training split, or the shares leave a split without an image.
        BadExampleError: Files aren't images.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        validation: float = 0.15,
        test: float = 0.15,
        seed: int = 0,
        must_be_images: bool = True,
    ):
        self.path = os.path.abspath(os.path.expanduser(os.fspath(path)))
        if not is_folder(self.path):
            raise FileNotFoundError(f"There is no folder {self.path}. Expected {LAYOUT}.")
        parts = dict(zip(PHASES, own_splits(self.path, validation, test), strict=True))
        folders = {phase: folder for phase, folder in parts.items() if isinstance(folder, str)}
        shares = {phase: share for phase, share in parts.items() if phase not in folders and share}
        files = {phase: _files_by_class(folder) for phase, folder in folders.items()}
        self.class_names = _check_classes(files, folders)
        ids = {name: number for number, name in enumerate(self.class_names)}
        rows = [(path, ids[name], phase) for phase in files for name in files[phase] for path in files[phase][name]]
        paths, labels, phases = zip(*rows, strict=True)
        self.source = FileSource({"image": paths}, np.array(labels, np.int64), root=self.path, must_exist=False)
        self._check_files(must_be_images)
        # Which image each file is: copies are one.
        self._images = np.unique(self.source.contents, return_inverse=True)[1]
        phase_of = np.array(phases)
        self.splits = {phase: np.flatnonzero(phase_of == phase) for phase in folders}
        if shares:
            self._divide(shares, seed)
        self._tell_copies()

    def _check_files(self, must_be_images: bool) -> None:
        """Looks at how every file begins."""
        paths = self.source.paths("image")
        looked = list(zip(paths, look_at(paths, _look), strict=True))
        turned = [os.path.relpath(path, self.path) for path, (_, is_upright) in looked if not is_upright]
        if turned:
            logging.warning(
                "%d of %d photographs lie in their files otherwise than they are shown (EXIF orientation), such as %s. "
                "They are decoded as they lie, here and from the bytes that clients send; pixels that a client has "
                "turned upright are other images. Turn the files (exiftran -ai, mogrify -auto-orient), or don't turn "
                "what clients send.",
                len(turned),
                len(paths),
                listed(turned),
            )
        faults = [(path, fault) for path, (fault, _) in looked if fault]
        if faults and must_be_images:
            counts = collections.Counter(fault for _, fault in faults).most_common()
            raise BadExampleError(
                f"{len(faults)} of the {len(paths)} files in {printable(self.path)} can't be used: "
                + ", ".join(f"{count} {fault}" for fault, count in counts)
                + f". They are {listed([os.path.relpath(path, self.path) for path, _ in faults])}. Expected are "
                f"{', '.join(DECODABLE)} files. Take the others away or convert them, or leave them out with "
                "on_error='skip'."
            )

    def _divide(self, shares: Mapping[str, float], seed: int) -> None:
        """Splits parts of the training split off."""
        if not all(0 <= share < 1 for share in shares.values()) or sum(shares.values()) >= 1:
            raise ValueError(f"validation and test are shares whose sum is below 1, got {dict(shares)}.")
        whole = self.splits[TRAIN]
        # Copies aren't divided, or the model would be tested on what it has seen.
        _, first, image = np.unique(self._images[whole], return_index=True, return_inverse=True)
        parts = stratified_split(
            self.source.labels[whole][first], {TRAIN: 1.0 - sum(shares.values()), **shares}, seed=seed
        )
        self.splits |= {phase: whole[np.isin(image, images)] for phase, images in parts.items()}

    def _tell_copies(self) -> None:
        """Logs which images have copies in another split or class: a person will want to know."""
        copies = np.flatnonzero(np.bincount(self._images)[self._images] > 1)
        phase_of = {int(index): phase for phase, indices in self.splits.items() for index in indices}
        groups: dict[int, list[int]] = collections.defaultdict(list)
        for index in copies.tolist():
            groups[self._images[index]].append(index)
        for what, key in (("split", phase_of), ("class", self.source.labels)):
            apart = [group for group in groups.values() if len({key[index] for index in group}) > 1]
            if apart:
                places = " and ".join(self.source.place(index) for index in apart[0])
                logging.warning("%d images have a copy in another %s, such as %s.", len(apart), what, places)


def _files_by_class(folder: str) -> dict[str, list[str]]:
    """`{class: paths}`, both sorted."""
    entries = _entries(folder)
    classes = [entry.name for entry in entries if entry.is_dir()]
    loose = [entry.name for entry in entries if entry.name.lower().endswith(_IMAGE_ENDINGS) and not entry.is_dir()]
    if not classes or loose:
        found = f"{len(loose)} images of no class: {listed(loose)}" if loose else "no folder"
        raise ValueError(f"Expected a folder for each class in {printable(folder)}, {LAYOUT}; found {found}.")
    unreadable = [name for name in classes if printable(name) != name]
    if unreadable:
        raise ValueError(
            f"Names of classes must be UTF-8, got {listed(unreadable)} in {printable(folder)}. Rename them."
        )
    files = {name: list(_walk(os.path.join(folder, name), ())) for name in classes}
    empty = [name for name in classes if not files[name]]
    if empty:
        raise ValueError(
            f"The class folders {listed(empty)} in {printable(folder)} have no files. Take them away, or fill them."
        )
    return files


def _walk(folder: str, above: tuple[tuple[int, int], ...]) -> Iterator[str]:
    """All files below, sorted; a link that leads to a folder above it isn't followed."""
    status = os.stat(folder)
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    for entry in _entries(folder):
        if entry.is_dir():
            yield from _walk(entry.path, (*above, here))
        else:
            yield entry.path


def _entries(folder: str) -> list[os.DirEntry]:
    """What is in a folder and isn't hidden, sorted."""
    with os.scandir(folder) as entries:
        shown = [entry for entry in entries if not entry.name.startswith(".") and entry.name.lower() not in _IGNORED]
    return sorted(shown, key=lambda entry: entry.name)


def _check_classes(files: Mapping[str, Mapping[str, Sequence[str]]], folders: Mapping[str, str]) -> list[str]:
    """The names of the training split's classes."""
    names = list(files[TRAIN])
    if len(names) < 2:
        raise ValueError(
            f"There is only one class in {printable(folders[TRAIN])}, {names[0]!r}; nothing can be told apart. "
            f"Expected {LAYOUT}."
        )
    for phase in (VALIDATION, TEST):
        unknown = sorted(set(files.get(phase, ())) - set(names))
        if unknown:
            raise ValueError(
                f"The classes {unknown} are in the {phase} split and not in the training split, which has {names}."
            )
    return names


def _look(path: str) -> tuple[str | None, bool]:
    """Why a file can't be an image, which follows the words "files, that ...", and whether it is an upright one."""
    try:
        with open(path, "rb", buffering=0) as file:
            head = file.read(_HEAD)
    except OSError as error:
        return f"unreadable ({error.strerror})", True
    if not head:
        return "empty", True
    kind = image_kind(head)
    if kind in DECODABLE:
        return None, kind != "JPEG" or exif_orientation(head) == 1
    return "no images" if kind is None else f"of a format that can't be decoded ({kind})", True
