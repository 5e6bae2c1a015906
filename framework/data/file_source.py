"""Examples whose features lie in files of their own: images in folders, recordings named by a table's column."""

from __future__ import annotations

import concurrent.futures
import functools
import hashlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf

from framework.data.random import without_autograph
from framework.data.sources import ArraySource, Example, Source

# Looking at a file is mostly waiting, the longer the farther away it lies; Python's part is done in one thread anyway.
_THREADS = 16
_CHUNK = 256
# Files that are listed in a message.
_LISTED = 5
# Bytes from the middle of a file by which it is known again. Its beginning is often the same in all files of a format.
_SAMPLE = 1024

Looked = TypeVar("Looked")


class FileSource(Source):
    """Examples some features of which are the contents of files, read when they are asked for.

    Only paths, labels and the other features are kept in memory. A file's content reaches the pipeline as it is, as a
    string: declare such a feature as encoded media, such as `framework.Image`, or make something of it in `preprocess`.

        FileSource({"image": ["cats/1.jpg", "dogs/1.jpg"]}, [0, 1], root="photos")

    Args:
        features: `{name: [examples, ...]}`; of those in `files` the paths `[examples]`, text, bytes or `os.PathLike`.
        labels: `[examples, ...]`, or a dict of them for several heads.
        weights: `[examples]`, non-negative.
        files: The features that are paths.
        root: What paths are relative to. By default the folder that all files have in common.
        must_exist: Whether missing files are refused here. With `False` they are found when they are read, as other
            bad examples are.

    Attributes:
        root: Absolute.
        labels: As given, as arrays.

    Raises:
        ValueError: There are no examples, the first axes differ, or `files` names a feature that isn't there or whose
            values aren't paths `[examples]`.
        FileNotFoundError: Files are missing; the message names the first of them.
    """

    def __init__(
        self,
        features: Mapping[str, Any],
        labels: Any,
        weights: Any = None,
        *,
        files: Sequence[str] = ("image",),
        root: str | os.PathLike[str] | None = None,
        must_exist: bool = True,
    ):
        self.files = tuple(files)
        unknown = [name for name in self.files if name not in features]
        if unknown or not self.files:
            raise ValueError(f"files={self.files} must name features that are paths, among {sorted(features)}.")
        folder = os.path.abspath("." if root is None else root)
        paths = {name: _absolute(features[name], folder, name) for name in self.files}
        self.root = _common_folder(itertools.chain(*paths.values())) if root is None else folder
        relative = {name: _relative(values, self.root) for name, values in paths.items()}
        # Checks the arrays and holds them as tensors, the paths among them: a million of these should be there once.
        self._rows = ArraySource({**features, **relative}, labels, weights)
        self.labels = self._rows.arrays.labels
        self.num_examples = self._rows.num_examples
        self.spec = self._rows.spec
        if must_exist:
            self._check_existence()

    @property
    def random_access(self) -> bool:
        return True

    @without_autograph
    def gather(self, indices: tf.Tensor) -> Example:
        rows = self._rows.gather(indices)
        read = {
            name: read_files(tf.strings.join([os.fsencode(self.root), b"/", rows.features[name]]))
            for name in self.files
        }
        return rows._replace(features={**rows.features, **read})

    def paths(self, name: str) -> list[str]:
        """The absolute paths of a feature's files, by example."""
        return [os.path.join(self.root, os.fsdecode(path)) for path in self._rows.arrays.features[name]]

    def place(self, index: int) -> str:
        # A name needn't be UTF-8, a message must be.
        return self._rows.arrays.features[self.files[0]][index].decode("utf-8", "backslashreplace")

    @functools.cached_property
    def contents(self) -> np.ndarray:
        """By what each example's files are known again: bytes `[examples]`, equal where files are (almost surely).

        Made of each file's size and a sample from its middle; when it was written doesn't matter.
        """
        columns = [list(look_at(self.paths(name), _content)) for name in self.files]
        return np.array([b"".join(row) for row in zip(*columns, strict=True)], object)

    def fingerprint(self) -> str:
        digest = hashlib.blake2b(self._rows.fingerprint().encode(), digest_size=16)
        for content in self.contents:
            digest.update(content)
        return digest.hexdigest()

    def _check_existence(self) -> None:
        for name in self.files:
            paths = self.paths(name)
            missing = [path for path, there in zip(paths, look_at(paths, os.path.isfile), strict=True) if not there]
            if missing:
                raise FileNotFoundError(
                    f"{len(missing)} of the {self.num_examples} files of feature {name!r} are missing: "
                    f"{listed(missing)}. Paths are relative to {printable(self.root)}; give another root=, or leave "
                    "these examples out."
                )


def read_files(paths: tf.Tensor) -> tf.Tensor:
    """The contents of files, string `[batch]`, from their paths, string `[batch]`.

    Raises:
        tf.errors.NotFoundError: One is missing; the message names it.
    """
    if tf.executing_eagerly():  # map_fn's loop would be slow there, and talk of itself when a file is missing
        return tf.convert_to_tensor([tf.io.read_file(path) for path in paths], tf.string)
    return tf.map_fn(tf.io.read_file, paths, parallel_iterations=2)


def look_at(paths: Sequence[str], look: Callable[[str], Looked]) -> Iterator[Looked]:
    """`look(path)` of each file, in order, in many threads."""
    chunks = [paths[first : first + _CHUNK] for first in range(0, len(paths), _CHUNK)]
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        for results in pool.map(lambda chunk: [look(path) for path in chunk], chunks):
            yield from results


def listed(paths: Sequence[str]) -> str:
    """The first few of them for a message."""
    more = f" and {len(paths) - _LISTED} more" if len(paths) > _LISTED else ""
    return ", ".join(map(printable, paths[:_LISTED])) + more


def printable(path: str) -> str:
    """A path as it can be printed, also where its name isn't UTF-8."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _content(path: str) -> bytes:
    """A digest of a file's size and middle; of its name where it can't be read."""
    try:
        with open(path, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            sample = os.pread(file.fileno(), _SAMPLE, max(0, (size - _SAMPLE) // 2))
    except OSError:
        return hashlib.blake2b(os.fsencode(os.path.basename(path)), digest_size=16).digest()
    return hashlib.blake2b(size.to_bytes(8, "little") + sample, digest_size=16).digest()


def _absolute(values: Any, folder: str, name: str) -> list[str]:
    values = values.tolist() if isinstance(values, np.ndarray) else list(values)
    other = [value for value in values if not isinstance(value, (str, bytes, os.PathLike))]
    if other:
        raise ValueError(f"Feature {name!r} is in files=, so it must be a path for each example; got {other[0]!r}.")
    return [os.path.join(folder, os.fsdecode(value)) for value in values]


def _common_folder(paths: Iterable[str]) -> str:
    folders = {os.path.dirname(os.path.abspath(path)) for path in paths}
    return os.path.commonpath(folders) if folders else os.getcwd()


def _relative(paths: Sequence[str], root: str) -> np.ndarray:
    """Relative to `root`, bytes `[examples]`."""
    relative = np.empty(len(paths), object)
    # os.path.relpath would take longer than all the rest.
    relative[:] = [
        os.fsencode(path.removeprefix(f"{root}/") if path.startswith(f"{root}/") else os.path.relpath(path, root))
        for path in paths
    ]
    return relative
