"""Flips, shifts, rotations and zooms, all in one resampling.

Asked for together they are composed into one affine map, so that an image is interpolated once. Flips and
shifts alone move whole pixels and interpolate nothing. The order is flip, zoom, rotation, shift; rotation and
zoom are about the centre.
"""

import dataclasses
import math
from collections.abc import Sequence

import tensorflow as tf

from framework.data import random
from framework.data.augment.images import check_images, own_seeds, part_of, spatial_size
from framework.data.augment.warp import Sampling, about_centre, pick, warp
from framework.data.random import without_autograph


@dataclasses.dataclass(frozen=True)
class Motion:
    """How far an image may move; the attributes are the parameters of `random_affine`.

    Attributes:
        flips: Whether to mirror (top and bottom, left and right).
        shift: Largest shift as a share of the size, or (of the height, of the width).
        rotation: Largest angle in degrees.
        zoom: Largest change of the magnification.

    Raises:
        ValueError: A number is outside its range.
    """

    flips: tuple[bool, bool] = (False, False)
    shift: float | Sequence[float] = 0.0
    rotation: float = 0.0
    zoom: float = 0.0

    def __post_init__(self):
        if len(self.shifts) != 2 or not all(0.0 <= share <= 1.0 for share in self.shifts):
            raise ValueError(f"shift is {self.shift!r}; expected a number in [0, 1] or (of the height, of the width).")
        if not 0.0 <= self.rotation <= 180.0:
            raise ValueError(f"rotation is {self.rotation!r}; expected degrees in [0, 180].")
        if not 0.0 <= self.zoom < 1.0:
            raise ValueError(f"zoom is {self.zoom!r}; expected a number in [0, 1), 0.2 for magnifying by 0.8 to 1.2.")

    @property
    def shifts(self) -> tuple[float, ...]:
        """The largest shifts as shares (of the height, of the width)."""
        return (self.shift, self.shift) if isinstance(self.shift, int | float) else tuple(self.shift)

    @property
    def whole_pixels(self) -> bool:
        """Whether pixels are only moved to other pixels' places."""
        return not self.rotation and not self.zoom


@without_autograph
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

    With the same seeds a mask moves as its image does; give it `interpolation="nearest"`. What an example
    draws for one movement doesn't change when another is switched on.

    Args:
        images: uint8 or floating [batch, height, width, channels]; the size may be unknown when tracing.
        seeds: int64 [batch, 2], as from `random.example_seeds`.
        flip_horizontal: Mirror left and right, with probability 1/2.
        flip_vertical: Mirror top and bottom, with probability 1/2.
        shift: Largest shift as a share of the size, or (of the height, of the width), in [0, 1]. Shifts are
            uniform over the whole pixels up to the share, rounded and at least one.
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
    motion = Motion((flip_vertical, flip_horizontal), shift, rotation, zoom)
    return _move("random_affine", images, seeds, salt, motion, Sampling(interpolation, fill, fill_value))


@without_autograph
def random_flip(
    images: tf.Tensor,
    seeds: tf.Tensor,
    *,
    horizontal: bool = True,
    vertical: bool = False,
    salt: int | str = "",
) -> tf.Tensor:
    """Mirrors each image with probability 1/2 in each direction asked for; see `random_affine`."""
    return _move("random_flip", images, seeds, salt, Motion((vertical, horizontal)), Sampling())


@without_autograph
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
    return _move("random_shift", images, seeds, salt, Motion(shift=shift), sampling)


@without_autograph
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
    return _move("random_rotation", images, seeds, salt, Motion(rotation=rotation), sampling)


@without_autograph
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
    return _move("random_zoom", images, seeds, salt, Motion(zoom=zoom), sampling)


def _move(
    function: str, images: tf.Tensor, seeds: tf.Tensor, salt: int | str, motion: Motion, sampling: Sampling
) -> tf.Tensor:
    check_images(images, function)
    sampling.check(images.dtype)
    seeds = own_seeds(seeds, function, salt)
    if not any(motion.flips) and not any(motion.shifts) and motion.whole_pixels:
        return images

    size = spatial_size(images)
    # Always six columns, so that what is drawn for one movement doesn't depend on the others.
    flip_y, flip_x, down, right, angle, magnify = tf.unstack(random.uniform(seeds, [6]), axis=1)
    flipped = [drawn < 0.5 if asked else None for drawn, asked in zip((flip_y, flip_x), motion.flips, strict=True)]
    pixels = [_whole_pixels(*args) for args in zip((down, right), size, motion.shifts, strict=True)]
    if motion.whole_pixels:
        rows, columns = (_source(*args) for args in zip(size, flipped, pixels, strict=True))
        return pick(images, rows, columns, sampling)

    # The inverse map, from an output's place to its source's: undo the rotation and the zoom, then the flip.
    angle = (tf.cast(angle, tf.float64) * 2.0 - 1.0) * math.radians(motion.rotation)
    magnification = 1.0 + (tf.cast(magnify, tf.float64) * 2.0 - 1.0) * motion.zoom
    cosine, sine = tf.cos(angle) / magnification, tf.sin(angle) / magnification
    one, none = tf.ones_like(angle), tf.zeros_like(angle)
    sign_y, sign_x = (one if flip is None else tf.where(flip, -one, one) for flip in flipped)
    linear = [sign_x * cosine, -sign_x * sine, sign_y * sine, sign_y * cosine]
    shift_by = [none if shifted is None else tf.cast(shifted, tf.float64) for shifted in pixels]
    return warp(images, about_centre(linear, shift_by, size), size, sampling)


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
