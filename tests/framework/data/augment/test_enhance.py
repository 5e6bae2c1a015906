"""What RandAugment does to values, against Pillow's algorithms written out in NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from framework.data.augment.enhance import adjust_sharpness, autocontrast, equalize, posterize, solarize


def toy_images():
    """uint8 [5, 9, 7, 3]: noise, two of little contrast, a single value, and black and white."""
    generator = np.random.default_rng(2)
    shape = (9, 7, 3)
    images = [generator.integers(low, high, shape) for low, high in [(0, 256), (40, 90), (7, 10), (5, 6)]]
    return np.stack([*images, 255 * generator.integers(0, 2, shape)]).astype(np.uint8)


def each_channel(function):
    """Applies a function of the values of one channel of one image."""
    images = toy_images()
    planes = images.transpose(0, 3, 1, 2).reshape(-1, 9, 7)
    return np.stack([function(plane) for plane in planes]).reshape(5, 3, 9, 7).transpose(0, 2, 3, 1)


def test_autocontrast():
    def stretched(plane):
        low, high = int(plane.min()), int(plane.max())
        return plane if low == high else (plane.astype(int) - low) * 255 // (high - low)

    np.testing.assert_array_equal(autocontrast(tf.constant(toy_images())), each_channel(stretched))


def test_equalize():
    def equalized(plane):
        histogram = np.bincount(plane.ravel(), minlength=256)
        step = (plane.size - histogram[histogram.nonzero()[0][-1]]) // 255
        if not step:
            return plane
        below = np.cumsum(histogram) - histogram
        return np.minimum((below + step // 2) // step, 255)[plane]

    # Of 63 pixels no step is above 0; so each image 25 times.
    images = np.tile(toy_images(), (1, 5, 5, 1))
    planes = images.transpose(0, 3, 1, 2).reshape(-1, 45, 35)
    expected = np.stack([equalized(plane) for plane in planes]).reshape(5, 3, 45, 35).transpose(0, 2, 3, 1)
    equal = equalize(tf.constant(images)).numpy()
    np.testing.assert_array_equal(equal, expected)
    assert (equal[1] != images[1]).any()
    np.testing.assert_array_equal(equalize(tf.constant(toy_images())), each_channel(equalized))


@pytest.mark.parametrize("threshold", [0.0, 25.6, 128.0, 256.0])
def test_solarize(threshold):
    images = toy_images()
    expected = np.where(images < threshold, images, 255 - images)
    np.testing.assert_array_equal(solarize(tf.constant(images), threshold), expected)


@pytest.mark.parametrize("bits", range(9))
def test_posterize(bits):
    images = toy_images()
    np.testing.assert_array_equal(posterize(tf.constant(images), bits), images >> (8 - bits) << (8 - bits))


def test_sharpness():
    images = toy_images()
    factors = np.array([0.0, 0.1, 1.0, 1.9, 1.5], np.float32)
    weights = np.ones((3, 3))
    weights[1, 1] = 5
    expected = images.astype(np.float64)
    for y in range(1, 8):
        for x in range(1, 6):
            blocks = images[:, y - 1 : y + 2, x - 1 : x + 2].astype(np.float64)
            smooth = np.floor(np.einsum("byxc,yx->bc", blocks, weights) / 13 + 0.5)
            expected[:, y, x] = smooth + factors[:, np.newaxis] * (images[:, y, x] - smooth)
    sharpened = adjust_sharpness(tf.constant(images), tf.constant(factors)).numpy()
    np.testing.assert_allclose(sharpened, np.clip(expected, 0, 255), atol=0.501)
    np.testing.assert_array_equal(sharpened[2], images[2])
    np.testing.assert_array_equal(sharpened[:, [0, -1]], images[:, [0, -1]])


@pytest.mark.parametrize("function", [autocontrast, equalize])
def test_a_group_of_none_stays_empty(function):
    assert function(tf.zeros([0, 4, 4, 3], tf.uint8)).shape[0] == 0
