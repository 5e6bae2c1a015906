"""Gaussian noise."""

import math

import tensorflow as tf

from framework.data import random
from framework.data.augment.images import (
    ValueRange,
    check_images,
    check_value_range,
    from_float,
    own_seeds,
    to_float,
)
from framework.data.random import without_autograph


@without_autograph
def gaussian_noise(
    images: tf.Tensor,
    seeds: tf.Tensor,
    *,
    stddev: float,
    value_range: ValueRange = None,
    salt: int | str = "",
) -> tf.Tensor:
    """Adds to every value its own normally distributed noise.

    Args:
        images: uint8 or floating [batch, height, width, channels]; the size may be unknown when tracing.
        seeds: int64 [batch, 2], as from `random.example_seeds`.
        stddev: Standard deviation, in the images' own range, at least 0.
        value_range: What floating images are clipped to, (low, high); None doesn't clip. uint8 is rounded and
            clipped.
        salt: Tells two uses on the same seeds apart.

    Returns:
        Images of the same shape and dtype. With stddev 0, the input itself.

    Raises:
        TypeError: `images` is neither uint8 nor floating, or `seeds` isn't int64.
        ValueError: `images` isn't of rank 4, or a parameter is outside its range.
    """
    check_images(images, "gaussian_noise")
    check_value_range("gaussian_noise", value_range)
    if not 0.0 <= stddev < math.inf:
        raise ValueError(f"gaussian_noise got stddev={stddev!r}; expected a finite number of 0 or more.")
    seeds = own_seeds(seeds, "gaussian_noise", salt)
    if not stddev:
        return images
    shape = tf.shape(images)[1:] if None in images.shape[1:] else images.shape[1:]
    noise = random.normal(seeds, shape, stddev=stddev)
    values = to_float(images)
    return from_float(values + tf.cast(noise, values.dtype), images.dtype, value_range)
