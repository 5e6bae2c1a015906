"""The batches every augmentation takes: their checks, and the way to float and back."""

import numpy as np
import tensorflow as tf

from framework.data import random

ValueRange = tuple[float, float] | None


def check_images(images: tf.Tensor, function: str) -> None:
    """Raises unless `images` is uint8 or floating [batch, height, width, channels]; names the function in the error."""
    if not tf.is_tensor(images) or not (images.dtype == tf.uint8 or images.dtype.is_floating):
        got = images.dtype.name if tf.is_tensor(images) else type(images).__name__
        raise TypeError(f"{function} got images of {got}; expected a tensor of uint8 or of a floating dtype.")
    if images.shape.rank != 4:
        raise ValueError(
            f"{function} got images of shape {images.shape}; expected [batch, height, width, channels]. "
            "Give a missing axis with tf.expand_dims, an unknown rank with tf.ensure_shape."
        )


def check_share(function: str, name: str, value: float, below: float = 1.0) -> float:
    """Returns the value as a float if it is in [0, below], and raises a ValueError otherwise."""
    if not 0.0 <= value <= below:
        raise ValueError(f"{function} got {name}={value!r}; expected a number in [0, {below:g}].")
    return float(value)


def own_seeds(seeds: tf.Tensor, function: str, salt: int | str) -> tf.Tensor:
    """Returns the function's own stream, so that two functions given the same seeds draw independently."""
    return random.fold_in(seeds, function, salt)


def spatial_size(images: tf.Tensor) -> tuple[int | tf.Tensor, int | tf.Tensor]:
    """Returns (height, width): each an int where it is known when tracing, an int32 scalar where it isn't."""
    dynamic = tf.shape(images)
    return tuple(dynamic[axis] if images.shape[axis] is None else images.shape[axis] for axis in (1, 2))


def part_of(length: int | tf.Tensor, share: float) -> int | tf.Tensor:
    """Returns a share of a length in whole pixels: rounded, and at least one."""
    if isinstance(length, int):
        return max(1, round(share * length))
    return tf.maximum(1, tf.cast(tf.round(share * tf.cast(length, tf.float64)), tf.int32))


def to_float(images: tf.Tensor) -> tf.Tensor:
    """Returns the values as float64 if they were, as float32 otherwise."""
    return images if images.dtype == tf.float64 else tf.cast(images, tf.float32)


def from_float(values: tf.Tensor, dtype: tf.DType, value_range: ValueRange = None) -> tf.Tensor:
    """Returns the values in an image's dtype.

    uint8 is rounded and clipped to 0 ... 255; floats are clipped to `value_range`, and not at all where it is None.
    """
    if dtype == tf.uint8:
        # The cast cuts the fraction off, and of what is at least 0 that plus a half rounds.
        return tf.cast(tf.clip_by_value(values + 0.5, 0.0, 255.5), tf.uint8)
    if value_range is not None:
        values = tf.clip_by_value(values, *value_range)
    return tf.cast(values, dtype)


def check_value_range(function: str, value_range: ValueRange) -> None:
    """Raises unless `value_range` is None or (low, high) with low < high."""
    if value_range is None:
        return
    if len(value_range) != 2 or not (np.isfinite(value_range).all() and value_range[0] < value_range[1]):
        raise ValueError(f"{function} got value_range={value_range!r}; expected (low, high) with low < high, or None.")


def times(factors: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """Multiplies [batch, numbers] by one factor per example."""
    return values * tf.cast(factors, values.dtype)[:, tf.newaxis]


def select(mask: tf.Tensor, values: tf.Tensor, images: tf.Tensor) -> tf.Tensor:
    """Returns the values, of the images' shape or a scalar, where the mask of that shape is set, the images elsewhere.

    That is `tf.where`, which in TensorFlow 2.21 takes five times as long for four axes as for one.
    """
    values = values if values.shape.rank == 0 else tf.reshape(values, [-1])
    return tf.reshape(tf.where(tf.reshape(mask, [-1]), values, tf.reshape(images, [-1])), tf.shape(images))
