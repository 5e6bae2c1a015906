"""Data sets of the `datasets` library, from the directory of `save_to_disk` or from local files."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from framework.data.adapters.foreign import Field, ForeignColumn, ForeignDataSet, numbers_feature, sampled
from framework.data.bad_examples import BadExampleError
from framework.data.fetching import FetchingSource
from framework.data.sources import Example
from framework.data.tables.labels import Labels
from framework.extras import require
from framework.features import Feature
from framework.media import Image

_SAVED = ("dataset_dict.json", "state.json")
_BUILDERS = {".parquet": "parquet", ".csv": "csv", ".json": "json", ".jsonl": "json", ".arrow": "arrow"}
_TEXT = ("string", "large_string", "string_view", "binary", "large_binary")


class HuggingFaceDataSet(ForeignDataSet):
    """What `save_to_disk` has written, a folder of files that the library reads, or one such file.

    Args:
        path: Of it.

    Raises:
        FileNotFoundError: There is nothing at `path`. It is never taken for the name of a data set to be downloaded.
        ValueError: It is a file of another kind.
        ImportError: The library isn't installed.
    """

    def __init__(self, path: str | os.PathLike[str]):
        path = pathlib.Path(path).expanduser()
        if not path.exists():
            raise FileNotFoundError(f"There is no file or folder {path}. Nothing is downloaded here.")
        datasets = require("datasets", extra="hf", purpose=f"Reading {path}")
        self.place = str(path)
        loaded = _load(datasets, path)
        parts = dict(loaded) if isinstance(loaded, Mapping) else {"train": loaded}
        self.columns, self.unusable = {}, {}
        for title, feature in next(iter(parts.values())).features.items():
            found = _column(datasets, feature)
            if isinstance(found, str):
                self.unusable[title] = found
            else:
                self.columns[title] = found
        images = [title for title, column in self.columns.items() if isinstance(column.feature, Image)]
        for title in images:  # their bytes, not pictures
            parts = {name: part.cast_column(title, datasets.Image(decode=False)) for name, part in parts.items()}
        self._parts = {name: part.with_format("arrow") for name, part in parts.items()}
        self.splits = {name: len(part) for name, part in parts.items()}

    def values(self, split: str, title: str) -> np.ndarray:
        column = self._parts[split].select_columns([title])[:][title]
        self._check_whole(split, title, column)
        return np.asarray(column.to_pylist(), object) if str(column.type) in _TEXT else column.to_numpy()

    def source(self, split: str, features: Mapping[str, Field], label: str, labels: Labels) -> HuggingFaceSource:
        part = self._parts[split].select_columns(list(dict.fromkeys([*(f.title for f in features.values()), label])))
        for field in features.values():
            # A missing number is NaN, which can be told; nothing else has a place for it.
            if not tf.as_dtype(field.feature.dtype).is_floating and not field.feature.is_encoded:
                self._check_whole(split, field.title, part.data.column(field.title))
        self._check_whole(split, label, part.data.column(label))
        return HuggingFaceSource(part, f"{self.place}, split {split!r}", features, label, labels)

    def _check_whole(self, split: str, title: str, column: Any) -> None:
        if column.null_count:
            raise ValueError(
                f"Column {title!r} of {self.place}, split {split!r}, has no value in {column.null_count} of "
                f"{len(column)} rows. Fill them, or leave these rows or the column out."
            )


class HuggingFaceSource(FetchingSource):
    """Rows of a split, read from its memory-mapped Arrow table when they are asked for.

    Args:
        part: A `datasets.Dataset` in the format `"arrow"`.
        where: What it is called in messages.
        features: `{feature: where it is from}`.
        label: The label's column.
        labels: How labels are read.
    """

    def __init__(self, part: Any, where: str, features: Mapping[str, Field], label: str, labels: Labels):
        self._part, self._where = part, where
        self._fields, self._label, self._labels = dict(features), label, labels
        self.num_examples = len(part)
        self.spec = Example(
            {name: field.feature.stored.spec() for name, field in features.items()}, labels.task.label.spec()
        )

    def fetch(self, indices: np.ndarray) -> Example:
        rows = self._part[indices]
        features = {name: _array(rows[field.title], field.feature) for name, field in self._fields.items()}
        labels, faults = self._labels.parse({self._label: rows[self._label].to_pylist()})
        if faults:
            row, (kind, reason) = next(iter(faults.items()))
            raise BadExampleError(f"{self.place(int(indices[row]))}: {kind} ({reason})")
        return Example(features, labels)

    def place(self, index: int) -> str:
        return f"{self._where}, row {index}"

    def fingerprint(self) -> str:
        return self._fingerprint

    @functools.cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.blake2b(repr((self.num_examples, self._fields, self._labels.task)).encode(), digest_size=16)
        for title in self._part.column_names:
            for chunk in self._part.data.column(title).chunks:
                digest.update(repr((title, len(chunk), chunk.offset)).encode())
                for buffer in chunk.buffers():
                    if buffer is not None:
                        sampled(digest, buffer)
        return digest.hexdigest()


def _load(datasets: Any, path: pathlib.Path) -> Any:
    with _offline(datasets.config):
        if path.is_dir():
            if any((path / name).exists() for name in _SAVED):
                return datasets.load_from_disk(str(path))
            return datasets.load_dataset(str(path.resolve()))
        builder = _BUILDERS.get(path.suffix)
        if builder is None:
            raise ValueError(f"{path} isn't a file of a known kind: expected {', '.join(_BUILDERS)}, or a folder.")
        return datasets.load_dataset(builder, data_files={"train": str(path.resolve())})


@contextlib.contextmanager
def _offline(config: Any) -> Iterator[None]:
    """The library counts what it loads by a request to a server, also where all is local (datasets 5.2.0)."""
    saved = config.HF_HUB_OFFLINE
    config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        config.HF_HUB_OFFLINE = saved


def _column(datasets: Any, feature: Any) -> ForeignColumn | str:
    """What a column can be, or why it can't be used."""
    if isinstance(feature, datasets.Image):
        return ForeignColumn(Image())
    if isinstance(feature, datasets.ClassLabel):
        return ForeignColumn(Feature((), "int64"), tuple(feature.names))
    shape = _shape(datasets, feature)
    if isinstance(shape, str):
        return shape
    axes, dtype = shape
    found = numbers_feature(object if dtype in _TEXT else dtype, axes)
    return found if isinstance(found, str) else ForeignColumn(found)


def _shape(datasets: Any, feature: Any) -> tuple[tuple[int | None, ...], str] | str:
    """The axes and dtype of numbers or text, or why it is neither."""
    axes: tuple[int | None, ...] = ()
    while isinstance(feature, (datasets.List, datasets.LargeList)):
        length = getattr(feature, "length", -1)
        axes += (None if length < 0 else length,)
        feature = feature.feature
    if isinstance(feature, (datasets.Array2D, datasets.Array3D, datasets.Array4D, datasets.Array5D)):
        return (*axes, *feature.shape), feature.dtype
    if not isinstance(feature, datasets.Value):
        return f"is a {type(feature).__name__}"
    if feature.dtype not in _TEXT and not feature.dtype.startswith(("int", "uint", "float", "bool")):
        return f"holds {feature.dtype}"
    return axes, feature.dtype


def _array(column: Any, feature: Feature) -> np.ndarray:
    """Values `[rows, ...]` as they are stored, from a column of an Arrow table."""
    values = column.combine_chunks()
    if feature.is_encoded:
        return np.array([_image_bytes(item) for item in values.to_pylist()], object)
    if feature.dtype == "string":
        return np.array(values.to_pylist(), object)
    for _ in feature.shape:
        if not hasattr(values, "flatten") or not hasattr(values.type, "list_size"):
            return np.stack(values.to_numpy(zero_copy_only=False)).astype(feature.dtype)
        values = values.flatten()
    return values.to_numpy(zero_copy_only=False).reshape(len(column), *feature.shape)


def _image_bytes(item: Mapping[str, Any] | None) -> bytes:
    """An image's bytes, or those of the file that it names; none where there is no image, which can't be decoded."""
    if item is None:
        return b""
    if item["bytes"] is not None:
        return item["bytes"]
    return pathlib.Path(item["path"]).read_bytes()
