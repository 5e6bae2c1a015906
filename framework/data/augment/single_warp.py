"""Resize, flip, zoom, rotation and shift of a decoded image in one interpolation, by OpenCV.

In training the pixels of a file are at hand in the size that the file has. What would be a resize to the model's size
and then `random_affine` becomes one affine map, which blurs once instead of twice, in a fraction of the time. Python
runs it: it can be part of training, not of a signature.
"""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import tensorflow as tf

from framework.data.augment.affine import Motion
from framework.data.augment.images import part_of
from framework.data.augment.scalar_draws import salt_of, uniform
from framework.data.random import without_autograph
from framework.extras import require
from framework.media import Image, centre_crop


class SingleWarp:
    """Moves images as `random_affine` with the same seeds moves them once they are resized.

    What comes in from outside is black. An image that doesn't move is that of `Image.decode` to within a grey level.
    What becomes of one depends on its pixels and its seed alone, to the bit.

    Args:
        image: What is made of images: `shape` and `aspect`.
        motion: How far they may move.
        salt: As in `random_affine`.

    Raises:
        ImportError: OpenCV isn't installed.
    """

    def __init__(self, image: Image, motion: Motion, *, salt: int | str = ""):
        self._cv2 = require("cv2", extra="opencv", purpose="The warp 'opencv'")
        # tf.data has threads of its own; OpenCV's would only be in their way. This is a setting of the whole process.
        self._cv2.setNumThreads(1)
        self.image = image
        self.motion = motion
        self._shape = cast(tuple[int, int, int], image.shape)  # an Image has no axis of varying length
        self._salt = salt_of("random_affine", salt)

    @without_autograph
    def __call__(self, pixels: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """One image.

        Args:
            pixels: uint8 `[height, width, channels]`, of any height and width, as from `framework.media.decode_image`.
            seed: int64 `[2]`, the example's own.

        Returns:
            uint8 `[*image.shape]`.
        """
        warped = tf.numpy_function(self._warp, [self._fitted(pixels), seed], tf.uint8, stateful=False)
        return tf.ensure_shape(warped, self._shape)

    @without_autograph
    def batch(self, images: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        """A batch of images that have the size already, uint8 `[batch, *image.shape]`; seeds int64 `[batch, 2]`."""

        def warp(images: np.ndarray, seeds: np.ndarray) -> np.ndarray:
            warped = np.empty_like(images)
            for row, (pixels, seed) in enumerate(zip(images, seeds, strict=True)):
                warped[row] = self._warp(pixels, seed)
            return warped

        warped = tf.numpy_function(warp, [images, seeds], tf.uint8, stateful=False)
        return tf.ensure_shape(warped, images.shape)

    def _fitted(self, pixels: tf.Tensor) -> tf.Tensor:
        """Pixels in the image's proportions, or stretched, of once to twice its size: no others need one interpolation.

        Of a larger one, interpolation would leave pixels out. With a smaller one, a pixel on the edge of the result
        would lie half outside, where it is black.
        """
        height, width, _ = self._shape
        shown = centre_crop(pixels[tf.newaxis], self._shape)[0] if self.image.aspect == "crop" else pixels
        size = tf.shape(shown)
        is_right = tf.minimum(size[0] // height, size[1] // width) == 1
        if self.image.aspect == "pad":
            is_right = tf.constant(False)
        return tf.cond(is_right, lambda: shown, lambda: self.image.from_served(pixels[tf.newaxis])[0])

    def _warp(self, pixels: np.ndarray, seed: np.ndarray) -> np.ndarray:
        height, width, _ = self._shape
        cv2 = self._cv2
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        warped = cv2.warpAffine(pixels, self._inverse_map(pixels.shape, seed), (width, height), flags=flags)
        return warped.reshape(self._shape)  # OpenCV drops the axis of a single channel

    def _inverse_map(self, size: tuple[int, ...], seed: np.ndarray) -> np.ndarray:
        """From a place in the result to its source's, float64 `[2, 3]`. `affine` has the same, and says why."""
        height, width, _ = self._shape
        flip_y, flip_x, down, right, angle, magnify = uniform(seed.tolist(), self._salt, 6)
        vertical, horizontal = self.motion.flips
        sign_y = -1.0 if vertical and flip_y < 0.5 else 1.0
        sign_x = -1.0 if horizontal and flip_x < 0.5 else 1.0
        angle = (angle * 2.0 - 1.0) * math.radians(self.motion.rotation)
        magnification = 1.0 + (magnify * 2.0 - 1.0) * self.motion.zoom
        cosine, sine = math.cos(angle) / magnification, math.sin(angle) / magnification
        a, b, d, e = sign_x * cosine, -sign_x * sine, sign_y * sine, sign_y * cosine
        centre_y, centre_x = (height - 1) / 2, (width - 1) / 2
        y = centre_y + _whole_pixels(down, height, self.motion.shifts[0])
        x = centre_x + _whole_pixels(right, width, self.motion.shifts[1])
        # Pixel i is the square from i to i + 1; its value is that of its centre.
        scale_y, scale_x = size[0] / height, size[1] / width
        c, f = (
            scale_x * (centre_x - (a * x + b * y) + 0.5) - 0.5,
            scale_y * (centre_y - (d * x + e * y) + 0.5) - 0.5,
        )
        return np.array([[scale_x * a, scale_x * b, c], [scale_y * d, scale_y * e, f]])


def _whole_pixels(drawn: float, length: int, share: float) -> int:
    if not share:
        return 0
    most = part_of(length, share)
    return int(np.float32(drawn) * np.float32(2 * most + 1)) - most  # in float32, as there
