"""The usual augmentation of photographs, done as far as possible while they are decoded."""

from __future__ import annotations

import dataclasses
from typing import Literal, cast

import tensorflow as tf

from framework.data.augment.affine import Motion, random_affine
from framework.data.augment.color import random_color
from framework.data.augment.crop import random_resized_crop
from framework.data.augment.decoded_crop import decode_random_crop
from framework.data.augment.images import check_share
from framework.data.augment.single_warp import SingleWarp
from framework.media import Image, decode_image, resize


@dataclasses.dataclass(frozen=True)
class ImageAugmentation:
    """Crop, flip, zoom, rotation, shift and colour, for a pipeline's `decode_training` and `augment`.

        def decode_training(self, features, seed):
            return {"image": self.augmentation.decode(features["image"], seed)}

        def augment(self, features, labels, seeds):
            return {"image": self.augmentation.finish(features["image"], seeds)}, labels

    Images that are decoded already, such as cached ones, go through `whole` instead of both.

    Attributes:
        image: What is made of an image.
        flip: Whether to mirror left and right, with probability 1/2.
        rotation: Largest angle in degrees, to either side.
        zoom: Largest change of the magnification.
        shift: Largest shift as a share of the size.
        crop: The least share of the area that a random window is to have; `None` for the whole image.
        color: Largest change of brightness, contrast and saturation.
        warp: What flips, zooms, rotates and shifts: `"tensorflow"`, `random_affine` of resized images; or `"opencv"`,
            `SingleWarp`, which takes much less time and interpolates once.

    Raises:
        ImportError: OpenCV is to be used and isn't installed.
        ValueError: A number is outside its range, or `warp` is something else.
    """

    image: Image
    flip: bool = False
    rotation: float = 0.0
    zoom: float = 0.0
    shift: float = 0.0
    crop: float | None = None
    color: float = 0.0
    warp: Literal["tensorflow", "opencv"] = "tensorflow"
    _once: SingleWarp | None = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self):
        motion = Motion((False, self.flip), self.shift, self.rotation, self.zoom)
        check_share("ImageAugmentation", "color", self.color)
        if self.crop is not None and not 0.0 < self.crop <= 1.0:
            raise ValueError(f"ImageAugmentation got crop={self.crop!r}; expected a number in (0, 1], or None.")
        if self.warp not in ("tensorflow", "opencv"):
            raise ValueError(f"ImageAugmentation got warp={self.warp!r}; expected 'tensorflow' or 'opencv'.")
        # A window is stretched, whatever becomes of whole images.
        shown = self.image if self.crop is None else Image(self.image.shape)
        moves = self.flip or any(motion.shifts) or not motion.whole_pixels
        object.__setattr__(self, "_once", SingleWarp(shown, motion) if moves and self.warp == "opencv" else None)

    def decode(self, encoded: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """uint8 `[*image.shape]` from the bytes of an image file, string `[]`, cropped and where OpenCV does it moved.

        Args:
            encoded: The bytes.
            seed: int64 `[2]`, the example's own.
        """
        if self.crop is None and self._once is None:
            return self.image.decode(encoded)
        shape = self.image.shape
        if self.crop is None:
            pixels = decode_image(encoded, shape)
        else:
            pixels = decode_random_crop(encoded, seed, shape, area=(self.crop, 1.0))
        return resize(pixels[tf.newaxis], shape)[0] if self._once is None else self._once(pixels, seed)

    def finish(self, images: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        """What `decode` left to be done to a batch: uint8 `[batch, *image.shape]`; seeds int64 `[batch, 2]`."""
        if self._once is None:
            images = random_affine(
                images, seeds, flip_horizontal=self.flip, rotation=self.rotation, zoom=self.zoom, shift=self.shift
            )
        saturation = self.color if self.image.shape[-1] == 3 else 0.0
        return random_color(images, seeds, brightness=self.color, contrast=self.color, saturation=saturation)

    def whole(self, images: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        """All of it, for a batch that was decoded as evaluation does it; arguments as those of `finish`."""
        if self.crop is not None:
            size = cast(tuple[int, int], self.image.shape[:2])  # an Image has no axis of varying length
            images = random_resized_crop(images, seeds, size, area=(self.crop, 1.0))
        if self._once is not None:
            images = self._once.batch(images, seeds)
        return self.finish(images, seeds)
