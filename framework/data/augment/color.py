"""Brightness, contrast, saturation and hue."""

import math

import numpy as np
import tensorflow as tf

from framework.data import random
from framework.data.augment.images import (
    ValueRange,
    check_images,
    check_share,
    check_value_range,
    from_float,
    own_seeds,
    times,
    to_float,
)
from framework.data.random import without_autograph

# ITU-R BT.601, in the 16 bit that Pillow's "L" has. Being whole numbers they make sums over uint8 exact in
# float32, so that no order of summation, which depends on the batch, can change a bit.
_LUMA_WEIGHTS = np.array([19595, 38470, 7471]) / 2**16
_LUMA = np.tile(_LUMA_WEIGHTS, [3, 1])  # makes every channel the luma


def _hue_quadrature() -> np.ndarray:
    """Returns the matrix Q of a hue rotation by t: luma + cos(t) (color - luma) + sin(t) Q color."""
    to_yiq = np.array([_LUMA_WEIGHTS, [0.59590059, -0.27455667, -0.32134392], [0.21153661, -0.52273617, 0.31119955]])
    quarter_turn = np.array([[0, 0, 0], [0, 0, 1], [0, -1, 0]])
    # Rounded to whole 2**-14, for the reason above.
    return np.round(np.linalg.inv(to_yiq) @ quarter_turn @ to_yiq * 2**14) / 2**14


_HUE_QUADRATURE = _hue_quadrature()


@without_autograph
def random_color(
    images: tf.Tensor,
    seeds: tf.Tensor,
    *,
    brightness: float = 0.0,
    contrast: float = 0.0,
    saturation: float = 0.0,
    hue: float = 0.0,
    value_range: ValueRange = None,
    salt: int | str = "",
) -> tf.Tensor:
    """Changes the colors of each image at random.

    The four are applied in the order of the arguments, and rounded and clipped once at the end.

    Args:
        images: uint8 or floating [batch, height, width, channels].
        seeds: int64 [batch, 2], as from `random.example_seeds`.
        brightness: In [0, 1]. The values are multiplied by a factor uniform in [1 - brightness, 1 + brightness).
        contrast: In [0, 1]. Likewise for the distance to the image's mean luma.
        saturation: In [0, 1]. Likewise for the distance to the pixel's own luma. Of 3 channels only.
        hue: In [0, 1/2]. Colors are rotated by up to this share of a full turn, to either side. Of 3 channels only.
        value_range: What floating images are clipped to, (low, high); None doesn't clip. uint8 has its own.
        salt: Tells two uses on the same seeds apart.

    Returns:
        Images of the same shape and dtype. With all parameters 0, the input itself.

    Raises:
        TypeError: `images` is neither uint8 nor floating, or `seeds` isn't int64.
        ValueError: `images` isn't of rank 4, a parameter is outside its range, or saturation or hue is asked
            for and the channels aren't 3.
    """
    check_images(images, "random_color")
    shares = {"brightness": brightness, "contrast": contrast, "saturation": saturation, "hue": hue}
    for name, share in shares.items():
        check_share("random_color", name, share, below=0.5 if name == "hue" else 1.0)
        if name in ("saturation", "hue") and share and images.shape[3] != 3:
            raise ValueError(
                f"random_color got {name}={share!r} for images of {images.shape[3]} channels; expected 3 (RGB). "
                f"Leave {name} at 0, or where the number is only unknown, give it with tf.ensure_shape."
            )
    check_value_range("random_color", value_range)
    seeds = own_seeds(seeds, "random_color", salt)
    if not any(shares.values()):
        return images
    # Always four columns, so that what is drawn for one change doesn't depend on the others.
    drawn = tf.unstack(random.uniform(seeds, [4], -1.0, 1.0), axis=1)
    changes = {name: one * share for (name, share), one in zip(shares.items(), drawn, strict=True) if share}
    factors = {name: change if name == "hue" else 1.0 + change for name, change in changes.items()}
    return adjust_color(images, **factors, value_range=value_range)


@without_autograph
def adjust_color(
    images: tf.Tensor,
    *,
    brightness: tf.Tensor | None = None,
    contrast: tf.Tensor | None = None,
    saturation: tf.Tensor | None = None,
    hue: tf.Tensor | None = None,
    value_range: ValueRange = None,
) -> tf.Tensor:
    """Changes the colors of each image by given amounts; the deterministic half of `random_color`.

    Brightness, contrast and saturation are those of Pillow's `ImageEnhance`, without its rounding in between.
    Hue is a rotation in YIQ, which keeps the luma. All are linear, so they are composed before they touch a
    pixel.

    Args:
        images: uint8 or floating [batch, height, width, channels]; 3 channels where saturation or hue is given.
        brightness: Factors, float32 [batch].
        contrast: Factors, float32 [batch].
        saturation: Factors, float32 [batch].
        hue: Shares of a full turn, float32 [batch].
        value_range: What floating images are clipped to, (low, high); None doesn't clip.

    Returns:
        Images of the same shape and dtype.
    """
    one = tf.ones(tf.shape(images)[:1])
    gain = one if brightness is None else brightness
    offset = None
    if contrast is not None:
        offset = gain * (1.0 - contrast) * _mean_luma(images)
        gain = gain * contrast
    own, luma, quadrature = one if saturation is None else saturation, None, None
    if hue is not None:
        # In float64, so that rounding takes the last bit of sin and cos away, which depends on the place in the batch.
        angle = tf.cast(hue, tf.float64) * (2.0 * math.pi)
        quadrature = gain * own * tf.cast(tf.sin(angle), tf.float32)
        own = own * tf.cast(tf.cos(angle), tf.float32)
    if saturation is not None or hue is not None:
        luma = gain * (1.0 - own)

    values = to_float(images)
    flat = tf.reshape(values, [tf.shape(values)[0], -1])
    changed = times(gain * own, flat)
    if luma is not None:
        changed += times(luma, tf.reshape(_mix_channels(values, images.dtype, _LUMA), tf.shape(flat)))
    if quadrature is not None:
        mixed = _mix_channels(values, images.dtype, _HUE_QUADRATURE)
        changed += times(quadrature, tf.reshape(mixed, tf.shape(flat)))
    if offset is not None:
        changed += tf.cast(offset, flat.dtype)[:, tf.newaxis]
    return tf.reshape(from_float(changed, images.dtype, value_range), tf.shape(images))


def _mix_channels(values: tf.Tensor, dtype: tf.DType, matrix: np.ndarray) -> tf.Tensor:
    """Returns the matrix times each pixel."""
    if dtype == tf.uint8:
        return tf.matmul(tf.reshape(values, [-1, 3]), tf.constant(matrix.T, values.dtype))
    # A matrix product's last bit depends on the number of rows; here each sum is written out.
    planes = tf.unstack(values, axis=-1)
    mixed = [sum(plane * weight for plane, weight in zip(planes, row, strict=True)) for row in matrix.tolist()]
    return tf.stack(mixed, axis=-1)


def _mean_luma(images: tf.Tensor) -> tf.Tensor:
    """Returns float32 [batch]: the mean luma of RGB, and the mean of whatever else."""
    # Sums of integers are exact, and float64 leaves no trace in a float32 of the order in which floats are summed.
    wide = tf.cast(images, tf.int64 if images.dtype == tf.uint8 else tf.float64)
    height, width = tf.shape(images)[1], tf.shape(images)[2]
    sums = tf.cast(tf.reduce_sum(wide, axis=[1, 2]), tf.float64)
    weights = _LUMA_WEIGHTS if images.shape[3] == 3 else 1.0 / tf.cast(tf.shape(images)[3], tf.float64)
    return tf.cast(tf.reduce_sum(sums * weights, axis=1) * (1.0 / tf.cast(height * width, tf.float64)), tf.float32)
