"""Gaussian noise: its distribution, its rounding."""

import numpy as np
import pytest
import tensorflow as tf

from framework.data import augment, random


def seeds_of(num):
    return random.example_seeds(6, 0, tf.range(num))


def test_noise_is_normal_and_independent_from_value_to_value():
    images = tf.fill([40, 16, 16, 3], 5.0)
    noise = augment.gaussian_noise(images, seeds_of(40), stddev=0.5).numpy().astype(np.float64) - 5
    count = noise.size
    assert abs(noise.mean()) < 4 * 0.5 / np.sqrt(count)
    assert abs(noise.std() - 0.5) < 4 * 0.5 / np.sqrt(2 * count)
    for a, b in [(noise[1:], noise[:-1]), (noise[:, 1:], noise[:, :-1]), (noise[..., 1:], noise[..., :-1])]:
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 4 / np.sqrt(a.size)


def test_uint8_is_rounded_and_clipped():
    images = np.random.default_rng(0).integers(0, 256, (8, 6, 6, 3)).astype(np.uint8)
    noisy = augment.gaussian_noise(tf.constant(images), seeds_of(8), stddev=30.0).numpy()
    exact = augment.gaussian_noise(tf.constant(images, tf.float32), seeds_of(8), stddev=30.0).numpy()
    np.testing.assert_array_equal(noisy, np.clip(np.floor(exact + 0.5), 0, 255))
    assert exact.min() < 0
    assert exact.max() > 255
    clipped = augment.gaussian_noise(tf.constant(images, tf.float32), seeds_of(8), stddev=30.0, value_range=(0, 255))
    np.testing.assert_array_equal(clipped, np.clip(exact, 0, 255))


@pytest.mark.parametrize(
    ("parameters", "match"),
    [
        ({"stddev": -1.0}, "stddev=-1.0; expected a finite number"),
        ({"stddev": float("inf")}, "stddev=inf"),
        ({"stddev": 1.0, "value_range": (2, 1)}, r"value_range=\(2, 1\)"),
    ],
)
def test_wrong_parameters_are_named(parameters, match):
    with pytest.raises(ValueError, match=match):
        augment.gaussian_noise(tf.zeros([2, 4, 4, 1]), seeds_of(2), **parameters)
