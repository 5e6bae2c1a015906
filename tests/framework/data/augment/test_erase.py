"""Cutout: which pixels are blanked, and how often."""

import numpy as np
import pytest
import tensorflow as tf

from framework.data import augment, random
from framework.data.augment.box import box_mask


def seeds_of(num):
    return random.example_seeds(6, 0, tf.range(num))


def test_box_mask_cuts_off_what_hangs_over():
    images = tf.zeros([3, 4, 5, 2])
    mask = box_mask(images, *[tf.constant(edges) for edges in ([-1, 1, 2], [2, 9, 2], [1, 4, 0], [3, 7, 5])]).numpy()
    expected = np.zeros([3, 4, 5, 2], bool)
    expected[0, :2, 1:3] = expected[1, 1:, 4:] = True  # the third has no rows
    np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize("dtype", [tf.uint8, tf.float32])
def test_a_rectangle_about_a_uniform_centre_is_blanked(dtype):
    num, height, width = 3000, 7, 6
    images = tf.cast(tf.ones([num, height, width, 2]), dtype)
    erased = augment.random_erase(images, seeds_of(num), size=(3 / 7, 0.5), fill_value=9).numpy()
    assert set(np.unique(erased)) == {1, 9}
    np.testing.assert_array_equal(erased[..., 0], erased[..., 1])
    # Three by three about each pixel, cut off at the edges.
    possible = {}
    for y in range(height):
        for x in range(width):
            expected = np.ones((height, width), erased.dtype)
            expected[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2] = 9
            possible[expected.tobytes()] = 0
    for one in erased[..., 0]:
        possible[one.tobytes()] += 1  # a KeyError is a rectangle that can't be
    counts = np.array(list(possible.values()))
    statistic = ((counts - num / 42) ** 2 / (num / 42)).sum()
    assert abs(statistic - 41) < 4 * np.sqrt(2 * 41)


def test_probability_is_that_of_an_image():
    images = tf.ones([4000, 4, 4, 1])
    touched = (augment.random_erase(images, seeds_of(4000), probability=0.3).numpy() == 0).any((1, 2, 3))
    assert abs(touched.mean() - 0.3) < 4 * np.sqrt(0.21 / 4000)


def test_the_whole_image_and_a_single_pixel():
    images = tf.ones([50, 5, 5, 1])
    tiny = augment.random_erase(images, seeds_of(50), size=0.01).numpy()
    assert set((tiny == 0).sum((1, 2, 3))) == {1}
    whole = augment.random_erase(images, seeds_of(50), size=1.0).numpy()
    assert (whole == 0).sum((1, 2, 3)).max() == 25


@pytest.mark.parametrize(
    ("parameters", "match"),
    [
        ({"size": 0.0}, r"size=0.0; expected a number in \(0, 1\]"),
        ({"size": (0.5, 1.5)}, r"size=\(0.5, 1.5\)"),
        ({"size": (0.5,)}, "of the height, of the width"),
        ({"probability": 1.5}, "probability=1.5"),
        ({"fill_value": 0.5}, "fill_value is 0.5, but the images are uint8"),
    ],
)
def test_wrong_parameters_are_named(parameters, match):
    with pytest.raises(ValueError, match=match):
        augment.random_erase(tf.zeros([2, 4, 4, 1], tf.uint8), seeds_of(2), **parameters)
