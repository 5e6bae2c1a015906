"""Data sets of TensorFlow Datasets that were prepared on this machine."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from framework.data.adapters.foreign import Field, ForeignColumn, ForeignDataSet, files_digest, numbers_feature
from framework.data.fetching import FetchingSource
from framework.data.python_calls import numpy_function
from framework.data.records import Field as RecordField
from framework.data.records import RecordSource, Schema
from framework.data.sources import DatasetSource, Example, Source
from framework.data.tables.labels import Labels
from framework.extras import require
from framework.features import Feature
from framework.media import Image

_INFO = "dataset_info.json"
# In a tf.Example of TensorFlow Datasets these have less than they promise, or lie otherwise than in our own records.
_OTHERWISE = ("float64", "uint64")


class TensorFlowDataSet(ForeignDataSet):
    """A prepared data set: the folder with `dataset_info.json`, such as `~/tensorflow_datasets/mnist/3.0.1`.

    Args:
        path: Of that folder, or of one above it if it is the only one there.

    Raises:
        FileNotFoundError: There is no data set, or are several, at `path`.
        ImportError: TensorFlow Datasets isn't installed.
    """

    def __init__(self, path: str | os.PathLike[str]):
        folder = _folder(pathlib.Path(path).expanduser())
        self._tfds = require("tensorflow_datasets", extra="tfds", purpose=f"Reading {path}")
        self._builder = self._tfds.builder_from_directory(str(folder))
        self.place = str(folder)
        self.columns, self.unusable = {}, {}
        # In an order of their own: that of the library's protocol buffers differs from one process to the next.
        for title, feature in sorted(self._builder.info.features.items()):
            found = _column(self._tfds, feature)
            if isinstance(found, str):
                self.unusable[title] = found
            else:
                self.columns[title] = found
        self.splits = {name: split.num_examples for name, split in self._builder.info.splits.items()}
        keys = self._builder.info.supervised_keys
        self.label = keys[1] if keys and keys[1] in self.columns else None

    def values(self, split: str, title: str) -> np.ndarray:
        batches = self._read(split, {}, title).batches(1024)
        values = np.concatenate([np.asarray(example[1]) for example in batches])
        return np.array([value.decode() for value in values], object) if values.dtype == object else values

    def source(self, split: str, features: Mapping[str, Field], label: str, labels: Labels) -> Source:
        names = labels.class_of or {}
        is_boolean = self.columns[label].feature.dtype == "bool"
        if not is_boolean and any(name != str(number) for name, number in names.items()):
            raise ValueError(
                f"The label {label!r} of {self.place} has the values {list(names)[:10]}; expected a ClassLabel, class "
                "ids from 0, or numbers."
            )
        return self._read(split, features, label)

    def _read(self, split: str, features: Mapping[str, Field], label: str) -> Source:
        """The examples of a split, in the quickest way that its files allow."""
        titles = [*(field.title for field in features.values()), label]
        part = Part(
            f"{self.place}, split {split!r}",
            [os.fspath(path) for path in self._builder.info.splits[split].filepaths],
            Schema(
                {name: RecordField(field.feature, field.title) for name, field in features.items()},
                RecordField(self.columns[label].feature, label),
            ),
        )
        formats, file_format = self._tfds.core.FileFormat, self._builder.info.file_format
        is_plain = all(map(self._is_plain, titles))
        if file_format == formats.TFRECORD and is_plain:
            return RecordSource(part.paths, part.schema)
        if file_format == formats.ARRAY_RECORD and is_plain:
            raw = self._tfds.decode.DeserializeMethod.RAW_BYTES
            return ProtoSource(self._builder.as_data_source(split=split, deserialize_method=raw), part)
        if file_format in (formats.ARRAY_RECORD, formats.PARQUET):
            undecoded = self._undecoded(self._builder.info.features)
            return RowSource(self._builder.as_data_source(split=split, decoders=undecoded), part)
        return StreamSource(self._stream(split, titles), self.splits[split], part)

    def _is_plain(self, title: str) -> bool:
        """Whether a column lies in a `tf.Example` as `framework.data.records` would have put it there."""
        stored = self.columns[title].feature.stored
        found = self._builder.info.features[title].get_serialized_info()
        return stored.dtype not in _OTHERWISE and (tuple(found.shape), tf.as_dtype(found.dtype).name) == (
            stored.shape,
            stored.dtype,
        )

    def _undecoded(self, titles: Iterable[str]) -> dict[str, Any]:
        """Images as the bytes that they are."""
        features = self._builder.info.features
        images = [title for title in titles if isinstance(features[title], self._tfds.features.Image)]
        return {title: self._tfds.decode.SkipDecoding() for title in images}

    def _stream(self, split: str, titles: Sequence[str]) -> tf.data.Dataset:
        # One file after the other: the same order each time.
        reading = self._tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
        chosen = self._tfds.decode.PartialDecoding(dict.fromkeys(titles, True), decoders=self._undecoded(titles))
        return self._builder.as_dataset(split=split, decoders=chosen, read_config=reading)


@dataclasses.dataclass(frozen=True)
class Part:
    """A split's files.

    Attributes:
        where: What it is called in messages.
        paths: Of the files.
        schema: What is read of each example, under the titles of columns.
    """

    where: str
    paths: list[str]
    schema: Schema

    def place(self, index: int) -> str:
        return f"{self.where}, example {index}"

    def fingerprint(self) -> str:
        content = json.dumps([files_digest(self.paths), self.schema.describe()])
        return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()


class ProtoSource(Source):
    """`tf.Example`s in files that can be read anywhere.

    Args:
        rows: A `tfds` data source of serialized protos.
        part: What is read.
    """

    def __init__(self, rows: Any, part: Part):
        self._rows, self._part = rows, part
        self.num_examples, self.spec = len(rows), part.schema.spec

    @property
    def random_access(self) -> bool:
        return True

    def gather(self, indices: tf.Tensor) -> Example:
        indices = tf.convert_to_tensor(indices)

        def read(indices: np.ndarray) -> np.ndarray:
            return np.array(self._rows.__getitems__(indices.tolist()), object)

        protos = numpy_function(read, [indices], tf.string, stateful=False)
        return self._part.schema.parse(tf.ensure_shape(protos, indices.shape))

    def place(self, index: int) -> str:
        return self._part.place(index)

    def fingerprint(self) -> str:
        return self._part.fingerprint()


class RowSource(FetchingSource):
    """Examples that TensorFlow Datasets decodes in Python, in files that can be read anywhere.

    Args:
        rows: A `tfds` data source.
        part: What is read.
    """

    def __init__(self, rows: Any, part: Part):
        self._rows, self._part = rows, part
        self.num_examples, self.spec = len(rows), part.schema.spec

    def fetch(self, indices: np.ndarray) -> Example:
        rows = self._rows.__getitems__(indices.tolist())
        return self._part.schema.structure(
            lambda field: _stacked([row[field.key] for row in rows], field.feature.stored)
        )

    def place(self, index: int) -> str:
        return self._part.place(index)

    def fingerprint(self) -> str:
        return self._part.fingerprint()


class StreamSource(DatasetSource):
    """Examples of files that can only be read from their beginning.

    Args:
        rows: `{title: value}` of single examples.
        num_examples: How many there are.
        part: What is read.
    """

    def __init__(self, rows: tf.data.Dataset, num_examples: int, part: Part):
        self._part = part

        def parts(row: Mapping[str, tf.Tensor]) -> tuple[Any, Any]:
            example = part.schema.structure(lambda field: tf.cast(row[field.key], field.feature.stored.dtype))
            return example.features, example.labels

        super().__init__(rows.map(parts), num_examples=num_examples)

    def place(self, index: int) -> str:
        return self._part.place(index)

    def fingerprint(self) -> str:
        return self._part.fingerprint()


def _folder(path: pathlib.Path) -> pathlib.Path:
    """The folder of the only data set at or below a path."""
    if (path / _INFO).exists():
        return path
    found = sorted(info.parent for info in path.glob(f"*/{_INFO}")) or sorted(
        info.parent for info in path.glob(f"*/*/{_INFO}")
    )
    if len(found) == 1:
        return found[0]
    listed = ", ".join(map(str, found)) or "nothing"
    raise FileNotFoundError(
        f"A prepared data set is a folder with {_INFO}, which {path} hasn't; below it there is {listed}. Nothing is "
        "downloaded here."
    )


def _column(tfds: Any, feature: Any) -> ForeignColumn | str:
    """What a column can be, or why it can't be used."""
    kinds = tfds.features
    if isinstance(feature, kinds.Image):
        return _image_column(feature)
    if isinstance(feature, kinds.ClassLabel):
        return ForeignColumn(Feature((), "int64"), tuple(feature.names) if feature.names else None)
    numbers = feature.feature if isinstance(feature, kinds.Sequence) else feature
    if not isinstance(numbers, kinds.Tensor) or isinstance(feature.shape, Mapping):
        return f"is a {type(feature).__name__}"
    found = numbers_feature(numbers.np_dtype, feature.shape)
    return found if isinstance(found, str) else ForeignColumn(found)


def _image_column(feature: Any) -> ForeignColumn | str:
    height, width, channels = feature.shape
    if np.dtype(feature.np_dtype) != np.uint8:
        return f"has images of {np.dtype(feature.np_dtype)}"
    size = Image().shape[:2] if None in (height, width) else (height, width)
    # Of a fourth channel, how transparent a pixel is, decoding leaves nothing.
    return ForeignColumn(Image((*size, channels if channels in (1, 3) else 3)))


def _stacked(values: Sequence[Any], stored: Feature) -> np.ndarray:
    return np.array(values, object) if stored.dtype == "string" else np.array(values, stored.dtype)
