"""Records as a source of examples."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import json
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from framework.data.bad_examples import BadExampleError
from framework.data.records import framing
from framework.data.records.index import Index, load_index
from framework.data.records.reading import LightReader, RandomReader, StreamReader
from framework.data.records.schema import Schema
from framework.data.records.sidecar import Shard
from framework.data.sources import Example, Source

# What the reader of a stream yields: records, the numbers of their files, and their offsets.
_BLOCK = (tf.string, tf.int64, tf.int64)


class RecordSource(Source):
    """Examples in TFRecord files of `tf.Example`s, whoever wrote them.

    Where all files are local and uncompressed any record can be read at any time, by an index of offsets that is made
    once: the order of an epoch is a permutation of all records, and resuming is a jump. Otherwise the files are read in
    turn, always in the same order, and shuffled within a buffer.

    Args:
        paths: The files of one split, in order, also those of `gs://` and other schemes that TensorFlow knows. Names
            that end in `.gz` are those of compressed files.
        schema: What is in a record.
        shards: What a sidecar says of these files.
        shuffle_buffer: Of a stream: examples among which the next one of an epoch is drawn.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: There are no files or no records, or a file isn't the one that the sidecar describes.
        BadExampleError: A file's records can't be found.
    """

    def __init__(
        self,
        paths: Sequence[str | os.PathLike[str]],
        schema: Schema,
        *,
        shards: Sequence[Shard] | None = None,
        shuffle_buffer: int = 10_000,
    ):
        self.paths = [os.fspath(path) for path in paths]
        if not self.paths:
            raise ValueError("A source of records needs at least one file.")
        self.names = short_names(self.paths)
        self.schema = schema
        self.spec = schema.spec
        self.shuffle_buffer = shuffle_buffer
        self._reader: RandomReader | None = None
        self._light_reader: LightReader | None = None
        if all(framing.is_local(path) and not framing.is_gzip(path) for path in self.paths):
            indexes = self._indexes()
            self._reader = RandomReader(self.paths, self.names, indexes)
            self._light_reader = LightReader(self._reader)
            found = [(len(index.lengths), index.digest) for index in indexes]
        elif shards is None:
            found = [(len(index.lengths), index.digest) for index in self._indexes()]
        else:
            found = [(shard.examples, shard.digest) for shard in shards]
        sizes = [framing.stamp(path).size for path in self.paths]
        if shards is not None:
            self._check(sizes, [count for count, _ in found], shards)
        self.num_examples = sum(count for count, _ in found)
        if not self.num_examples:
            raise ValueError(f"There are no records in {', '.join(self.names)}.")
        self._stream = StreamReader(
            self.paths, self.names, [count for count, _ in found], sum(sizes) / self.num_examples
        )
        digests = [digest for _, digest in found] if shards is None else [shard.digest for shard in shards]
        content = json.dumps([schema.describe(), digests], sort_keys=True)
        self._fingerprint = hashlib.blake2b(content.encode(), digest_size=16).hexdigest()

    def _indexes(self) -> list[Index]:
        return [load_index(path, name) for path, name in zip(self.paths, self.names, strict=True)]

    def _check(self, sizes: Sequence[int], counts: Sequence[int], shards: Sequence[Shard]) -> None:
        for name, size, count, shard in zip(self.names, sizes, counts, shards, strict=True):
            for what, got, expected in (("bytes", size, shard.bytes), ("records", count, shard.examples)):
                if got != expected:
                    raise ValueError(f"{name} isn't what was written: {got} {what}, the sidecar says {expected}.")

    @property
    def random_access(self) -> bool:
        return self._reader is not None

    def gather(self, indices: tf.Tensor) -> Example:
        # Outside of a graph the parser would be traced each time.
        return self._compiled(indices) if tf.executing_eagerly() else self._gather(indices)

    @functools.cached_property
    def _compiled(self) -> Callable[[tf.Tensor], Example]:
        return tf.function(self._gather, input_signature=[tf.TensorSpec([None], tf.int64)], autograph=False)

    def _gather(self, indices: tf.Tensor) -> Example:
        if self._light_reader is None:
            raise NotImplementedError("Compressed and remote records are a stream.")
        records = tf.ensure_shape(tf.numpy_function(self._light_reader.read, [indices], tf.string), indices.shape)
        return _parsed(self.schema, self._fault_finder, records, indices)

    def stream(self) -> tf.data.Dataset:
        blocks = tf.data.Dataset.from_generator(
            self._stream.blocks, output_signature=tuple(tf.TensorSpec([None], dtype) for dtype in _BLOCK)
        )

        finder = self._fault_finder

        def parsed(*records: tf.Tensor) -> Example:
            return _parsed(self.schema, finder, *records)

        def parsed_alone(*record: tf.Tensor) -> Example:
            return parsed(*(tensor[tf.newaxis] for tensor in record)).map(lambda batch: batch[0])

        # Many at once is quicker, but would pad them to one length.
        examples = blocks.unbatch().map(parsed_alone) if self.schema.is_ragged else blocks.map(parsed).unbatch()
        return examples.apply(tf.data.experimental.assert_cardinality(self.num_examples))

    def place(self, index: int) -> str:
        if self._reader is not None:
            (shard,), (offset,) = self._reader.locate(np.array([index]))
            return framing.place(self.names[shard], offset)
        for turn in self._stream.turns():
            if index < turn.count:
                return f"{self.names[turn.shard]}, record {turn.first + index}"
            index -= turn.count
        raise IndexError(f"There are {self.num_examples} examples, counted from 0.")

    def fingerprint(self) -> str:
        return self._fingerprint

    @property
    def _fault_finder(self) -> _FaultFinder:
        return _FaultFinder(self.schema, self.names, self._light_reader)


@dataclasses.dataclass(frozen=True)
class _FaultFinder:
    """Says what is wrong with a batch that can't be parsed. As light as the reader, and for the same reason."""

    schema: Schema
    names: Sequence[str]
    reader: LightReader | None

    def look(self, records: np.ndarray, *where: np.ndarray) -> np.ndarray:
        """Returns the records if nothing is wrong.

        Args:
            records: Bytes objects `[batch]`.
            *where: Their indices int64 `[batch]`; or of a stream the numbers of their files and their offsets.

        Raises:
            BadExampleError: With the first one that can't be parsed, and where it lies.
        """
        shards, offsets = self.reader.locate(*where) if self.reader and len(where) == 1 else where
        for record, shard, offset in zip(records.tolist(), shards.tolist(), offsets.tolist(), strict=True):
            fault = self.schema.fault(record)
            if fault:
                raise BadExampleError(f"{framing.place(self.names[shard], offset)}: {fault}")
        return records


def _parsed(schema: Schema, finder: _FaultFinder, *batch: tf.Tensor) -> Example:
    """A batch of records, string `[batch]`, and what says where they lie, as an `Example`.

    TensorFlow's parser doesn't always say which record it can't read, and never where it lies. So a batch that it can't
    read is looked at again.
    """

    def parse(records: tf.Tensor, *_: tf.Tensor) -> tuple[Any, ...]:
        example = schema.parse(records)
        return tuple(example) if schema.weights else tuple(example)[:2]

    def look_and_parse(*batch: tf.Tensor) -> tuple[Any, ...]:
        return parse(tf.ensure_shape(tf.numpy_function(finder.look, batch, tf.string), batch[0].shape))

    once = tf.data.Dataset.from_tensors(batch)
    parsed = once.map(parse).ignore_errors().concatenate(once.map(look_and_parse)).take(1)
    options = tf.data.Options()
    options.autotune.enabled = False
    return Example(*parsed.with_options(options).get_single_element())


def short_names(paths: Sequence[str]) -> list[str]:
    """What files are called in messages: their paths from the folder that they have in common."""
    folders = [path.split("/")[:-1] for path in paths]
    together = itertools.takewhile(lambda names: len(set(names)) == 1, zip(*folders, strict=False))
    depth = sum(1 for _ in together)
    return ["/".join(path.split("/")[depth:]) for path in paths]
