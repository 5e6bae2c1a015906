"""Folders of text files as tables: a file is a row, its folder the label."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from framework.data.phases import SPLIT_NAMES, TEST, TRAIN, VALIDATION
from framework.data.tables.blocks import Block, Table, in_blocks
from framework.data.tables.reading import open_tables
from framework.data.tables.text_files import Reading

TEXT, LABEL = "text", "label"
_SUFFIX = ".txt"


class FolderTable(Table):
    """`folder/<class>/*.txt`, with the columns `text` and `label`. Files in folders of a class' folder are its too.

    Args:
        folder: Its folders are the classes. What is hidden, and what is in hidden folders, doesn't count.
        reading: How text files are to be read.

    Raises:
        ValueError: It has no folder, or these have no text file.
    """

    unit = "file"

    def __init__(self, folder: str, reading: Reading):
        self.place = folder
        self.names = [TEXT, LABEL]
        self._reading = reading
        classes = sorted(
            entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith(".")
        )
        if not classes:
            raise ValueError(f"{folder} has no folder for each class, with *{_SUFFIX} files in it.")
        self._files = [
            (os.path.relpath(os.path.join(parent, name), folder), label)
            for label in classes
            for parent, _, names in sorted(os.walk(os.path.join(folder, label)))
            for name in sorted(names)
            if name.lower().endswith(_SUFFIX) and not _is_hidden(os.path.relpath(os.path.join(parent, name), folder))
        ]
        without = sorted(set(classes) - {label for _, label in self._files})
        if without:
            raise ValueError(
                f"The folders {without} of {folder} have no *{_SUFFIX} file. Take them away, or fill them."
            )

    def blocks(self) -> Iterator[Block]:
        for block in in_blocks(enumerate(self._files)):
            texts = [self._read(path) for _, (path, _) in block]
            labels = [label for _, (_, label) in block]
            yield Block({TEXT: texts, LABEL: labels}, [number for number, _ in block])

    def where(self, row: int) -> str:
        return os.path.join(self.place, self._files[row][0])

    def _read(self, path: str) -> str:
        path = os.path.join(self.place, path)
        with self._reading.lines(path) as file:
            return file.read()


def _is_hidden(path: str) -> bool:
    return any(part.startswith(".") for part in path.split(os.sep))


def own_splits(path: Any, validation: Any, test: Any) -> tuple[Any, Any, Any]:
    """Training, validation and test of a folder that has one for each, `train/<class>/*.txt` and so on.

    Args:
        path: A folder, or anything else, which has no splits of its own.
        validation: What is otherwise for validation: a folder's own splits come before a share.
        test: The same.

    Raises:
        ValueError: There are folders of splits and others beside them, or two that may be the same split.
    """
    if not is_folder(path):
        return path, validation, test
    path = os.path.expanduser(os.fspath(path))
    there = {entry.name.lower(): entry.path for entry in os.scandir(path) if entry.is_dir()}
    found = {phase: [name for name in names if name in there] for phase, names in SPLIT_NAMES.items()}
    if not found[TRAIN]:
        return path, validation, test
    for phase, names in found.items():
        if len(names) > 1:
            raise ValueError(f"{path} has the folders {names}, either of which may be the {phase} split. Leave one.")
    splits = {phase: there.pop(names[0]) for phase, names in found.items() if names}
    others = sorted(name for name in there if not name.startswith("."))
    if others:
        raise ValueError(
            f"{path} has the splits {sorted(splits)}, and beside them the folders {others}. Take these away, or give "
            f"{splits[TRAIN]} as the path."
        )
    validation, test = (
        splits.get(phase, given) if given is None or isinstance(given, (int, float)) else given
        for phase, given in ((VALIDATION, validation), (TEST, test))
    )
    return splits[TRAIN], validation, test


def open_texts(data: Any, reading: Reading) -> list[Table]:
    """A folder as a table, or what `open_tables` opens."""
    return (
        [FolderTable(os.path.expanduser(os.fspath(data)), reading)] if is_folder(data) else open_tables(data, reading)
    )


def is_folder(data: Any) -> bool:
    """Whether it is the path of a folder."""
    return isinstance(data, (str, os.PathLike)) and os.path.isdir(os.path.expanduser(os.fspath(data)))
