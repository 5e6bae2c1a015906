"""How many steps each example has: told by one pass over the records, and kept."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from framework.data.records.kept import kept, number_each
from framework.data.records.sequence_schema import SequenceSchema
from framework.data.records.source import RecordSource


def sequence_lengths(source: RecordSource) -> np.ndarray:
    """Steps of every example, int64 `[examples]`.

    A record that is no proto has none; it is a bad example wherever it is read.

    Raises:
        ValueError: The records aren't sequences.
        BadExampleError: A stream can't be read.
    """
    if not isinstance(source.schema, SequenceSchema):
        raise ValueError(f"Expected records of {SequenceSchema.proto}, these are of {source.schema.proto}.")
    key = source.schema.sequence_keys[0]

    def steps(record: bytes) -> int:
        try:
            lists = tf.train.SequenceExample.FromString(record).feature_lists.feature_list
        except DecodeError:
            return 0
        return len(lists[key].feature)

    def count() -> dict[str, np.ndarray]:
        return {"lengths": number_each(source, steps, "Counting the steps of sequences")}

    return kept(source, f"lengths of {key}", count)["lengths"]
