"""Looks at everything in files of records: checksums, protos, lengths, labels, images."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from framework.data.checking import explain
from framework.data.decoding import decode_good, encoded_names
from framework.data.records.data_set import DataSet
from framework.data.records.framing import CorruptRecordError, read_records
from framework.data.records.schema import Schema
from framework.data.records.sidecar import Shard, file_digest
from framework.data.records.source import short_names
from framework.data.records.task import parse_task
from framework.tasks.task import Task

_CHUNK = 64
_THREADS = 2


@dataclasses.dataclass(frozen=True)
class Problem:
    """Something that is wrong with a file or a record.

    Attributes:
        kind: `"missing file"`, `"changed file"`, `"corrupt record"`, `"missing feature"`, `"wrong type"`,
            `"wrong length"`, `"value out of range"`, `"label out of range"` or `"undecodable image"`.
        file: Its name.
        offset: Of the record; `None` where it is about the whole file.
        feature: Such as `"feature 'image'"`, `"label"`; `None` where it is about the whole record.
        reason: What was got and what was expected.
    """

    kind: str
    file: str
    offset: int | None
    feature: str | None
    reason: str

    def __str__(self) -> str:
        where = self.file if self.offset is None else f"{self.file}, offset {self.offset}"
        return f"{where}: {self.kind}: {f'{self.feature} ' if self.feature else ''}{self.reason}"


def verify(
    paths: Sequence[str | os.PathLike[str]],
    schema: Schema,
    *,
    task: Task | None = None,
    shards: Sequence[Shard] | None = None,
    on_checked: Callable[[int], Any] | None = None,
) -> Iterator[Problem]:
    """Checks every checksum, every record against the schema, every label, and that every image can be decoded.

    Args:
        paths: Files of any kind.
        schema: What should be in a record.
        task: Whose labels they should be.
        shards: What a sidecar says of the files.
        on_checked: Told after each few records how many they were.

    Yields:
        What is wrong, file by file.
    """
    files = [os.fspath(path) for path in paths]
    for number, (path, name) in enumerate(zip(files, short_names(files), strict=True)):
        yield from _File(path, name, schema, task).problems(shards[number] if shards else None, on_checked)


def verify_data_set(
    data_set: DataSet, task: Task | None = None, *, on_checked: Callable[[int], Any] | None = None
) -> Iterator[Problem]:
    """`verify` of all splits of a data set; the task is by default what its sidecar says."""
    if task is None and data_set.sidecar and data_set.sidecar.task:
        task = parse_task(data_set.sidecar.task)
    if task is not None:
        data_set = data_set.labelled(task)
    for name, paths in data_set.files.items():
        shards = data_set.shards(name)
        yield from verify(paths, data_set.split_schema(name), task=task, shards=shards, on_checked=on_checked)


class _File:
    """One file that is looked at."""

    def __init__(self, path: str, name: str, schema: Schema, task: Task | None):
        self._path, self._name, self._schema, self._task = path, name, schema, task
        self._raw = schema.raw

    def _problem(self, kind: str, offset: int | None, feature: str | None, reason: str) -> Problem:
        return Problem(kind, self._name, offset, feature, reason)

    def problems(self, shard: Shard | None, on_checked: Callable[[int], Any] | None) -> Iterator[Problem]:
        try:
            if shard is not None and file_digest(self._path) != shard.digest:
                yield self._problem("changed file", None, None, "its digest isn't what the sidecar says")
            count = 0
            for chunk in self._chunks():
                count += len(chunk)
                yield from self._check(chunk)
                if on_checked is not None:
                    on_checked(len(chunk))
            if shard is not None and count != shard.examples:
                yield self._problem("changed file", None, None, f"{count} records, the sidecar says {shard.examples}")
        except FileNotFoundError:
            yield self._problem("missing file", None, None, f"there is no {self._path}")
        except CorruptRecordError as error:
            yield self._problem("corrupt record", error.offset, None, f"{error.reason}; what follows can't be found")

    def _chunks(self) -> Iterator[list[tuple[int, bytes, str | None]]]:
        """A few records at a time; those before one after which nothing can be found, too."""
        chunk, end = [], None
        try:
            for record in read_records(self._path, self._name):
                chunk.append(record)
                if len(chunk) == _CHUNK:
                    yield chunk
                    chunk = []
        except CorruptRecordError as error:
            end = error
        if chunk:
            yield chunk
        if end is not None:
            raise end

    def _check(self, chunk: Sequence[tuple[int, bytes, str | None]]) -> list[Problem]:
        """What is wrong with some records, in their order."""
        found = [self._problem("corrupt record", offset, None, fault) for offset, _, fault in chunk if fault]
        sound = [(offset, record) for offset, record, fault in chunk if not fault]
        # Record by record: TensorFlow can't tell of a batch which it can't read, and may not even be able to say so.
        faults = [self._schema.fault(record) for _, record in sound]
        for fault, (offset, _) in zip(faults, sound, strict=True):
            if fault:
                found.append(self._problem(fault.kind, offset, fault.feature, fault.reason))
        good = [row for fault, row in zip(faults, sound, strict=True) if not fault]
        if good:
            example = self._schema.parse(tf.constant([record for _, record in good]))
            found += self._check_labels(good, example.labels)
            found += self._check_images(good, example.features)
        return sorted(found, key=lambda problem: problem.offset or 0)

    def _check_labels(self, rows: Sequence[tuple[int, bytes]], labels: Any) -> Iterator[Problem]:
        if self._label_fault(labels) is None:
            return
        for number, (offset, _) in enumerate(rows):
            fault = self._label_fault(tf.nest.map_structure(lambda values, n=number: values[n : n + 1], labels))
            if fault:
                reason = f"doesn't fit the task: {fault.partition(': ')[2] or fault}"
                yield self._problem("label out of range", offset, "label", reason)

    def _label_fault(self, labels: Any) -> str | None:
        if self._task is None:
            return None
        try:
            self._task.check_labels(tf.nest.map_structure(np.asarray, labels), self._name)
        except ValueError as error:
            return str(error)
        return None

    def _check_images(self, rows: Sequence[tuple[int, bytes]], features: Mapping[str, tf.Tensor]) -> Iterator[Problem]:
        for name in encoded_names(features, self._raw):
            feature = self._raw[name]

            def decode(example, name=name, feature=feature):
                return {name: feature.decode(example[name])}

            _, is_good = decode_good({name: features[name]}, self._raw, decode, parallel_calls=_THREADS)
            for number in np.flatnonzero(~is_good.numpy()).tolist():
                kind, reason = f"undecodable {type(feature).__name__.lower()}", "can't be decoded"
                try:
                    feature.decode(features[name][number])
                except tf.errors.OpError as error:
                    reason = explain(error)
                yield self._problem(kind, rows[number][0], f"feature {name!r}", reason)
