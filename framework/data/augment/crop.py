"""Crops of random size, place and aspect ratio, resized to one size."""

import math

import tensorflow as tf

from framework.data import random
from framework.data.augment.images import check_images, own_seeds, spatial_size
from framework.data.augment.warp import Sampling, transforms_of, warp
from framework.data.random import without_autograph

_ATTEMPTS = 10


@without_autograph
def random_resized_crop(
    images: tf.Tensor,
    seeds: tf.Tensor,
    size: tuple[int, int],
    *,
    area: tuple[float, float] = (0.08, 1.0),
    aspect: tuple[float, float] = (3 / 4, 4 / 3),
    interpolation: str = "bilinear",
    salt: int | str = "",
) -> tf.Tensor:
    """Cuts a random rectangle out of each image and resizes it: Szegedy et al., "Going deeper with convolutions", 2015.

    The rectangle's share of the area is uniform, the logarithm of its aspect ratio too. Of ten such draws the
    first that fits into the image is taken; if none does, the largest rectangle with an aspect ratio in the
    range. Its corners needn't be on whole pixels. Shrinking doesn't smooth first: to make images much
    smaller, resize them with `tf.image.resize(..., antialias=True)` before.

    Args:
        images: uint8 or floating [batch, height, width, channels]; the size may be unknown when tracing.
        seeds: int64 [batch, 2], as from `random.example_seeds`.
        size: (height, width) of the result.
        area: Least and largest share of the image's area, in (0, 1].
        aspect: Least and largest width / height.
        interpolation: "bilinear" or "nearest".
        salt: Tells two uses on the same seeds apart.

    Returns:
        [batch, *size, channels], dtype kept.

    Raises:
        TypeError: `images` is neither uint8 nor floating, or `seeds` isn't int64.
        ValueError: `images` isn't of rank 4, or a parameter is outside its range.
    """
    check_images(images, "random_resized_crop")
    if len(size) != 2 or not all(isinstance(length, int) and length > 0 for length in size):
        raise ValueError(f"random_resized_crop got size={size!r}; expected (height, width) in pixels.")
    sampling = Sampling(interpolation, fill="nearest")
    top, left, crop_height, crop_width = draw_windows(seeds, *spatial_size(images), area=area, aspect=aspect, salt=salt)

    # Pixel i is the square from i to i + 1; its value is that of its centre.
    scale_y, scale_x = crop_height * (1.0 / size[0]), crop_width * (1.0 / size[1])
    none = tf.zeros_like(top)
    offset_x, offset_y = left + (scale_x - 1.0) * 0.5, top + (scale_y - 1.0) * 0.5
    return warp(images, transforms_of(scale_x, none, offset_x, none, scale_y, offset_y), size, sampling)


@without_autograph
def draw_windows(
    seeds: tf.Tensor,
    height: int | tf.Tensor,
    width: int | tf.Tensor,
    *,
    area: tuple[float, float] = (0.08, 1.0),
    aspect: tuple[float, float] = (3 / 4, 4 / 3),
    salt: int | str = "",
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """The rectangles that `random_resized_crop` cuts out of images of this size.

    Returns:
        (top, left, height, width) in pixels, each float64 [batch].

    Raises:
        TypeError: `seeds` isn't int64.
        ValueError: A parameter is outside its range.
    """
    if len(area) != 2 or not 0.0 < area[0] <= area[1] <= 1.0:
        raise ValueError(f"random_resized_crop got area={area!r}; expected (least, largest) in (0, 1].")
    if len(aspect) != 2 or not 0.0 < aspect[0] <= aspect[1] < math.inf:
        raise ValueError(f"random_resized_crop got aspect={aspect!r}; expected (least, largest) above 0.")
    seeds = own_seeds(seeds, "random_resized_crop", salt)
    drawn = tf.cast(random.uniform(seeds, [2 * _ATTEMPTS + 2]), tf.float64)
    height, width = tf.cast(height, tf.float64), tf.cast(width, tf.float64)
    crop_height, crop_width = _crop_size(drawn[:, : 2 * _ATTEMPTS], height, width, area, aspect)
    return drawn[:, -2] * (height - crop_height), drawn[:, -1] * (width - crop_width), crop_height, crop_width


def _crop_size(
    drawn: tf.Tensor,
    height: tf.Tensor,
    width: tf.Tensor,
    area: tuple[float, float],
    aspect: tuple[float, float],
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns (heights, widths), float64 [batch]."""
    areas = (drawn[:, :_ATTEMPTS] * (area[1] - area[0]) + area[0]) * (height * width)
    low, high = (math.log(ratio) for ratio in aspect)
    aspects = tf.exp(drawn[:, _ATTEMPTS:] * (high - low) + low)
    heights, widths = tf.sqrt(areas / aspects), tf.sqrt(areas * aspects)
    fits = tf.logical_and(heights <= height, widths <= width)

    # Behind the draws the rectangle to fall back on, which always fits.
    nearest_aspect = tf.clip_by_value(width / height, *aspect)
    last = tf.stack([tf.minimum(height, width / nearest_aspect), tf.minimum(width, height * nearest_aspect)])
    last = tf.broadcast_to(last, [tf.shape(drawn)[0], 2])
    first = tf.argmax(tf.pad(tf.cast(fits, tf.int32), [[0, 0], [0, 1]], constant_values=1), axis=1)
    heights = tf.gather(tf.concat([heights, last[:, :1]], axis=1), first, batch_dims=1)
    widths = tf.gather(tf.concat([widths, last[:, 1:]], axis=1), first, batch_dims=1)
    return heights, widths
