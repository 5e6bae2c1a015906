"""Random crops cut out while an image is decoded, so that only the window's pixels are computed."""

from __future__ import annotations

import functools

import tensorflow as tf

from framework.data.augment.crop import draw_windows
from framework.data.random import without_autograph
from framework.media import JPEG_RATIOS, decode_image, jpeg_ratio


@without_autograph
def decode_random_crop(
    encoded: tf.Tensor,
    seed: tf.Tensor,
    shape: tuple[int | None, ...],
    *,
    area: tuple[float, float] = (0.08, 1.0),
    aspect: tuple[float, float] = (3 / 4, 4 / 3),
    salt: int | str = "",
) -> tf.Tensor:
    """Decodes a window of an image: that of `random_resized_crop` with the same seed, in whole pixels.

    Of a JPEG what is above, below and beside the window isn't computed, and a large window is decoded at 1/2, 1/4 or
    1/8 of its size where that is enough.

    Args:
        encoded: The bytes of an image file, string `[]`.
        seed: int64 `[2]`, the example's own.
        shape: `(height, width, channels)` that will be made of the window.
        area: Least and largest share of the image's area, in (0, 1].
        aspect: Least and largest width / height of the window.
        salt: Tells two uses on the same seeds apart.

    Returns:
        uint8 `[height, width, channels]` of the window; resizing is left to the caller.

    Raises:
        ValueError: A parameter is outside its range.
    """

    def window(height: tf.Tensor, width: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """(top, left, height, width), int32: the smallest one in whole pixels around the drawn one."""
        drawn = draw_windows(seed[tf.newaxis], height, width, area=area, aspect=aspect, salt=salt)
        top, left, window_height, window_width = (number[0] for number in drawn)
        first = [tf.cast(tf.floor(edge), tf.int32) for edge in (top, left)]
        last = [tf.cast(tf.math.ceil(edge), tf.int32) for edge in (top + window_height, left + window_width)]
        last = [tf.minimum(edge, length) for edge, length in zip(last, (height, width), strict=True)]
        return (*first, last[0] - first[0], last[1] - first[1])

    def jpeg() -> tf.Tensor:
        size = tf.io.extract_jpeg_shape(encoded)
        place = tf.stack(window(size[0], size[1]))
        # Its coordinates are those of the shrunk image.
        decode = functools.partial(tf.io.decode_and_crop_jpeg, encoded, channels=shape[-1])
        at_ratio = [functools.partial(decode, crop_window=place // ratio, ratio=ratio) for ratio in JPEG_RATIOS]
        return tf.switch_case(jpeg_ratio(place[2:], shape), at_ratio)

    def other() -> tf.Tensor:
        pixels = decode_image(encoded, shape)
        size = tf.shape(pixels)
        top, left, height, width = window(size[0], size[1])
        return pixels[top : top + height, left : left + width]

    return tf.ensure_shape(tf.cond(tf.io.is_jpeg(encoded), jpeg, other), (None, None, shape[-1]))
