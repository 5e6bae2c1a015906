"""A fault of oneDNN, with which TensorFlow computes on x86 processors, that some models run into.

In float32, the gradient of the kernel of a strided 1x1 convolution of fewer channels than fit a vector register is
computed in a workspace that is too small: oneDNN writes past it (https://github.com/uxlfoundation/oneDNN/issues/6035).
Gradients are wrong, and some time later the process may die of its damaged memory, or an operation fails for no reason.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator

import keras
import tensorflow as tf
from absl import logging

from framework.building import inner_layers

_CHANNELS = 16  # float32 numbers in a register of AVX-512; with AVX2 alone it concerns fewer than 8


def warn_of_faulty_convolutions(model: keras.Model) -> None:
    """Names the layers whose training would meet the fault on this machine, and what to write instead."""
    if not _is_used():
        return
    for layer in _faulty_convolutions(model):
        before = [":"] if layer.data_format == "channels_last" else [":", ":"]
        slices = ", ".join([*before, *(f"::{stride}" for stride in layer.strides)])
        logging.warning(
            "Layer %r is a convolution of kernel size 1 with strides %s on %d channels. Training it on this processor, "
            "oneDNN writes past its memory where there are fewer than %d (uxlfoundation/oneDNN issue 6035): gradients "
            "may be wrong, the process may crash. Let it have the same result without strides: Conv(..., 1)(x[%s]); "
            "or set TF_ENABLE_ONEDNN_OPTS=0 before TensorFlow is imported.",
            layer.name,
            layer.strides,
            layer.kernel.shape[-2],
            _CHANNELS,
            slices,
        )


def _is_used() -> bool:
    return (
        os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1").lower() not in ("0", "false")
        and platform.machine().lower() in ("x86_64", "amd64")
        and not tf.config.list_logical_devices("GPU")
    )


def _faulty_convolutions(model: keras.Model) -> Iterator[keras.layers.Layer]:
    for layer in inner_layers(model):
        if (
            isinstance(layer, (keras.layers.Conv1D, keras.layers.Conv2D))
            and layer.trainable
            and layer.compute_dtype == "float32"
            and set(layer.kernel_size) == {1}
            and max(layer.strides) > 1
            and layer.kernel.shape[-2] < _CHANNELS
        ):
            yield layer
