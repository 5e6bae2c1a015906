"""RandAugment: each layer is one of fourteen operations, found again among all that it can be."""

import math

import numpy as np
import pytest
import tensorflow as tf

from framework.data import augment, random
from framework.data.augment.color import adjust_color
from framework.data.augment.enhance import adjust_sharpness, autocontrast, equalize, posterize, solarize
from framework.data.augment.warp import Sampling, about_centre, warp

NUM = 700
SIZE = (17, 18)


def toy_images(dtype=np.uint8, num=NUM, channels=3):
    """Smooth images that have contrast to gain and enough pixels to equalize."""
    generator = np.random.default_rng(0)
    phase = generator.uniform(0, 6, (num, 1, 1, channels))
    y, x = np.meshgrid(np.arange(SIZE[0]), np.arange(SIZE[1]), indexing="ij")
    waves = np.sin(0.5 * y[..., np.newaxis] + phase) + np.sin(0.4 * x[..., np.newaxis] - phase)
    return (120 + 45 * waves + generator.uniform(-4, 4, waves.shape)).astype(dtype)


def seeds_of(num=NUM):
    return random.example_seeds(11, 0, tf.range(num))


def candidates(images, strength):
    """Every operation, in either direction: name -> images."""
    num = len(images)
    images = tf.constant(images)

    def moved(linear, down=0.0, right=0.0):
        columns = [tf.fill([num], tf.constant(value, tf.float64)) for value in (*linear, down, right)]
        return warp(images, about_centre(columns[:4], columns[4:], SIZE), SIZE, Sampling("nearest", fill_value=128))

    def both(name, function):
        return {(name, sign): function(sign) for sign in (-1, 1)}

    def enhanced(sign):
        return np.full(num, 1 + sign * 0.9 * strength, np.float32)

    angle, shear, share = math.radians(30 * strength), 0.3 * strength, 150 / 331 * strength
    found = {
        "identity": images,
        "autocontrast": autocontrast(images),
        "equalize": equalize(images),
        "solarize": solarize(images, 256 * (1 - strength)),
        "posterize": posterize(images, 8 - round(4 * strength)),
        **both("color", lambda sign: adjust_color(images, saturation=enhanced(sign))),
        **both("contrast", lambda sign: adjust_color(images, contrast=enhanced(sign))),
        **both("brightness", lambda sign: adjust_color(images, brightness=enhanced(sign))),
        **both("sharpness", lambda sign: adjust_sharpness(images, enhanced(sign))),
        **both(
            "rotate",
            lambda sign: moved([math.cos(angle), -sign * math.sin(angle), sign * math.sin(angle), math.cos(angle)]),
        ),
        **both("shear_x", lambda sign: moved([1, sign * shear, 0, 1])),
        **both("shear_y", lambda sign: moved([1, 0, sign * shear, 1])),
        **both("translate_x", lambda sign: moved([1, 0, 0, 1], right=sign * share * SIZE[1])),
        **both("translate_y", lambda sign: moved([1, 0, 0, 1], down=sign * share * SIZE[0])),
    }
    return {name: np.array(one) for name, one in found.items()}


def operations_found(images, augmented, strength):
    """Returns how often each operation is the only one that explains an image; each has to be explained."""
    found = candidates(images, strength)
    same = np.stack([(one == augmented).all((1, 2, 3)) for one in found.values()])
    assert same.any(0).all()
    only = same[:, same.sum(0) == 1].sum(1)
    return dict(zip(found, only, strict=True))


@pytest.mark.parametrize("magnitude", [9.0, 5.0])
def test_one_layer_is_one_of_the_fourteen_each_as_likely(magnitude):
    images = toy_images()
    augmented = augment.rand_augment(tf.constant(images), seeds_of(), num_layers=1, magnitude=magnitude)
    counts = operations_found(images, augmented.numpy(), magnitude / 10)
    assert sum(counts.values()) > 0.98 * NUM
    by_name = {}
    for name, count in counts.items():
        name = name if isinstance(name, str) else name[0]
        by_name[name] = by_name.get(name, 0) + count
    assert len(by_name) == 14
    for count in by_name.values():
        assert abs(count - NUM / 14) < 4 * np.sqrt(NUM / 14)
    assert min(counts.values()) > NUM / 28 - 4 * np.sqrt(NUM / 28)


def test_layers_follow_one_another():
    # The second layer's operation isn't the first one's, so a second application explains it.
    images, seeds = toy_images(num=60), seeds_of(60)
    first = augment.rand_augment(tf.constant(images), seeds, num_layers=1).numpy()
    both = augment.rand_augment(tf.constant(images), seeds, num_layers=2).numpy()
    operations_found(first, both, 0.9)
    assert (both != first).any((1, 2, 3)).mean() > 0.8


def test_magnitude_0_leaves_what_has_a_strength_alone():
    images = toy_images(num=200)
    augmented = augment.rand_augment(tf.constant(images), seeds_of(200), num_layers=1, magnitude=0.0).numpy()
    kinds = np.stack([images, autocontrast(tf.constant(images)), equalize(tf.constant(images))])
    same = (kinds == augmented).all((2, 3, 4))
    assert same.any(0).all()
    assert abs(same[0].mean() - 12 / 14) < 4 * np.sqrt(2 / 14 * 12 / 14 / 200)


def test_one_channel_is_taken_too():
    images = toy_images(num=100, channels=1)
    augmented = augment.rand_augment(tf.constant(images), seeds_of(100))
    assert augmented.shape == images.shape
    assert (augmented.numpy() != images).any((1, 2, 3)).mean() > 0.8


def test_floats_go_through_256_levels_of_their_range():
    images = toy_images(num=100)
    expected = augment.rand_augment(tf.constant(images), seeds_of(100)).numpy()
    scaled = images.astype(np.float32) / 127.5 - 1
    augmented = augment.rand_augment(tf.constant(scaled), seeds_of(100), value_range=(-1.0, 1.0)).numpy()
    np.testing.assert_allclose(augmented, expected / 127.5 - 1, atol=1e-5)


@pytest.mark.parametrize(
    ("images", "parameters", "match"),
    [
        (np.zeros((2, 8, 8, 3), np.uint8), {"num_layers": 0}, "num_layers=0; expected an int of 1 or more"),
        (np.zeros((2, 8, 8, 3), np.uint8), {"num_layers": 1.5}, "num_layers=1.5"),
        (np.zeros((2, 8, 8, 3), np.uint8), {"magnitude": 11}, r"magnitude=11; expected a number in \[0, 10\]"),
        (np.zeros((2, 8, 8, 3), np.uint8), {"magnitude": -1}, "magnitude=-1"),
        (np.zeros((2, 8, 8, 3), np.uint8), {"interpolation": "cubic"}, "interpolation is 'cubic'"),
        (np.zeros((2, 8, 8, 4), np.uint8), {}, "images of 4 channels; expected 1 or 3"),
        (np.zeros((2, 2, 8, 3), np.uint8), {}, "at least 3 pixels"),
        (np.zeros((2, 8, 8, 3), np.float32), {}, "float32 images and no value_range"),
        (np.zeros((2, 8, 8, 3), np.float32), {"value_range": (1, 1)}, r"value_range=\(1, 1\)"),
    ],
)
def test_wrong_images_and_parameters_are_named(images, parameters, match):
    with pytest.raises(ValueError, match=match):
        augment.rand_augment(tf.constant(images), seeds_of(2), **parameters)
