"""Flips, shifts, rotations and zooms, all in one resampling.

Asked for together they are composed into one affine map, so that an image is interpolated once. Flips and shifts alone
move whole pixels and interpolate nothing. The order is flip, zoom, rotation, shift; rotation and zoom are about the
centre.
"""

import math
from collections.abc import Sequence

import tensorflow as tf

from framework.data import random
from framework.data.augment.images import check_images, check_share, own_seeds, part_of, spatial_size
from framework.data.augment.warp import Sampling, about_centre, pick, warp

# Flips have nothing to fill or to interpolate.
_EXACT = Sampling()


def random_affine(
    images: tf.Tensor,
    seeds: tf.Tensor,
    *,
    flip_horizontal: bool = False,
    flip_vertical: bool = False,
    shift: float | Sequence[float] = 0.0,
    rotation: float = 0.0,
    zoom: float = 0.0,
    interpolation: str = "bilinear",
    fill: str = "constant",
    fill_value: float = 0.0,
    salt: int | str = "",
) -> tf.Tensor:
    """Flips, zooms, rotates and shifts each image at random.

    With the same seeds a mask moves as its image does; give it `interpolation="nearest"`. What an example draws for one
    movement doesn't change when another is switched on.

    Args:
        images: uint8 or floating [batch, height, width, channels]; the size may be unknown when tracing.
        seeds: int64 [batch, 2], as from `random.example_seeds`.
        flip_horizontal: Mirror left and right, with probability 1/2.
        flip_vertical: Mirror top and bottom, with probability 1/2.
        shift: Largest shift as a share of the size, or (of the height, of the width), in [0, 1]. Shifts are uniform over
            the whole pixels up to the share, rounded and at least one.
        rotation: Largest angle in degrees, in [0, 180]; uniform, to either side.
        zoom: Magnification is uniform in [1 - zoom, 1 + zoom), in both directions alike; zoom is in [0, 1).
        interpolation: "bilinear" or "nearest"; without rotation and zoom there is nothing to interpolate.
        fill: What comes in from outside: "constant", "reflect", "nearest" or "wrap"; see `warp.Sampling`.
        fill_value: The value of "constant", in the images' own range.
        salt: Tells two uses on the same seeds apart.

    Returns:
        Images of the same shape and dtype. With all parameters 0, the input itself.

    Raises:
        TypeError: `images` is neither uint8 nor floating, or `seeds` isn't int64.
        ValueError: `images` isn't of rank 4, or a parameter is outside its range.
    """
    sampling = Sampling(interpolation, fill, fill_value)
    return _move(
        "random_affine",
        images,
        seeds,
        salt,
        (flip_vertical, flip_horizontal),
        shift,
        rotation,
        zoom,
        sampling,
    )


def random_flip(
    images: tf.Tensor,
    seeds: tf.Tensor,
    *,
    horizontal: bool = True,
    vertical: bool = False,
    salt: int | str = "",
) -> tf.Tensor:
    """Mirrors each image with probability 1/2 in each direction asked for; see `random_affine`."""
    return _move("random_flip", images, seeds, salt, flips=(vertical, horizontal))


def random_shift(
    images: tf.Tensor,
    seeds: tf.Tensor,
    shift: float | Sequence[float],
    *,
    fill: str = "constant",
    fill_value: float = 0.0,
    salt: int | str = "",
) -> tf.Tensor:
    """Shifts each image by whole pixels, up to a share of its size; see `random_affine`."""
    sampling = Sampling(fill=fill, fill_value=fill_value)
    return _move("random_shift", images, seeds, salt, shift=shift, sampling=sampling)


def random_rotation(
    images: tf.Tensor,
    seeds: tf.Tensor,
    rotation: float,
    *,
    interpolation: str = "bilinear",
    fill: str = "constant",
    fill_value: float = 0.0,
    salt: int | str = "",
) -> tf.Tensor:
    """Rotates each image by up to `rotation` degrees; see `random_affine`."""
    sampling = Sampling(interpolation, fill, fill_value)
    return _move("random_rotation", images, seeds, salt, rotation=rotation, sampling=sampling)


def random_zoom(
    images: tf.Tensor,
    seeds: tf.Tensor,
    zoom: float,
    *,
    interpolation: str = "bilinear",
    fill: str = "constant",
    fill_value: float = 0.0,
    salt: int | str = "",
) -> tf.Tensor:
    """Magnifies each image by 1 - zoom to 1 + zoom; see `random_affine`."""
    sampling = Sampling(interpolation, fill, fill_value)
    return _move("random_zoom", images, seeds, salt, zoom=zoom, sampling=sampling)


def _move(
    function: str,
    images: tf.Tensor,
    seeds: tf.Tensor,
    salt: int | str,
    flips: tuple[bool, bool] = (False, False),
    shift: float | Sequence[float] = 0.0,
    rotation: float = 0.0,
    zoom: float = 0.0,
    sampling: Sampling = _EXACT,
) -> tf.Tensor:
    check_images(images, function)
    sampling.check(images.dtype)
    shifts = _check_shift(function, shift)
    check_share(function, "rotation", rotation, below=180.0)
    if check_share(function, "zoom", zoom) == 1.0:
        raise ValueError(f"{function} got zoom=1; expected less than 1, since an image magnified 0 times is a point.")
    seeds = own_seeds(seeds, function, salt)
    if not (any(flips) or any(shifts) or rotation or zoom):
        return images

    size = spatial_size(images)
    # Always six columns, so that what is drawn for one movement doesn't depend on the others.
    flip_y, flip_x, down, right, angle, magnify = tf.unstack(random.uniform(seeds, [6]), axis=1)
    flipped = [drawn < 0.5 if asked else None for drawn, asked in zip((flip_y, flip_x), flips, strict=True)]
    pixels = [_whole_pixels(*args) for args in zip((down, right), size, shifts, strict=True)]
    if not rotation and not zoom:
        return pick(images, *(_source(*args) for args in zip(size, flipped, pixels, strict=True)), sampling)

    # The inverse map, from an output's place to its source's: undo the rotation and the zoom, then the flip. sin and cos
    # in float64, where the last bit, which depends on the place in the batch, is rounded away.
    angle = tf.cast(angle * (2.0 * rotation) - rotation, tf.float64) * (math.pi / 180.0)
    magnification = magnify * (2.0 * zoom) + (1.0 - zoom)
    cosine = tf.cast(tf.cos(angle), tf.float32) / magnification
    sine = tf.cast(tf.sin(angle), tf.float32) / magnification
    sign_y, sign_x = (1.0 if flip is None else tf.where(flip, -1.0, 1.0) for flip in flipped)
    linear = [sign_x * cosine, -sign_x * sine, sign_y * sine, sign_y * cosine]
    no_shift = tf.zeros_like(cosine)
    shift_by = [no_shift if shifted is None else tf.cast(shifted, tf.float32) for shifted in pixels]
    return warp(images, about_centre(linear, shift_by, size), size, sampling)


def _check_shift(function: str, shift: float | Sequence[float]) -> tuple[float, float]:
    shifts = (shift, shift) if isinstance(shift, int | float) else tuple(shift)
    if len(shifts) != 2:
        raise ValueError(f"{function} got shift={shift!r}; expected a number or (of the height, of the width).")
    return tuple(check_share(function, "shift", one) for one in shifts)


def _whole_pixels(drawn: tf.Tensor, length: int | tf.Tensor, share: float) -> tf.Tensor | None:
    if not share:
        return None
    most = part_of(length, share)
    return tf.cast(tf.floor(drawn * tf.cast(2 * most + 1, tf.float32)), tf.int32) - most


def _source(length: int | tf.Tensor, flip: tf.Tensor | None, shift: tf.Tensor | None) -> tf.Tensor | None:
    """Returns where each row comes from, int32 [batch, length]; None if from its own place."""
    if flip is None and shift is None:
        return None
    source = tf.range(length)[tf.newaxis]
    if shift is not None:
        source = source - shift[:, tf.newaxis]
    if flip is not None:
        source = tf.where(flip[:, tf.newaxis], length - 1 - source, source)
    return source
