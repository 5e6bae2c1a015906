"""Records as a source of examples."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import json
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from framework.data.bad_examples import BadExample, BadExampleError
from framework.data.python_calls import numpy_function
from framework.data.records import framing
from framework.data.records.framing import CorruptRecordError
from framework.data.records.index import Index, readable_index
from framework.data.records.reading import RandomReader, StreamReader
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
        skip_broken: What becomes of local, uncompressed files in which a length is damaged, or that end within a
            record: what lies before that place is used. What follows can't be found, and is left out.

    Attributes:
        content: Changes when the records do, or their order.
        left_out: Where files are broken.
        lost_share: The share of all bytes that is left out.

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
        skip_broken: bool = False,
    ):
        self.paths = [os.fspath(path) for path in paths]
        if not self.paths:
            raise ValueError("A source of records needs at least one file.")
        self.names = short_names(self.paths)
        self.schema = schema
        self.spec = schema.spec
        self.shuffle_buffer = shuffle_buffer
        self._reader: RandomReader | None = None
        is_plain = all(framing.is_local(path) and not framing.is_gzip(path) for path in self.paths)
        sizes = [framing.stamp(path).size for path in self.paths]
        broken: dict[int, CorruptRecordError] = {}
        if is_plain or shards is None:
            indexes, broken = self._indexes()
            if broken and not (skip_broken and is_plain):
                raise next(iter(broken.values()))
            self._counts = [len(index.lengths) for index in indexes]
            digests = [index.digest for index in indexes]
        else:
            self._counts = [shard.examples for shard in shards]
        if is_plain:
            self._reader = RandomReader(self.paths, self.names, indexes)
        if shards is not None:
            self._check(sizes, shards, broken)
            digests = [digests[number] if number in broken else shard.digest for number, shard in enumerate(shards)]
        self.num_examples = sum(self._counts)
        if not self.num_examples:
            raise next(iter(broken.values()), ValueError(f"There are no records in {', '.join(self.names)}."))
        self._stream = StreamReader(self.paths, self.names, self._counts, sum(sizes) / self.num_examples, broken)
        lost = {number: sizes[number] - error.offset for number, error in broken.items()}
        self.lost_share = sum(lost.values()) / sum(sizes)
        self.left_out = [self._rest(number, error, lost[number]) for number, error in broken.items()]
        self.content = _digest([digests, None if is_plain else self._stream.block])
        names = {title: field.class_names for title, field in schema.titled() if field.class_names}
        self._fingerprint = _digest([schema.describe(), digests, *([names] if names else [])])

    def _indexes(self) -> tuple[list[Index], dict[int, CorruptRecordError]]:
        """Those of all files; what is wrong with the broken ones, by their numbers."""
        found = [readable_index(path, name) for path, name in zip(self.paths, self.names, strict=True)]
        broken = {number: error for number, (_, error) in enumerate(found) if error is not None}
        return [index for index, _ in found], broken

    def _rest(self, number: int, error: CorruptRecordError, num_bytes: int) -> BadExample:
        """What can't be read of a broken file."""
        place = framing.place(error.file, error.offset)
        reason = f"{error.reason}; what follows can't be found, {num_bytes:,} bytes"
        return BadExample(sum(self._counts[: number + 1]), place, "corrupt record", reason)

    def _check(self, sizes: Sequence[int], shards: Sequence[Shard], broken: Collection[int]) -> None:
        for number, (size, count, shard) in enumerate(zip(sizes, self._counts, shards, strict=True)):
            for what, got, expected in (("bytes", size, shard.bytes), ("records", count, shard.examples)):
                if got != expected and number not in broken:
                    raise ValueError(
                        f"{self.names[number]} isn't what was written: {got} {what}, the sidecar says {expected}."
                    )

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
        if self._reader is None:
            raise NotImplementedError("Compressed and remote records are a stream.")
        records = numpy_function(self._reader.read, [indices], tf.string, stateful=True)
        return _parsed(self.schema, self._fault_finder, tf.ensure_shape(records, indices.shape), indices)

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

    def raw_records(self) -> Iterator[bytes]:
        """The records as they lie there, in the order of examples; with random access the damaged ones, too.

        Raises:
            BadExampleError: A stream has a damaged one.
        """
        if self._reader is None:
            for block in self._stream.blocks():
                yield from block.records.tolist()
            return
        for path, count in zip(self.paths, self._counts, strict=True):
            # No further: a broken file can't be read to its end.
            for _, record, _ in itertools.islice(framing.read_records(path), count):
                yield record

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
        return _FaultFinder(self.schema, self.names, self._reader)


@dataclasses.dataclass(frozen=True)
class _FaultFinder:
    """Says what is wrong with a batch that can't be parsed."""

    schema: Schema
    names: Sequence[str]
    reader: RandomReader | None

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
        return parse(tf.ensure_shape(numpy_function(finder.look, batch, tf.string, stateful=True), batch[0].shape))

    once = tf.data.Dataset.from_tensors(batch)
    parsed = once.map(parse).ignore_errors().concatenate(once.map(look_and_parse)).take(1)
    options = tf.data.Options()
    options.autotune.enabled = False
    return Example(*parsed.with_options(options).get_single_element())


def _digest(content: Any) -> str:
    return hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=16).hexdigest()


def short_names(paths: Sequence[str]) -> list[str]:
    """What files are called in messages: their paths from the folder that they have in common."""
    folders = [path.split("/")[:-1] for path in paths]
    together = itertools.takewhile(lambda names: len(set(names)) == 1, zip(*folders, strict=False))
    depth = sum(1 for _ in together)
    return ["/".join(path.split("/")[depth:]) for path in paths]
