"""The labels of all records, by one pass over them: which there are, and which example has which."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from framework.data.records.kept import kept, number_each
from framework.data.records.schema import Field, list_fault
from framework.data.records.source import RecordSource


class Labels(NamedTuple):
    """What examples have for a label.

    Attributes:
        values: The different ones, sorted: int64 or text `[values]`.
        places: Which of them each example has, int64 `[examples]`; -1 of one that has none that could be read.
    """

    values: np.ndarray
    places: np.ndarray


def read_labels(source: RecordSource) -> Labels:
    """Reads the labels of a source that has a single one, a whole number or text.

    Raises:
        BadExampleError: A stream can't be read.
    """
    label = source.schema.labels
    if not isinstance(label, Field):
        raise TypeError(f"Expected one label, got those of the heads {sorted(label)}.")
    field = Field(label.listed, label.key)  # whatever classes there are said to be
    numbers: dict[int | str, int] = {}

    def number(record: bytes) -> int:
        value = _value(record, field)
        return -1 if value is None else numbers.setdefault(value, len(numbers))

    def read() -> dict[str, np.ndarray]:
        found = number_each(source, number, "Reading the labels of records")
        values = sorted(numbers)
        places = np.full(len(values) + 1, -1)  # the last one is that of those that have none
        places[[numbers[value] for value in values]] = np.arange(len(values))
        is_text = field.feature.dtype == "string"
        return {"values": np.array(values, str if is_text else np.int64), "places": places[found]}

    return Labels(**kept(source, f"labels {field.feature.dtype} from {field.key}", read))


def _value(record: bytes, field: Field) -> int | str | None:
    """What a record of either kind has for a label, if that can be used."""
    try:
        # To this parser the context of a SequenceExample is the features of a tf.Example.
        found = tf.train.Example.FromString(record).features.feature
    except DecodeError:
        return None
    if field.key not in found or list_fault(found[field.key], field):
        return None
    (value,) = getattr(found[field.key], found[field.key].WhichOneof("kind")).value
    try:
        return value.decode() if isinstance(value, bytes) else value
    except UnicodeDecodeError:
        return None
