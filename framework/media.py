"""Features that lie on disk and cross the network encoded: images as JPEG, PNG, GIF, BMP, WebP or JPEG XL files.

Decoding is one function of one example, the same in training, evaluation and every signature, so that what a client
sends becomes the very pixels that the model was evaluated on.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Literal

import tensorflow as tf

from framework.features import Feature

# By which libjpeg can shrink an image while it decodes: it then computes fewer coefficients of each block.
JPEG_RATIOS = (1, 2, 4, 8)
_ASPECTS = ("stretch", "crop", "pad")
# How image files begin; WebP's name comes after its length, that of the last ones after the length of a box.
_BEGINNINGS = {
    "JPEG": (b"\xff\xd8\xff",),
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "GIF": (b"GIF8",),
    "BMP": (b"BM",),
    "TIFF": (b"II*\0", b"MM\0*"),
    "HEIC": (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypmsf1"),
    "AVIF": (b"ftypavif",),
    "JPEG XL": (b"\xff\x0a", b"\0\0\0\x0cJXL "),
    "Photoshop": (b"8BPS",),
    "SVG": (b"<svg", b"<?xml"),
}
DECODABLE = ("JPEG", "PNG", "GIF", "BMP", "WebP", "JPEG XL")


@dataclasses.dataclass(frozen=True)
class Image(Feature):
    """An image of one size, whatever size its file has.

    The raw tensor, which `augment` and `preprocess` get, is uint8 `[height, width, channels]`, 0 to 255. A source, a
    record and the signature `encoded` have the file's bytes; `serving_default` takes uint8 pixels of any size.

    Resizing is bilinear, after libjpeg has shrunk what is more than twice too large (a JPEG), or with an antialiasing
    filter where the file is of another format. Of an animated GIF the first frame counts. TensorFlow (2.21) can't
    decode an animated WebP, nor a JPEG XL that is grey or has transparency; elsewhere transparency is
    dropped. Pixels lie as they do in the file, whatever orientation its EXIF data tell.

    Attributes:
        shape: `(height, width, channels)`; 1 channel is grey, 3 are RGB.
        dtype: `"uint8"`.
        aspect: What becomes of an image of other proportions: `"stretch"` it, `"crop"` the largest centred part of the
            right proportions, or `"pad"` it with black to both sides.

    Raises:
        ValueError: The shape isn't that of an image of one size, or `aspect` is something else.
    """

    shape: tuple[int | None, ...] = (224, 224, 3)
    dtype: str = "uint8"
    aspect: Literal["stretch", "crop", "pad"] = "stretch"

    def __post_init__(self):
        super().__post_init__()
        if len(self.shape) != 3 or None in self.shape or 0 in self.shape or self.shape[-1] not in (1, 3):
            raise ValueError(
                f"Image shape is (height, width, channels) with 1 or 3 channels, such as (224, 224, 3). "
                f"Got {self.shape}."
            )
        if self.dtype != "uint8":
            raise ValueError(f"An Image is uint8 when decoded, got dtype {self.dtype!r}. Scale it in preprocess.")
        if self.aspect not in _ASPECTS:
            raise ValueError(f"aspect must be one of {', '.join(map(repr, _ASPECTS))}, got {self.aspect!r}.")

    @functools.cached_property
    def stored(self) -> Feature:
        return Feature((), "string")

    @property
    def served(self) -> Feature:
        return Feature((None, None, self.shape[-1]), "uint8")

    def decode(self, stored: tf.Tensor) -> tf.Tensor:
        """uint8 `[height, width, channels]` from the bytes of an image file, string `[]`.

        Raises:
            tf.errors.InvalidArgumentError: The bytes are no image of a known format, or end too early.
        """
        return tf.ensure_shape(self._fitted(decode_image(stored, self.shape)[tf.newaxis])[0], self.shape)

    def foreign(self, stored: bytes) -> str | None:
        kind = image_kind(stored)
        if kind is None:
            return "not an image"
        return None if kind in DECODABLE else "image of another format"

    def from_served(self, served: tf.Tensor) -> tf.Tensor:
        """uint8 `[batch, height, width, channels]` from pixels of any size."""
        return tf.ensure_shape(self._fitted(served), (None, *self.shape))

    def _fitted(self, images: tf.Tensor) -> tf.Tensor:
        if self.aspect == "crop":
            images = centre_crop(images, self.shape)
        if self.aspect == "pad":
            return _resize_with_pad(images, self.shape)
        return resize(images, self.shape)


def image_kind(head: bytes) -> str | None:
    """The format of an image file, by its first 16 bytes: one of `DECODABLE`, another one, or `None` for no image."""
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WebP"
    for kind, beginnings in _BEGINNINGS.items():
        if (head[4:] if kind in ("HEIC", "AVIF") else head).startswith(beginnings):
            return kind
    return None


def exif_orientation(head: bytes) -> int:
    """How a photograph is to be turned to stand upright, 1 to 8, from the first kilobyte of its JPEG file.

    That is the tag `Orientation` of its EXIF data (CIPA DC-008, 4.6.4); 1, which is upright, where there is none.
    """
    place = 2
    while head[place : place + 1] == b"\xff" and b"\xe0" <= head[place + 1 : place + 2] <= b"\xef":
        if head[place + 4 : place + 10] == b"Exif\0\0":
            return _tiff_orientation(head[place + 10 :])
        place += 2 + int.from_bytes(head[place + 2 : place + 4], "big")
    return 1


def _tiff_orientation(tiff: bytes) -> int:
    order: Literal["little", "big"] = "little" if tiff.startswith(b"II") else "big"

    def number(place: int, size: int) -> int:
        return int.from_bytes(tiff[place : place + size], order)

    directory = number(4, 4)
    end = min(directory + 2 + 12 * number(directory, 2), len(tiff))
    for place in range(directory + 2, end, 12):
        if number(place, 2) == 0x0112:
            orientation = number(place + 8, 2)
            return orientation if 1 <= orientation <= 8 else 1
    return 1


def decode_image(encoded: tf.Tensor, shape: tuple[int | None, ...]) -> tf.Tensor:
    """The pixels uint8 `[height, width, channels]` of an image file, no smaller than asked for where the file isn't.

    Args:
        encoded: The file's bytes, string `[]`.
        shape: `(height, width, channels)` that will be made of it: a JPEG is decoded at 1/2, 1/4 or 1/8 of its size
            where that is enough, from its header's size.
    """
    channels = shape[-1]
    pixels = tf.cond(
        tf.io.is_jpeg(encoded),
        lambda: _decode_jpeg(encoded, shape),
        lambda: decode_other(encoded, channels),
    )
    return tf.ensure_shape(pixels, (None, None, channels))


def _decode_jpeg(encoded: tf.Tensor, shape: tuple[int | None, ...]) -> tf.Tensor:
    channels = shape[-1]
    size = tf.io.extract_jpeg_shape(encoded)
    at_ratio = [functools.partial(tf.io.decode_jpeg, encoded, channels=channels, ratio=r) for r in JPEG_RATIOS]
    return tf.switch_case(jpeg_ratio(size, shape), at_ratio)


def jpeg_ratio(size: Sequence[tf.Tensor] | tf.Tensor, shape: tuple[int | None, ...]) -> tf.Tensor:
    """Which of `JPEG_RATIOS` a JPEG, or a part of it, of size (height, width) may be shrunk by: int32 `[]`."""
    height, width = shape[:2]
    spare = tf.minimum(size[0] // height, size[1] // width)
    return tf.reduce_sum(tf.cast(spare >= tf.constant(JPEG_RATIOS[1:]), tf.int32))


def decode_other(encoded: tf.Tensor, channels: int | None) -> tf.Tensor:
    """The pixels uint8 `[height, width, channels]` of an image file but a JPEG; of an animation the first frame."""
    # In colour: TensorFlow can't decode a GIF, a BMP or a WebP as grey.
    pixels = tf.io.decode_image(encoded, channels=3, expand_animations=False)
    return tf.image.rgb_to_grayscale(pixels) if channels == 1 else pixels


def resize(images: tf.Tensor, shape: tuple[int | None, ...]) -> tf.Tensor:
    """uint8 `[batch, height, width, channels]`, bilinear; antialiased where it shrinks to less than half."""
    height, width = shape[:2]
    size = tf.shape(images)
    return _rounded(
        tf.cond(
            tf.minimum(size[1] // height, size[2] // width) >= 2,
            lambda: tf.image.resize(images, (height, width), antialias=True),
            lambda: tf.image.resize(images, (height, width)),
        )
    )


def centre_crop(images: tf.Tensor, shape: tuple[int | None, ...]) -> tf.Tensor:
    """The largest centred part with the proportions of `shape`."""
    height, width = shape[:2]
    size = tf.shape(images)
    crop_height = tf.minimum(size[1], size[2] * height // width)
    crop_width = tf.minimum(size[2], size[1] * width // height)
    crop_height, crop_width = tf.maximum(crop_height, 1), tf.maximum(crop_width, 1)
    top, left = (size[1] - crop_height) // 2, (size[2] - crop_width) // 2
    return images[:, top : top + crop_height, left : left + crop_width]


def _resize_with_pad(images: tf.Tensor, shape: tuple[int | None, ...]) -> tf.Tensor:
    """As large as fits into `shape`, with black to both sides; antialiased where it shrinks to less than half.

    `tf.image.resize_with_pad` computes sizes in float32: it leaves a black line at the edge of one image in ten, and of
    a very long one nothing, which is an error.
    """
    height, width = shape[:2]
    size = tf.shape(images)
    inner_height = tf.clip_by_value(size[1] * width // size[2], 1, height)
    inner_width = tf.clip_by_value(size[2] * height // size[1], 1, width)
    inner = tf.stack([inner_height, inner_width])
    resized = tf.cond(
        tf.maximum(size[1] // height, size[2] // width) >= 2,
        lambda: tf.image.resize(images, inner, antialias=True),
        lambda: tf.image.resize(images, inner),
    )
    top, left = (height - inner_height) // 2, (width - inner_width) // 2
    return _rounded(tf.image.pad_to_bounding_box(resized, top, left, height, width))


def _rounded(values: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.clip_by_value(tf.round(values), 0.0, 255.0), tf.uint8)
