"""What augmentation costs in the input pipeline: ours against the Keras layer that does the like, in the same run.

    python scripts/benchmarks/augment.py
    python scripts/benchmarks/augment.py --only=random_affine --seconds=3

Every row is one batch of uint8 images, mapped over and over by tf.data with the given number of threads. The two take
turns, and the best of their rounds counts. What they do is alike, not the same: Keras' layers leave some dtypes
floating, interpolate shifts, and draw one blending share for a whole batch in MixUp and CutMix.
"""

import os
import time

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import tensorflow as tf
from absl import app, flags

from framework.data import augment, random

_SECONDS = flags.DEFINE_float("seconds", 1.0, "How long each round runs; five rounds.", lower_bound=0.1)
_THREADS = flags.DEFINE_integer("threads", 2, "tf.data threads.", lower_bound=1)
_ONLY = flags.DEFINE_list("only", [], "Names of augmentations; all when empty.")

SHAPES = [(128, 28, 28, 1), (128, 32, 32, 3), (32, 224, 224, 3)]

LAYERS = keras.layers
CASES = {
    "random_flip": (augment.random_flip, lambda channels: LAYERS.RandomFlip("horizontal")),
    "random_shift": (
        lambda images, seeds: augment.random_shift(images, seeds, 0.1),
        lambda channels: LAYERS.RandomTranslation(0.1, 0.1, fill_mode="constant", interpolation="nearest"),
    ),
    "flip and shift": (
        lambda images, seeds: augment.random_affine(images, seeds, flip_horizontal=True, shift=0.1),
        lambda channels: keras.Sequential(
            [
                LAYERS.RandomFlip("horizontal"),
                LAYERS.RandomTranslation(0.1, 0.1, fill_mode="constant", interpolation="nearest"),
            ]
        ),
    ),
    "random_rotation": (
        lambda images, seeds: augment.random_rotation(images, seeds, 20.0),
        lambda channels: LAYERS.RandomRotation(20 / 360, fill_mode="constant"),
    ),
    "random_zoom": (
        lambda images, seeds: augment.random_zoom(images, seeds, 0.2),
        lambda channels: LAYERS.RandomZoom(0.2, fill_mode="constant"),
    ),
    "random_affine": (
        lambda images, seeds: augment.random_affine(
            images, seeds, flip_horizontal=True, shift=0.1, rotation=20.0, zoom=0.2
        ),
        lambda channels: keras.Sequential(
            [
                LAYERS.RandomFlip("horizontal"),
                LAYERS.RandomTranslation(0.1, 0.1, fill_mode="constant"),
                LAYERS.RandomRotation(20 / 360, fill_mode="constant"),
                LAYERS.RandomZoom(0.2, fill_mode="constant"),
            ]
        ),
    ),
    "random_resized_crop": (
        lambda images, seeds: augment.random_resized_crop(images, seeds, tuple(images.shape[1:3])),
        lambda channels: None,
    ),
    "random_color": (
        lambda images, seeds: augment.random_color(
            images, seeds, brightness=0.3, contrast=0.3, saturation=0.3 if images.shape[3] == 3 else 0.0
        ),
        lambda channels: (
            LAYERS.RandomColorJitter(brightness_factor=0.3, contrast_factor=0.3, saturation_factor=0.3)
            if channels == 3
            else None
        ),
    ),
    "random_erase": (
        lambda images, seeds: augment.random_erase(images, seeds, size=0.3),
        lambda channels: LAYERS.RandomErasing(factor=1.0, scale=(0.09, 0.09)),
    ),
    "gaussian_noise": (
        lambda images, seeds: augment.gaussian_noise(images, seeds, stddev=10.0),
        lambda channels: None,
    ),
    "mixup": (
        lambda images, seeds: augment.mixup(images, seeds[:, 1] % 10, seeds, num_classes=10)[0],
        lambda channels: LAYERS.MixUp(),
    ),
    "cutmix": (
        lambda images, seeds: augment.cutmix(images, seeds[:, 1] % 10, seeds, num_classes=10)[0],
        lambda channels: LAYERS.CutMix(),
    ),
    "rand_augment": (augment.rand_augment, lambda channels: LAYERS.RandAugment(factor=0.9)),
}


def mapped(images: tf.Tensor, function) -> tf.data.Dataset:
    """Returns an endless data set of the batch, augmented anew in each step."""
    options = tf.data.Options()
    options.autotune.enabled = False
    options.deterministic = True
    # The batch depends on the step, so that nothing of it is computed beforehand.
    dataset = tf.data.Dataset.range(2**60)
    dataset = dataset.map(lambda step: function(images, step), num_parallel_calls=_THREADS.value)
    return dataset.prefetch(2).with_options(options)


def ours(function):
    def apply(images, step):
        return function(images, random.example_seeds(0, step, tf.range(tf.shape(images)[0])))

    return apply


def theirs(layer):
    def apply(images, step):
        if isinstance(layer, LAYERS.MixUp | LAYERS.CutMix):
            labels = tf.one_hot(tf.range(tf.shape(images)[0]) % 10, 10)
            return layer({"images": images, "labels": labels}, training=True)["images"]
        return layer(images, training=True)

    return apply


def milliseconds_per_batch(iterator) -> float:
    """Returns the mean over one round."""
    start, steps = time.perf_counter(), 0
    while time.perf_counter() - start < _SECONDS.value:
        next(iterator)
        steps += 1
    return 1e3 * (time.perf_counter() - start) / steps


def compare(images: tf.Tensor, function, make_layer) -> list[float | None]:
    """Returns (ours, Keras') in milliseconds per batch; None where Keras has no such layer for uint8 images."""
    layer = make_layer(images.shape[3])
    iterators = [iter(mapped(images, ours(function)))]
    if layer is not None:
        iterators.append(iter(mapped(images, theirs(layer))))
    for iterator in iterators:
        next(iterator)
    rounds = [[milliseconds_per_batch(iterator) for iterator in iterators] for _ in range(5)]
    best = [min(column) for column in zip(*rounds, strict=True)]
    return [*best, None][:2]


def main(_):
    """Prints the table."""
    print(f"{'batch':16} {'augmentation':20} {'ms':>8} {'images/s':>10} {'Keras ms':>9} {'images/s':>10} {'ratio':>6}")
    for shape in SHAPES:
        images = tf.cast(tf.random.stateless_uniform(shape, [0, 1], maxval=256, dtype=tf.int32), tf.uint8)
        for name, case in CASES.items():
            if _ONLY.value and name not in _ONLY.value:
                continue
            milliseconds, keras_milliseconds = compare(images, *case)
            line = (
                f"{'x'.join(map(str, shape)):16} {name:20} {milliseconds:8.3f} {1e3 * shape[0] / milliseconds:10,.0f}"
            )
            if keras_milliseconds is not None:
                per_second = 1e3 * shape[0] / keras_milliseconds
                line += f" {keras_milliseconds:9.3f} {per_second:10,.0f} {keras_milliseconds / milliseconds:6.1f}"
            print(line, flush=True)


if __name__ == "__main__":
    app.run(main)
