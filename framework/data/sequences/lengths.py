"""How many steps each example has: told by one pass over the records, and kept."""

from __future__ import annotations

import contextlib
import itertools
import math
import pathlib
from collections.abc import Iterator

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from framework import files
from framework.data.records.framing import read_records
from framework.data.records.index import places
from framework.data.records.sequence_schema import SequenceSchema
from framework.data.records.source import RecordSource
from framework.data.statistics import progress

_CHUNK = 1024


def sequence_lengths(source: RecordSource) -> np.ndarray:
    """Steps of every example of a source with random access, int64 `[examples]`.

    They are kept beside the files' indexes, under the fingerprint of the data. A record that is no proto has none; it
    is a bad example wherever it is read.

    Raises:
        ValueError: The records aren't sequences.
        CorruptRecordError: A file's records can't be found.
    """
    if not isinstance(source.schema, SequenceSchema):
        raise ValueError(f"Expected records of {SequenceSchema.proto}, these are of {source.schema.proto}.")
    kept_at = [place.with_name(f"{source.fingerprint()}.lengths.npy") for place in places(source.paths[0])]
    for place in kept_at:
        with contextlib.suppress(OSError, ValueError):
            lengths = np.load(place, allow_pickle=False)
            if lengths.shape == (source.num_examples,):
                return lengths
    counted = _lengths(source.paths, source.schema.sequence_keys[0])
    parts = (list(itertools.islice(counted, _CHUNK)) for _ in range(0, source.num_examples, _CHUNK))
    total = math.ceil(source.num_examples / _CHUNK)
    lengths = np.concatenate([*progress(parts, "Counting the steps of sequences", total=total)]).astype(np.int64)
    _keep(lengths, kept_at)
    return lengths


def _lengths(paths: list[str], key: str) -> Iterator[int]:
    for path in paths:
        for _, record, _ in read_records(path):
            try:
                lists = tf.train.SequenceExample.FromString(record).feature_lists.feature_list
            except DecodeError:
                yield 0
            else:
                yield len(lists[key].feature)


def _keep(lengths: np.ndarray, kept_at: list[pathlib.Path]) -> None:
    for place in kept_at:
        with contextlib.suppress(OSError):  # read-only or full, here or there: then they are counted again next time
            place.parent.mkdir(parents=True, exist_ok=True)
            with files.replacing(place) as temporary, temporary.open("wb") as file:
                np.save(file, lengths)
            return
