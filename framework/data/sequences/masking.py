"""Sequences of varying length in one dense tensor: as many steps as the longest has, zeros after an example's end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import tensorflow as tf

Keep = Literal["first", "last"]


def masked_steps(
    steps: Mapping[str, tf.Tensor], length: tf.Tensor, *, max_length: int | None = None, keep: Keep = "first"
) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    """Cuts padded sequences to what is there, and says where that is.

    What a client has put after an example's end, and how far it has padded, makes no difference.

    Args:
        steps: `{name: [batch, time, ...]}`.
        length: Steps of each example, integer `[batch]`.
        max_length: Longer examples are cut to so many steps.
        keep: Which steps of those: the `"first"` or the `"last"`.

    Returns:
        `{name: [batch, longest, ...]}`, zero (or empty text) after an example's end, and a mask bool
        `[batch, longest]`, true where there is a step: what Keras' recurrent and attention layers take. `longest` is
        that of the batch, at least 1.

    Raises:
        tf.errors.InvalidArgumentError: (when run) A length is negative, or larger than the number of steps given.
    """
    length = tf.cast(length, tf.int64)
    kept = length if max_length is None else tf.minimum(length, max_length)
    longest = tf.maximum(tf.reduce_max(kept), 1)
    mask = tf.sequence_mask(kept, longest)
    cut = {}
    for name, values in steps.items():
        given = tf.shape(values, out_type=tf.int64)[1]
        message = f"Lengths must be between 0 and the number of steps of '{name}'; got these and so many steps:"
        fits = tf.reduce_all((length >= 0) & (length <= given))
        with tf.control_dependencies([tf.debugging.Assert(fits, [message, length, given], summarize=32)]):
            values = tf.identity(values)
        if keep == "last" and max_length is not None:
            places = (length - kept)[:, tf.newaxis] + tf.range(longest)
            values = tf.gather(_at_least_one(values, given), tf.minimum(places, tf.maximum(given, 1) - 1), batch_dims=1)
        else:
            values = _at_least_one(values, given)[:, :longest]
        there = tf.reshape(mask, tf.concat([tf.shape(mask), tf.ones([tf.rank(values) - 2], tf.int32)], axis=0))
        cut[name] = tf.where(there, values, tf.zeros_like(values))
        cut[name].set_shape((None, None, *steps[name].shape[2:]))
    return cut, mask


def _at_least_one(values: tf.Tensor, given: tf.Tensor) -> tf.Tensor:
    """With one step more where there is none: no Keras layer can do without."""
    paddings = [[0, 0], [0, tf.cast(given == 0, tf.int32)], *([0, 0] for _ in values.shape[2:])]
    return tf.pad(values, paddings, constant_values="" if values.dtype == tf.string else 0)
