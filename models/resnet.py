"""Residual networks for small images.

He et al. 2016, "Deep Residual Learning for Image Recognition", section 4.2 (CIFAR-10): 6n + 2 layers in three stages
of n blocks; with `preactivation`, the block of He et al. 2016, "Identity Mappings in Deep Residual Networks", figure
4(e). `width` widens it as Zagoruyko and Komodakis 2016, "Wide Residual Networks", do.
"""

import keras

import framework


@framework.register_model
def resnet(inputs, task, *, depth: int = 20, width: int = 16, preactivation: bool = False):
    """A CIFAR-style residual network.

    Args:
        inputs: `{"image": float [batch, height, width, channels]}`.
        task: Any task.
        depth: Weighted layers, 6n + 2: 8, 14, 20, 32, 44, 56, 110.
        width: Filters of the first stage; the others have two and four times as many.
        preactivation: Normalize and activate before each convolution instead of after it.
    """
    num_blocks, rest = divmod(depth - 2, 6)
    if rest or num_blocks < 1:
        raise ValueError(f"A CIFAR-style ResNet has depth 6n + 2 (8, 14, 20, 32, ...), got {depth}.")
    x = _convolution(width)(inputs["image"])
    if not preactivation:
        x = _activated(x)
    block = _preactivation_block if preactivation else _block
    for stage in range(3):
        for index in range(num_blocks):
            x = block(x, width * 2**stage, strides=2 if stage and not index else 1)
    if preactivation:
        x = _activated(x)
    return task.logits(keras.layers.GlobalAveragePooling2D()(x))


def _block(x, filters, strides):
    y = _activated(_convolution(filters, strides)(x))
    y = keras.layers.BatchNormalization(synchronized=True)(_convolution(filters)(y))
    return keras.layers.ReLU()(keras.layers.Add()([_shortcut(x, filters, strides), y]))


def _preactivation_block(x, filters, strides):
    activated = _activated(x)
    y = _activated(_convolution(filters, strides)(activated))
    y = _convolution(filters)(y)
    changes = strides > 1 or x.shape[-1] != filters
    return keras.layers.Add()([_shortcut(activated if changes else x, filters, strides), y])


def _shortcut(x, filters, strides):
    """The identity, or a projection where the shape changes (the paper's option B)."""
    if strides == 1 and x.shape[-1] == filters:
        return x
    # The same as strides of the convolution, whose gradient oneDNN gets wrong: see `framework.training.onednn`.
    return _convolution(filters, kernel_size=1)(x[:, ::strides, ::strides])


def _activated(x):
    # Synchronized: under a strategy the moving statistics would otherwise differ between replicas.
    return keras.layers.ReLU()(keras.layers.BatchNormalization(synchronized=True)(x))


def _convolution(filters, strides=1, kernel_size=3):
    return keras.layers.Conv2D(
        filters, kernel_size, strides, padding="same", use_bias=False, kernel_initializer="he_normal"
    )
