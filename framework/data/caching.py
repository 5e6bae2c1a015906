"""Examples decoded once and kept, in memory or in files, for as many epochs as there are."""

from __future__ import annotations

import dataclasses
import math
import operator
import os
import pathlib
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import psutil
import tensorflow as tf

from framework.data import cache_files
from framework.data.bad_examples import BadExample, BadExampleError
from framework.data.checking import explain
from framework.data.combining import digest
from framework.data.decoding import decode_all, encoded_names, undecodable_kind
from framework.data.fetching import FetchingSource
from framework.data.random import without_autograph
from framework.data.sources import Example, Source
from framework.data.statistics import progress
from framework.features import Feature, describe

_CHUNK = 64
# Of what is free, what examples may take: a model has to live beside them, and a disk has to be left some room.
_MOST = 0.8

# Of all caches: their sources needn't be safe, and a lock of each one's own couldn't be copied.
_FILLING = threading.RLock()

_ERRORS = (tf.errors.OpError, ValueError, OSError)

Decode = Callable[[dict[str, tf.Tensor]], Mapping[str, tf.Tensor]]


class CachedSource(FetchingSource):
    """The examples of another source with their media decoded, which is done once, when the first are read.

    What is kept is what `decode` makes: pixels of the size that the pipeline declares. Augmentation comes after and is
    as random as without a cache, but starts from these pixels and not from the file's.

        def source(self, phase):
            return CachedSource(self.photographs[phase], self.features, self.decode)

    One that can't be decoded is there all the same, and reading it is the error. A stream becomes random access. What
    samples goes around a cache: `Balanced(CachedSource(source, ...))`.

    Args:
        source: The examples.
        features: What the pipeline declares.
        decode: The pipeline's.
        directory: For files, which later runs use again. Their names depend on the data and on `features`; when a
            `decode` of your own changes, empty it. Without a directory examples are kept in memory.

    Raises:
        TypeError: The source samples.
        ValueError: The examples don't fit into what is free, or they vary in length, or are text that is to go into
            files.
    """

    def __init__(
        self,
        source: Source,
        features: Mapping[str, Feature],
        decode: Decode,
        *,
        directory: str | os.PathLike[str] | None = None,
    ):
        if type(source).epoch_order is not Source.epoch_order:
            raise TypeError(f"Cache what {type(source).__name__} samples: put it around the CachedSource.")
        self.source = source
        self.num_examples = source.num_examples
        self.spec = _decoded(source.spec, features)
        self._features = dict(features)
        self._decode = decode
        self._directory = None if directory is None else pathlib.Path(directory)
        self._decode_together = tf.function(self._decode_all, input_signature=[source.spec.features])
        self._arrays: dict[str, np.ndarray] = {}
        self._bad: dict[int, BadExample] = {}
        self._layout = {name: self._form(name, spec) for name, spec in _named(self.spec).items()}
        self._check_room()

    @property
    def stored(self) -> Source:
        return self.source.stored

    @property
    def num_bytes(self) -> int:
        """What the examples take, not counting text."""
        return sum(math.prod(shape) * dtype.itemsize for shape, dtype in self._layout.values())

    @property
    def arguments(self) -> list[Any]:
        """What else than the source decides what is kept."""
        return [describe(self._features), repr(self._features)]

    def place(self, index: int) -> str:
        return self.source.place(index % self.num_examples)

    def fingerprint(self) -> str:
        return digest(self, [self.source])

    @without_autograph
    def gather(self, indices: tf.Tensor) -> Example:
        with tf.init_scope():  # before any step, and where TensorFlow can still be called
            self.fill()
        return super().gather(indices)

    def fetch(self, indices: np.ndarray) -> Example:
        rows = indices % self.num_examples
        bad = [self._bad[row] for row in rows.tolist() if row in self._bad]
        if bad:
            raise BadExampleError("; ".join(map(str, bad)))
        taken = {name: np.asarray(np.take(array, rows, axis=0)) for name, array in self._arrays.items()}
        return _packed(self.spec, taken)

    def fill(self) -> None:
        """Decodes all examples, unless that was done: what comes first when one is read.

        Raises:
            ValueError: There is no longer room for them.
        """
        with _FILLING:
            if self._arrays:
                return
            if self._directory is None:
                self._check_room()
                arrays = {name: np.empty(*form) for name, form in self._layout.items()}
                self._bad = self._decode_into(arrays)
                self._arrays = arrays
                return
            self._arrays, bad = cache_files.load_or_make(self._path(self._directory), self._layout, self._make_files)
            self._bad = {example["index"]: BadExample(**example) for example in bad}

    def _path(self, directory: pathlib.Path) -> pathlib.Path:
        """Of the files: another version of TensorFlow may decode to other pixels."""
        return directory / f"{self.fingerprint()}-{tf.__version__}"

    def _make_files(self, arrays: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
        self._check_room()
        return [dataclasses.asdict(example) for example in self._decode_into(arrays).values()]

    def _decode_into(self, arrays: Mapping[str, np.ndarray]) -> dict[int, BadExample]:
        """Fills arrays with all examples. Returns the bad ones by index; their rows are zeros, or nothing at all."""
        bad: dict[int, BadExample] = {}
        where = "memory" if self._directory is None else self._directory
        title = f"Decoding {self.num_examples:,} examples into {where} ({_gib(self.num_bytes)})"
        total = math.ceil(self.num_examples / _CHUNK)
        for rows, example in progress(self._chunks(), title, total=total):
            self._decode_rows(arrays, bad, rows, example)
        return bad

    def _chunks(self) -> Iterator[tuple[np.ndarray, Example | None]]:
        """Indices; with the examples, where these come as a stream."""
        chunks = np.split(np.arange(self.num_examples), np.arange(_CHUNK, self.num_examples, _CHUNK))
        if self.source.random_access:
            return ((rows, None) for rows in chunks)
        return zip(chunks, (Example(*batch) for batch in self.source.batches(_CHUNK)), strict=True)

    def _decode_rows(
        self, arrays: Mapping[str, np.ndarray], bad: dict[int, BadExample], rows: np.ndarray, example: Example | None
    ) -> None:
        """Together, or where that fails one by one."""
        try:
            example = self.source.gather(tf.constant(rows)) if example is None else example
            if len(rows) == 1:
                decoded = self._decode_one(example)
            else:
                decoded = example._replace(features=self._decode_together(example.features))
        except _ERRORS as error:
            if len(rows) == 1:
                kind = "unreadable" if example is None else self._undecodable_kind(example)
                index = int(rows[0])
                bad[index] = BadExample(index, self.place(index), kind, explain(error))
                return
            for number in range(len(rows)):
                row = slice(number, number + 1)
                alone = None if example is None else example.map(operator.itemgetter(row))
                self._decode_rows(arrays, bad, rows[row], alone)
            return
        for name, tensor in _named(decoded).items():
            arrays[name][rows] = tensor.numpy()

    def _decode_all(self, features: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return decode_all(features, self._features, self._decode, parallel_calls=os.cpu_count())

    def _decode_one(self, example: Example) -> Example:
        """A batch of one; what is wrong with it is the error."""
        names = encoded_names(example.features, self._features)
        decoded = self._decode({name: tensor[0] for name, tensor in example.features.items()}) if names else {}
        return example._replace(features={**example.features, **{name: decoded[name][tf.newaxis] for name in names}})

    def _undecodable_kind(self, example: Example) -> str:
        return undecodable_kind({name: tensor[0] for name, tensor in example.features.items()}, self._features)

    def _form(self, name: str, spec: tf.TensorSpec) -> tuple[tuple[int, ...], np.dtype]:
        """Shape and dtype of the array of all examples."""
        if None in spec.shape[1:].as_list():
            raise ValueError(f"{name} varies in shape, {tuple(spec.shape[1:])}, and can't be cached as an array.")
        if spec.dtype == tf.string and self._directory is not None:
            raise ValueError(f"{name} is text, which a cache in files can't hold. Cache it in memory.")
        return (self.num_examples, *spec.shape[1:]), np.dtype(spec.dtype.as_numpy_dtype)

    def _check_room(self) -> None:
        if self._directory is None:
            free, where = psutil.virtual_memory().available, "memory"
            hint = "Cache them in files (a directory, cache='disk')"
        else:
            existing = next(
                folder for folder in (self._directory, *self._directory.absolute().parents) if folder.exists()
            )
            if self._path(self._directory).exists():
                return
            free, where = shutil.disk_usage(existing).free, f"{existing}"
            hint = "Take another directory"
        if self.num_bytes > _MOST * free:
            raise ValueError(
                f"The {self.num_examples:,} decoded examples take {_gib(self.num_bytes)}, {_gib(free)} are free in "
                f"{where} and at most {_MOST:.0%} of that is taken. {hint}, decode to a smaller size, or go without a "
                "cache."
            )


def _decoded(spec: Example, features: Mapping[str, Feature]) -> Example:
    """A source's spec when what is encoded has been decoded."""
    names = encoded_names(spec.features, features)
    return spec._replace(features={**spec.features, **{name: features[name].spec() for name in names}})


def _named(example: Example) -> dict[str, Any]:
    """Every tensor, array or spec by a name."""
    heads = example.labels if isinstance(example.labels, Mapping) else None
    labels = {"labels": example.labels} if heads is None else {f"labels/{head}": heads[head] for head in sorted(heads)}
    weights = {} if example.weights is None else {"weights": example.weights}
    return {f"features/{name}": example.features[name] for name in sorted(example.features)} | labels | weights


def _packed(spec: Example, named: Mapping[str, Any]) -> Example:
    """The opposite of `_named`, for an example like `spec`."""
    labels = (
        {head: named[f"labels/{head}"] for head in spec.labels} if isinstance(spec.labels, Mapping) else named["labels"]
    )
    return Example({name: named[f"features/{name}"] for name in spec.features}, labels, named.get("weights"))


def _gib(num_bytes: float) -> str:
    return f"{num_bytes / 2**30:,.2f} GiB"
