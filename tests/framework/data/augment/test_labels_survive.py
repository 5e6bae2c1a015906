"""That an image keeps its label through the training pipeline, whatever is done to it.

Every image is of one value, which its label names: after any movement, crop, noise or rectangle it can still be read
off, and what is mixed has the mean value that its soft label says.
"""

import numpy as np
import pytest
import tensorflow as tf

from framework import tasks
from framework.data import augment
from framework.data.pipeline import Pipeline
from framework.data.sources import ArraySource
from framework.data.train import train_dataset
from framework.features import Feature

NUM_CLASSES = 10
NUM_EXAMPLES = 50
STEP = 20  # between the values of two classes
SIZE = 12

SAME_LABELS = {
    "random_flip": augment.random_flip,
    "random_shift": lambda images, seeds: augment.random_shift(images, seeds, 0.3, fill="nearest"),
    "random_rotation": lambda images, seeds: augment.random_rotation(images, seeds, 45.0, fill="nearest"),
    "random_zoom": lambda images, seeds: augment.random_zoom(images, seeds, 0.4, fill="nearest"),
    "random_affine": lambda images, seeds: augment.random_affine(
        images, seeds, flip_horizontal=True, shift=0.1, rotation=20.0, zoom=0.2, fill="nearest"
    ),
    "random_resized_crop": lambda images, seeds: augment.random_resized_crop(images, seeds, (SIZE, SIZE)),
    "random_color": lambda images, seeds: augment.random_color(images, seeds, contrast=0.5, saturation=0.5, hue=0.5),
    "random_erase": lambda images, seeds: augment.random_erase(images, seeds, size=0.5),
    "gaussian_noise": lambda images, seeds: augment.gaussian_noise(images, seeds, stddev=2.0),
}
MIXED_LABELS = {"mixup": augment.mixup, "cutmix": augment.cutmix}


class OneValue(Pipeline):
    """Images of one value; `change(images, labels, seeds)` augments them."""

    features = {"image": Feature((SIZE, SIZE, 3), "uint8")}
    task = tasks.Classification(NUM_CLASSES)

    def __init__(self, change):
        self._change = change

    def source(self, phase):
        labels = np.arange(NUM_EXAMPLES) % NUM_CLASSES
        values = (STEP * (labels + 1)).astype(np.uint8)
        return ArraySource(
            {"image": np.broadcast_to(values[:, None, None, None], (NUM_EXAMPLES, SIZE, SIZE, 3))}, labels
        )

    def augment(self, features, labels, seeds):
        image, labels = self._change(features["image"], labels, seeds)
        return {"image": image}, labels


def epoch(change, batch_size=8):
    batches = train_dataset(OneValue(change), batch_size=batch_size, seed=3).take(-(-NUM_EXAMPLES // batch_size))
    return [(inputs["image"].numpy().astype(np.float64), labels.numpy()) for inputs, labels in batches]


@pytest.mark.parametrize("function", SAME_LABELS.values(), ids=SAME_LABELS)
def test_an_image_keeps_its_label(function):
    seen = []
    for images, labels in epoch(lambda images, labels, seeds: (function(images, seeds), labels)):
        # Half of an image at most is erased, and nothing else changes its values by half a step.
        values = np.median(images.reshape(len(images), -1), axis=1)
        np.testing.assert_array_equal(np.rint(values / STEP) - 1, labels)
        seen += labels.tolist()
    assert sorted(seen) == sorted((np.arange(NUM_EXAMPLES) % NUM_CLASSES).tolist())


@pytest.mark.parametrize("function", MIXED_LABELS.values(), ids=MIXED_LABELS)
def test_a_mixed_label_says_what_was_mixed(function):
    batches = epoch(lambda images, labels, seeds: function(images, labels, seeds, num_classes=NUM_CLASSES, alpha=1.0))
    shares = np.concatenate([labels for _, labels in batches])
    means = np.concatenate([images.mean((1, 2, 3)) for images, _ in batches])
    np.testing.assert_allclose(shares.sum(axis=1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(shares @ (STEP * np.arange(1, NUM_CLASSES + 1)), means, atol=0.51)
    assert (shares.max(axis=1) < 0.9).mean() > 0.3


def test_every_augmentation_but_those_that_change_values_at_will_is_here():
    assert set(augment.__all__) - set(SAME_LABELS) - set(MIXED_LABELS) == {"adjust_color", "rand_augment"}


def test_rand_augment_leaves_labels_with_their_examples():
    def change(images, labels, seeds):
        return augment.rand_augment(images, seeds), tf.stack([labels, seeds[:, 1]], axis=1)

    pairs = np.concatenate([labels for _, labels in epoch(change)])
    np.testing.assert_array_equal(pairs[:, 0], pairs[:, 1] % NUM_CLASSES)
