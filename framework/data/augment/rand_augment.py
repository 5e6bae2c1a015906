"""RandAugment: a few operations per image, drawn from fourteen, all of one strength.

Cubuk et al., "RandAugment: Practical automated data augmentation with a reduced search space", 2020. In each layer
the batch is sorted into groups by the operation drawn, each group goes through its operation, and the batch is put
together again: an image costs what its own operations cost.
"""

import math

import numpy as np
import tensorflow as tf

from framework.data import random
from framework.data.augment.color import adjust_color
from framework.data.augment.enhance import adjust_sharpness, autocontrast, equalize, posterize, solarize
from framework.data.augment.images import (
    ValueRange,
    check_images,
    check_value_range,
    from_float,
    own_seeds,
    spatial_size,
    to_float,
)
from framework.data.augment.warp import Sampling, about_centre, warp
from framework.data.random import without_autograph

# Magnitude 10 is the end of each range: Cubuk et al., "AutoAugment", 2019, table 6.
_MAX_MAGNITUDE = 10.0
_MAX_ROTATION = 30.0  # degrees
_MAX_SHEAR = 0.3
_MAX_TRANSLATION = 150.0 / 331.0  # of the size: 150 pixels of the paper's 331
_MAX_ENHANCEMENT = 0.9
_MAX_BITS_REMOVED = 4
_GRAY = 128


@without_autograph
def rand_augment(
    images: tf.Tensor,
    seeds: tf.Tensor,
    *,
    num_layers: int = 2,
    magnitude: float = 9.0,
    interpolation: str = "nearest",
    value_range: ValueRange = None,
    salt: int | str = "",
) -> tf.Tensor:
    """Applies `num_layers` operations to each image, each drawn from the paper's fourteen.

    Identity, autocontrast, equalize, rotate, solarize, color, posterize, contrast, brightness, sharpness,
    shear in x and y, translate in x and y; those that have a direction go either way with probability 1/2.
    What departs from the authors' code: strength grows with the magnitude in every operation (there solarize
    and posterize are mildest at 10), the end of translate is a share of the size instead of 150 pixels, shear
    is about the centre instead of the upper left corner, and images of one channel are taken too, for which
    color does nothing.

    Args:
        images: uint8 or floating [batch, height, width, 1 or 3], at least 3 pixels high and wide. Floats are
            rounded to 256 levels of `value_range`.
        seeds: int64 [batch, 2], as from `random.example_seeds`.
        num_layers: Operations per image, at least 1.
        magnitude: Strength, in [0, 10].
        interpolation: "nearest", as the authors have it, or "bilinear".
        value_range: (low, high) of floating images, which have to name it.
        salt: Tells two uses on the same seeds apart.

    Returns:
        Images of the same shape and dtype.

    Raises:
        TypeError: `images` is neither uint8 nor floating, or `seeds` isn't int64.
        ValueError: `images` isn't [batch, height, width, 1 or 3], or a parameter is outside its range.
    """
    _check(images, num_layers, magnitude, value_range)
    sampling = Sampling(interpolation, fill_value=_GRAY)
    dtype, static_shape = images.dtype, images.shape
    low, high = value_range or (0.0, 255.0)
    scale = (high - low) / 255.0
    if dtype != tf.uint8:
        images = from_float((to_float(images) - low) * (1.0 / scale), tf.uint8)
    drawn = random.uniform(own_seeds(seeds, "rand_augment", salt), [num_layers, 2])
    for layer in range(num_layers):
        images = _apply_one_each(images, drawn[:, layer], magnitude / _MAX_MAGNITUDE, sampling)
    images = tf.ensure_shape(images, static_shape)
    if dtype != tf.uint8:
        images = from_float(to_float(images) * scale + low, dtype)
    return images


def _check(images: tf.Tensor, num_layers: int, magnitude: float, value_range: ValueRange) -> None:
    check_images(images, "rand_augment")
    if images.shape[3] not in (1, 3):
        raise ValueError(
            f"rand_augment got images of {images.shape[3]} channels; expected 1 or 3. "
            "Where the number is only unknown, give it with tf.ensure_shape."
        )
    if any(length is not None and length < 3 for length in images.shape[1:3]):
        raise ValueError(
            f"rand_augment got images of shape {images.shape}; expected at least 3 pixels in height and width."
        )
    if not isinstance(num_layers, int) or num_layers < 1:
        raise ValueError(f"rand_augment got num_layers={num_layers!r}; expected an int of 1 or more.")
    if not 0.0 <= magnitude <= _MAX_MAGNITUDE:
        raise ValueError(f"rand_augment got magnitude={magnitude!r}; expected a number in [0, {_MAX_MAGNITUDE:g}].")
    check_value_range("rand_augment", value_range)
    if images.dtype != tf.uint8 and value_range is None:
        raise ValueError(
            f"rand_augment got {images.dtype.name} images and no value_range; expected (low, high), such as (0, 1): "
            "some operations invert values or count them."
        )


def _apply_one_each(images: tf.Tensor, drawn: tf.Tensor, strength: float, sampling: Sampling) -> tf.Tensor:
    """Applies to each image one operation, chosen and directed by its two uniform numbers [batch, 2]."""
    affine_operations = _affine_operations(strength)
    num_pixel_operations = len(_PIXEL_OPERATIONS)
    num_operations = num_pixel_operations + len(affine_operations)
    chosen = tf.cast(tf.floor(drawn[:, 0] * float(num_operations)), tf.int32)
    signs = tf.where(drawn[:, 1] < 0.5, -1.0, 1.0)

    # One group for each pixel operation and, at the end, one for all affine ones: they differ in numbers only.
    group = tf.minimum(chosen, num_pixel_operations)
    parts, part_signs, part_rows, places = (
        tf.dynamic_partition(data, group, num_pixel_operations + 1)
        for data in (images, signs, chosen - num_pixel_operations, tf.range(tf.shape(images)[0]))
    )
    for part in parts:
        part.set_shape([None, *images.shape[1:]])
    applied = [
        operation(part, 1.0 + sign * (_MAX_ENHANCEMENT * strength), strength)
        for operation, part, sign in zip(_PIXEL_OPERATIONS, parts[:-1], part_signs[:-1], strict=True)
    ]
    applied.append(_transform(parts[-1], part_signs[-1], tf.gather(affine_operations, part_rows[-1]), sampling))
    return tf.dynamic_stitch(places, applied)


def _color(images: tf.Tensor, factors: tf.Tensor, strength: float) -> tf.Tensor:
    return adjust_color(images, saturation=factors) if images.shape[3] == 3 else images


# Those that leave every pixel in its place: functions of uint8 images, float32 factors [batch] around 1, and strength.
_PIXEL_OPERATIONS = (
    lambda images, factors, strength: images,
    lambda images, factors, strength: autocontrast(images),
    lambda images, factors, strength: equalize(images),
    lambda images, factors, strength: solarize(images, 256.0 * (1.0 - strength)),
    _color,
    lambda images, factors, strength: posterize(images, 8 - round(_MAX_BITS_REMOVED * strength)),
    lambda images, factors, strength: adjust_color(images, contrast=factors),
    lambda images, factors, strength: adjust_color(images, brightness=factors),
    lambda images, factors, strength: adjust_sharpness(images, factors),
)


def _affine_operations(strength: float) -> np.ndarray:
    """Returns, float64 [5, 2, 6], what rotate, shear x and y, translate x and y have in their transform.

    The numbers are (a, b, d, e, share of the height, share of the width), first the part that is the same
    either way, then the one that changes its sign.
    """
    angle = math.radians(_MAX_ROTATION * strength)
    shear, translation = _MAX_SHEAR * strength, _MAX_TRANSLATION * strength
    same = (1.0, 0.0, 0.0, 1.0, 0.0, 0.0)
    return np.array(
        [
            [(math.cos(angle), 0, 0, math.cos(angle), 0, 0), (0, -math.sin(angle), math.sin(angle), 0, 0, 0)],
            [same, (0, shear, 0, 0, 0, 0)],
            [same, (0, 0, shear, 0, 0, 0)],
            [same, (0, 0, 0, 0, 0, translation)],
            [same, (0, 0, 0, 0, translation, 0)],
        ],
        np.float64,
    )


def _transform(images: tf.Tensor, signs: tf.Tensor, operations: tf.Tensor, sampling: Sampling) -> tf.Tensor:
    """Applies to each image the row of `_affine_operations` that it is given."""
    size = spatial_size(images)
    *linear, down, right = tf.unstack(
        operations[:, 0] + tf.cast(signs, tf.float64)[:, tf.newaxis] * operations[:, 1], axis=1
    )
    shift = [share * tf.cast(length, tf.float64) for share, length in zip((down, right), size, strict=True)]
    return warp(images, about_centre(linear, shift, size), size, sampling)
