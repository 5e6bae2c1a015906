"""Image files as what a signature takes of them: their bytes, or their pixels."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from framework.media import decode_other
from framework.serving.signatures import reason

_CHANNELS = (1, 3, 4)


def image_input(inputs: Mapping[str, tf.TensorSpec]) -> str:
    """The name of a signature's one input, which an image file can be made to.

    Args:
        inputs: Of the signature, with the batch axis.

    Raises:
        ValueError: There are several, or it takes neither an image's bytes nor its pixels.
    """
    name = next(iter(inputs), "")
    if len(inputs) != 1 or not (_takes_bytes(inputs[name]) or _takes_pixels(inputs[name])):
        takes = ", ".join(f"{name}: {spec.dtype.name} {spec.shape}" for name, spec in inputs.items())
        raise ValueError(
            "Image files need a signature with one input, string (batch) or uint8 (batch, height, width, 1, 3 or 4). "
            f"This one takes {takes}."
        )
    return name


def read_image(path: str | os.PathLike, spec: tf.TensorSpec) -> bytes | np.ndarray:
    """One image file for an input of a signature.

    Args:
        path: Of a JPEG, PNG, GIF, BMP or WebP file; of an animation its first frame.
        spec: The input's, with the batch axis.

    Returns:
        The file's bytes where the input is a string, else uint8 `[height, width, channels]`.

    Raises:
        OSError: The file can't be read.
        ValueError: Pixels are wanted, and the file is no image, or none that can be had with so many channels.
    """
    encoded = pathlib.Path(path).read_bytes()
    if _takes_bytes(spec):
        return encoded
    channels = spec.shape[-1]
    try:
        if channels == 1 and not tf.io.is_jpeg(encoded):  # the same grey as by the signature `encoded`
            return decode_other(encoded, channels).numpy()
        return tf.io.decode_image(encoded, channels=channels, expand_animations=False).numpy()
    except tf.errors.InvalidArgumentError as error:
        raise ValueError(
            f"{path} is no JPEG, PNG, GIF, BMP or WebP image with {channels} channels: {reason(error)}"
        ) from None


def _takes_bytes(spec: tf.TensorSpec) -> bool:
    return spec.dtype == tf.string and spec.shape.rank == 1


def _takes_pixels(spec: tf.TensorSpec) -> bool:
    return spec.dtype == tf.uint8 and spec.shape.rank == 4 and spec.shape[-1] in _CHANNELS
