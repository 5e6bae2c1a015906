"""Every augmentation of `framework.data.augment` on a pipeline's own training images."""

import pathlib
from collections.abc import Callable

import numpy as np
import tensorflow as tf

import framework
from framework import report
from framework.data import augment, random
from framework.data.phases import TRAIN
from framework.data.stages import raw_examples

_IMAGES = 8
_RANGE = (0.0, 1.0)
_CHANNELS = (1, 3, 4)

# Of images float32 [batch, height, width, channels] from 0 to 1 and their seeds, strong enough to be seen.
AUGMENTATIONS: dict[str, Callable[[tf.Tensor, tf.Tensor], tf.Tensor]] = {
    "random_flip": augment.random_flip,
    "random_shift": lambda images, seeds: augment.random_shift(images, seeds, 0.2),
    "random_rotation": lambda images, seeds: augment.random_rotation(images, seeds, 25.0),
    "random_zoom": lambda images, seeds: augment.random_zoom(images, seeds, 0.3),
    "random_affine": lambda images, seeds: augment.random_affine(
        images, seeds, flip_horizontal=True, shift=0.1, rotation=15.0, zoom=0.2
    ),
    "random_resized_crop": lambda images, seeds: augment.random_resized_crop(images, seeds, _size(images)),
    "random_color": lambda images, seeds: _random_color(images, seeds),
    "random_erase": lambda images, seeds: augment.random_erase(images, seeds, size=0.4),
    "gaussian_noise": lambda images, seeds: augment.gaussian_noise(images, seeds, stddev=0.1, value_range=_RANGE),
    "rand_augment": lambda images, seeds: augment.rand_augment(images, seeds, value_range=_RANGE),
    "mixup": lambda images, seeds: augment.mixup(images, _no_labels(images), seeds, num_classes=2, alpha=1.0)[0],
    "cutmix": lambda images, seeds: augment.cutmix(images, _no_labels(images), seeds, num_classes=2)[0],
}


def draw_gallery(pipeline: framework.Pipeline, path: pathlib.Path, *, seed: int = 0) -> bool:
    """Writes a sheet with a row of images for each augmentation; tells whether the pipeline has images.

    Args:
        pipeline: Must have learned its statistics. Its raw images are shown, or what `preprocess` makes images of.
        path: The `.png` to write.
        seed: Of the augmentation.
    """
    source = pipeline.require_source(TRAIN)
    count = min(_IMAGES, source.num_examples)
    if source.random_access:  # from all over the split, which may be sorted by class
        indices = tf.constant(np.arange(count) * source.num_examples // count)
        stored = source.gather(indices)
    else:
        indices = tf.range(count, dtype=tf.int64)
        stored = next(iter(source.batches(count)))
    raw = dict(raw_examples(pipeline, TRAIN, indices, stored).features)
    images = _images(raw) or _images(pipeline.preprocess(raw))
    seeds = random.example_seeds(seed, 0, indices)
    rows = []
    for name, read in images.items():
        rows.append((f"{name}: as read", read.numpy()))
        rows += [(f"{name}: {title}", function(read, seeds).numpy()) for title, function in AUGMENTATIONS.items()]
    if rows:
        report.image_sheet(rows, path)
    return bool(rows)


def _images(tensors: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """What is an image, as float32 from 0 to 1, of 1 or 3 channels."""
    found = {}
    for name, tensor in tensors.items():
        if tensor.dtype == tf.string or tensor.shape.rank != 4 or tensor.shape[-1] not in _CHANNELS:
            continue
        values = tensor.numpy().astype(np.float32)
        low, high = float(values.min()), float(values.max())
        if low >= 0 and (high <= 1 or 128 <= high <= 255):  # a range that speaks for itself
            low, high = 0.0, 1.0 if high <= 1 else 255.0
        scaled = (values - low) / max(high - low, 1e-6)
        found[name] = tf.constant(scaled if tensor.shape[-1] < 4 else scaled[..., :3])
    return found


def _size(images: tf.Tensor) -> tuple[int, int]:
    return images.shape[1], images.shape[2]


def _random_color(images: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
    saturation, hue = (0.5, 0.1) if images.shape[-1] == 3 else (0.0, 0.0)
    return augment.random_color(
        images, seeds, brightness=0.3, contrast=0.3, saturation=saturation, hue=hue, value_range=_RANGE
    )


def _no_labels(images: tf.Tensor) -> tf.Tensor:
    return tf.zeros([images.shape[0]], tf.int32)
