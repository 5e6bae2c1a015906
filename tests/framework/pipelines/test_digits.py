import hashlib

import numpy as np
import pytest
import tensorflow as tf

import framework
from framework.data import random

PHASES = ("train", "validation", "test")


@pytest.fixture(scope="module")
def digits():
    return framework.get_pipeline("digits")()


@pytest.fixture(scope="module")
def splits(digits):
    return {phase: digits.source(phase).arrays for phase in PHASES}


def test_splits_are_fixed(splits):
    digest = hashlib.blake2b(digest_size=16)
    for arrays in splits.values():
        digest.update(arrays.features["image"].tobytes() + arrays.labels.astype("<i8").tobytes())
    assert digest.hexdigest() == "045b47990dcb992b80c579723ccb758b"


def test_splits_are_disjoint_and_whole(splits):
    assert [len(arrays.labels) for arrays in splits.values()] == [1258, 270, 269]
    images = [image.tobytes() for arrays in splits.values() for image in arrays.features["image"]]
    assert len(images) == 1797
    assert len(set(images)) == 1797  # no two of the images are the same


def test_splits_are_stratified(splits):
    counts = np.stack([np.bincount(arrays.labels, minlength=10) for arrays in splits.values()])
    expected = counts.sum(0) * np.array([[0.7], [0.15], [0.15]])
    assert np.abs(counts - expected).max() <= 1.0


def test_augmented_images_are_what_a_scanner_makes(digits, splits):
    images = splits["train"].features["image"][:64]
    seeds = random.example_seeds(0, 0, tf.range(64))
    augmented = digits.augment({"image": tf.constant(images)}, tf.zeros(64), seeds)[0]["image"].numpy()
    assert (augmented.dtype, augmented.shape) == (np.uint8, images.shape)
    assert augmented.max() <= 16
    assert np.mean((augmented != images).any(axis=(1, 2, 3))) > 0.9
    # Moved, not replaced: about as much ink.
    assert augmented.sum() == pytest.approx(images.sum(), rel=0.1)


def test_without_augmentation_images_stay_as_they_are(splits):
    still = framework.get_pipeline("digits")(shift=0.0, rotation=0.0, zoom=0.0)
    images = splits["train"].features["image"][:64]
    seeds = random.example_seeds(0, 0, tf.range(64))
    np.testing.assert_array_equal(still.augment({"image": tf.constant(images)}, None, seeds)[0]["image"], images)


def test_the_model_gets_the_unit_interval(digits, splits):
    image = digits.preprocess({"image": tf.constant(splits["test"].features["image"])})["image"]
    assert image.dtype == tf.float32
    assert (float(tf.reduce_min(image)), float(tf.reduce_max(image))) == (0.0, 1.0)
