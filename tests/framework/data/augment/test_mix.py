"""Mixing: the labels say what was done to the images, and both are checked against each other."""

import numpy as np
import pytest
import tensorflow as tf

from framework.data import augment, random
from framework.data.augment import mix

NUM = 40


def toy_images(dtype=np.uint8, num=NUM):
    return np.random.default_rng(0).integers(0, 256, (num, 6, 8, 3)).astype(dtype)


def seeds_of(num=NUM):
    return random.example_seeds(9, 2, tf.range(num))


def taken_apart(labels):
    """With one class per example, returns (each one's own share, its partner)."""
    labels = np.array(labels)
    np.testing.assert_allclose(labels.sum(1), 1, rtol=1e-6)
    share = np.diag(labels).copy()
    np.fill_diagonal(labels, -1)
    return share, labels.argmax(1)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_mixup_blends_images_as_labels(dtype):
    images = toy_images(dtype)
    mixed, labels = augment.mixup(tf.constant(images), tf.range(NUM), seeds_of(), num_classes=NUM, alpha=1.0)
    share, partner = taken_apart(labels)
    share = share[:, np.newaxis, np.newaxis, np.newaxis]
    expected = share * images + (1 - share) * images[partner]
    np.testing.assert_allclose(mixed, expected, rtol=1e-5, atol=0.5001 if dtype == np.uint8 else 1e-3)
    assert ((share > 0.1) & (share < 0.9)).mean() > 0.5


def test_cutmix_pastes_the_share_that_labels_tell():
    images = toy_images()
    mixed, labels = augment.cutmix(tf.constant(images), tf.range(NUM), seeds_of(), num_classes=NUM)
    share, partner = taken_apart(labels)
    shapes = set()
    for i, one in enumerate(mixed.numpy()):
        pasted = (one != images[i]).any(-1)
        if not pasted.any():
            assert share[i] == 1
            continue
        np.testing.assert_array_equal(one[pasted], images[partner[i]][pasted])
        rows, columns = np.flatnonzero(pasted.any(1)), np.flatnonzero(pasted.any(0))
        box = (rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1)
        assert pasted.sum() == box[0] * box[1]
        assert share[i] == pytest.approx(1 - pasted.mean(), abs=1e-6)
        shapes.add(box)
    assert len(shapes) > 8


def test_cutmix_has_the_images_aspect_ratio_and_the_beta_share_of_its_area():
    num = 400
    images = tf.reshape(tf.range(num * 1800, dtype=tf.float32), [num, 30, 60, 1])
    mixed, _ = augment.cutmix(images, tf.zeros([num], tf.int32), seeds_of(num), num_classes=2)
    pasted = (mixed != images).numpy()[..., 0]
    height, width = pasted.any(2).sum(1), pasted.any(1).sum(1)
    inside = ~(pasted[:, [0, -1]].any((1, 2)) | pasted[:, :, [0, -1]].any((1, 2))) & (height > 0)
    assert inside.sum() > 20
    assert (abs(2 * height - width)[inside] <= 2).all()
    # Uncut, the side is the root of a uniform share; half of the sides are above 0.7.
    assert 0.1 < (height > 21).mean() < 0.5


def test_cutmix_covers_both_ends_alike():
    images = tf.reshape(tf.range(3000 * 25, dtype=tf.float32), [3000, 5, 5, 1])
    mixed, _ = augment.cutmix(images, tf.zeros([3000], tf.int32), seeds_of(3000), num_classes=2)
    covered = (mixed != images).numpy()[..., 0]
    for first, last in ((covered[:, 0, 2], covered[:, -1, 2]), (covered[:, 2, 0], covered[:, 2, -1])):
        assert abs(first.mean() - last.mean()) < 4 * np.sqrt(2 * 0.25 / 3000)


def test_partners_are_others_and_equally_likely():
    seeds = seeds_of(5000)
    ahead = (mix._partners(seeds).numpy() - np.arange(5000)) % 5000
    assert ahead.min() >= 1
    assert abs(ahead.mean() - 2500) < 4 * 5000 / np.sqrt(12 * 5000)
    pairs = mix._partners(seeds[:2]).numpy()
    np.testing.assert_array_equal(pairs, [1, 0])


def test_a_batch_of_one_is_its_own_partner():
    images = toy_images(num=1)
    for function in (augment.mixup, augment.cutmix):
        mixed, labels = function(tf.constant(images), tf.constant([2]), seeds_of(1), num_classes=3)
        np.testing.assert_array_equal(mixed, images)
        np.testing.assert_allclose(labels, [[0, 0, 1]])


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_shares_have_the_beta_distribution(alpha):
    drawn = mix._beta("test", seeds_of(20_000), alpha).numpy()
    assert (drawn >= 0).all()
    assert (drawn <= 1).all()
    variance = 1 / (4 * (2 * alpha + 1))
    assert abs(drawn.mean() - 0.5) < 4 * np.sqrt(variance / 20_000)
    # The fourth central moment of a symmetric beta.
    fourth = 3 * variance**2 * (2 * alpha + 1) / (2 * alpha + 3)
    assert abs(((drawn - 0.5) ** 2).mean() - variance) < 4 * np.sqrt((fourth - variance**2) / 20_000)
    assert abs(((drawn - 0.5) ** 4).mean() - fourth) < 0.05 * fourth
    if alpha == 1.0:
        counts = np.bincount((drawn * 50).astype(int), minlength=50)
        assert abs(((counts - 400) ** 2 / 400).sum() - 49) < 4 * np.sqrt(98)


@pytest.mark.parametrize("function", [augment.mixup, augment.cutmix])
def test_soft_labels_are_mixed_too(function):
    images, hard = tf.constant(toy_images()), tf.range(NUM) % 4
    _, expected = function(images, hard, seeds_of(), num_classes=4)
    _, labels = function(images, tf.one_hot(hard, 4, dtype=tf.float64), seeds_of(), num_classes=4)
    assert labels.dtype == tf.float32
    np.testing.assert_array_equal(labels, expected)


@pytest.mark.parametrize("function", [augment.mixup, augment.cutmix])
@pytest.mark.parametrize(
    ("labels", "parameters", "match"),
    [
        (np.zeros(2, np.int32), {"num_classes": 1}, "num_classes=1; expected an int of 2 or more"),
        (np.zeros(2, np.int32), {"num_classes": 2, "alpha": 0.0}, "alpha=0.0; expected a finite number above 0"),
        (np.zeros(2, np.int32), {"num_classes": 2, "alpha": float("inf")}, "alpha=inf"),
        (np.zeros((2, 1), np.int32), {"num_classes": 2}, r"labels of shape \(2, 1\) and dtype int32"),
        (np.zeros((2, 3), np.float32), {"num_classes": 2}, r"floating \[batch, 2\]"),
        (np.zeros(2, np.float32), {"num_classes": 2}, r"labels of shape \(2,\) and dtype float32"),
    ],
)
def test_wrong_labels_and_parameters_are_named(function, labels, parameters, match):
    with pytest.raises(ValueError, match=match):
        function(tf.zeros([2, 4, 4, 1]), tf.constant(labels), seeds_of(2), **parameters)
