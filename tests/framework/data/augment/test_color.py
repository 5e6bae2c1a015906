"""Colors, against NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from framework.data import augment, random

LUMA = np.array([0.299, 0.587, 0.114])
NUM = 7


def toy_images(channels=3, dtype=np.uint8, low=0, high=256):
    return np.random.default_rng(3).integers(low, high, (NUM, 5, 4, channels)).astype(dtype)


def seeds_of(num):
    return random.example_seeds(4, 0, tf.range(num))


def factors(low, high):
    return np.linspace(low, high, NUM, dtype=np.float32)


def per_image(values):
    return np.reshape(values, [NUM, 1, 1, 1])


def enhanced(images, brightness, contrast, saturation):
    """One after the other, as Pillow's `ImageEnhance` blends."""
    values = per_image(brightness) * images
    mean = (values @ LUMA).mean((1, 2))
    values = per_image(contrast) * values + per_image((1 - contrast) * mean)
    luma = (values @ LUMA)[..., np.newaxis]
    return per_image(saturation) * values + per_image(1 - saturation) * luma


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_brightness_contrast_and_saturation_are_applied_in_this_order(dtype):
    images = toy_images(dtype=dtype)
    given = {"brightness": factors(0.6, 1.5), "contrast": factors(1.8, 0.2), "saturation": factors(0.0, 1.9)}
    adjusted = augment.adjust_color(tf.constant(images), **given).numpy()
    expected = enhanced(images.astype(np.float64), **given)
    if dtype == np.uint8:
        np.testing.assert_allclose(adjusted, np.clip(np.round(expected), 0, 255), atol=1)
        assert (adjusted == np.clip(np.round(expected), 0, 255)).mean() > 0.98
    else:
        np.testing.assert_allclose(adjusted, expected, atol=2e-2)


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_each_one_alone(name):
    images = toy_images(dtype=np.float32)
    neutral = dict.fromkeys(["brightness", "contrast", "saturation"], np.ones(NUM, np.float32))
    adjusted = augment.adjust_color(tf.constant(images), **{name: factors(0.0, 2.0)})
    np.testing.assert_allclose(adjusted, enhanced(images, **neutral | {name: factors(0.0, 2.0)}), atol=2e-2)


@pytest.mark.parametrize("width", [1, 2, 7, 8, 14, 25, 44, 62])
def test_the_last_bit_of_a_float_doesnt_depend_on_the_number_of_pixels(width):
    # TensorFlow's matrix product treats the last few of its rows differently.
    images = tf.constant(np.random.default_rng(0).random((NUM, 1, width, 3), np.float32))
    changes = {"saturation": factors(0.0, 1.9), "hue": factors(-0.5, 0.5)}
    whole = augment.adjust_color(images, **changes)
    for i in range(NUM):
        alone = augment.adjust_color(images[i : i + 1], **{name: one[i : i + 1] for name, one in changes.items()})
        np.testing.assert_array_equal(alone[0], whole[i])


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_neutral_factors_change_nothing(dtype):
    images = toy_images(dtype=dtype)
    one, zero = np.ones(NUM, np.float32), np.zeros(NUM, np.float32)
    adjusted = augment.adjust_color(tf.constant(images), brightness=one, contrast=one, saturation=one, hue=zero)
    np.testing.assert_array_equal(adjusted, images)


def test_hue_keeps_the_luma_and_grays_and_turns_all_the_way_round():
    images = toy_images(dtype=np.float32)
    turned = augment.adjust_color(tf.constant(images), hue=factors(-0.5, 0.5)).numpy()
    np.testing.assert_allclose(turned @ LUMA, images @ LUMA, atol=0.1)
    # Half a turn, twice, in either direction.
    np.testing.assert_allclose(turned[0] @ LUMA, images[0] @ LUMA, atol=0.1)
    back = augment.adjust_color(tf.constant(turned), hue=factors(0.5, -0.5))
    np.testing.assert_allclose(back, images, atol=0.1)
    grays = np.repeat(toy_images(1), 3, axis=3)
    np.testing.assert_array_equal(augment.adjust_color(tf.constant(grays), hue=factors(-0.5, 0.5)), grays)


def test_hue_turns_the_way_it_does_in_hsv():
    muted = np.tile(np.array([150.0, 110.0, 110.0], np.float32), [NUM, 1, 1, 1])  # red, and near to gray
    for hue in (-0.3, -0.1, 0.1, 0.3):
        ours = augment.adjust_color(tf.constant(muted), hue=np.full(NUM, hue, np.float32)).numpy()[0, 0, 0]
        hsv = tf.image.adjust_hue(muted[:1] / 255, hue).numpy()[0, 0, 0]
        assert ours.argmax() == hsv.argmax()
        assert (ours[1] > ours[2]) == (hue > 0)


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_brightness_and_contrast_take_any_number_of_channels(channels):
    images = toy_images(channels, np.float32)
    brightness, contrast = factors(0.5, 1.5), factors(2.0, 0.0)
    adjusted = augment.adjust_color(tf.constant(images), brightness=brightness, contrast=contrast)
    values = per_image(brightness) * images
    mean = per_image(values.mean((1, 2, 3)))
    np.testing.assert_allclose(adjusted, mean + per_image(contrast) * (values - mean), atol=1e-2)


def test_floats_are_clipped_where_a_range_is_given():
    images = tf.constant(toy_images(dtype=np.float32) / 255)
    bright = {"brightness": np.full(NUM, 3.0, np.float32)}
    assert augment.adjust_color(images, **bright).numpy().max() > 2
    clipped = augment.adjust_color(images, **bright, value_range=(0.25, 1.0)).numpy()
    np.testing.assert_allclose(clipped, np.clip(3 * images.numpy(), 0.25, 1), rtol=1e-6)


def test_random_factors_are_uniform_in_their_ranges():
    num = 500
    images = tf.fill([num, 1, 2, 1], 1.0)
    factor = augment.random_color(images, seeds_of(num), brightness=0.4).numpy()[:, 0, 0, 0]
    assert 0.6 <= factor.min() < 0.61
    assert 1.39 < factor.max() < 1.4
    assert abs(factor.mean() - 1) < 4 * 0.4 / np.sqrt(3 * num)

    images = tf.constant(np.tile(np.array([[[[0.0], [2.0]]]], np.float32), [num, 1, 1, 1]))
    pixels = augment.random_color(images, seeds_of(num), contrast=0.4).numpy()
    factor = (pixels[:, 0, 1, 0] - pixels[:, 0, 0, 0]) / 2
    np.testing.assert_allclose(pixels.mean((1, 2, 3)), 1.0, rtol=1e-5)
    assert 0.6 <= factor.min() < 0.61
    assert 1.39 < factor.max() < 1.4

    red = tf.constant(np.tile(np.array([3.0, 1.0, 1.0], np.float32), [num, 1, 1, 1]))
    pixels = augment.random_color(red, seeds_of(num), saturation=0.4).numpy()[:, 0, 0]
    factor = (pixels[:, 0] - pixels[:, 1]) / 2
    assert 0.599 < factor.min() < 0.61
    assert 1.39 < factor.max() < 1.401

    yiq = augment.random_color(red, seeds_of(num), hue=0.2).numpy()[:, 0, 0] @ np.array(
        [[0.596, 0.2115], [-0.2746, -0.5227], [-0.3213, 0.3112]]
    )
    turn = np.angle((yiq[:, 0] + 1j * yiq[:, 1]) / (2 * (0.596 + 0.2115j))) / (2 * np.pi)
    assert -0.201 < turn.min() < -0.195
    assert 0.195 < turn.max() < 0.201


def test_one_change_doesnt_depend_on_another_being_asked_for():
    images, seeds = tf.constant(toy_images(dtype=np.float32)), seeds_of(NUM)
    bright = augment.random_color(images, seeds, brightness=0.4).numpy()
    both = augment.random_color(images, seeds, brightness=0.4, contrast=0.4).numpy()
    np.testing.assert_allclose((both @ LUMA).mean((1, 2)), (bright @ LUMA).mean((1, 2)), rtol=1e-4)


@pytest.mark.parametrize("name", ["saturation", "hue"])
def test_saturation_and_hue_need_three_channels(name):
    with pytest.raises(ValueError, match=rf"{name}=0.1 for images of 1 channels; expected 3 \(RGB\)"):
        augment.random_color(tf.constant(toy_images(1)), seeds_of(NUM), **{name: 0.1})
    unknown = [tf.TensorSpec([None, None, None, None], tf.uint8), tf.TensorSpec([None, 2], tf.int64)]
    function = tf.function(lambda images, seeds: augment.random_color(images, seeds, **{name: 0.1}))
    with pytest.raises(ValueError, match=r"give it with tf\.ensure_shape"):
        function.get_concrete_function(*unknown)


@pytest.mark.parametrize(
    ("parameters", "match"),
    [
        ({"brightness": 1.1}, r"brightness=1.1; expected a number in \[0, 1\]"),
        ({"contrast": -0.1}, "contrast=-0.1"),
        ({"saturation": 2.0}, "saturation=2.0"),
        ({"hue": 0.6}, r"hue=0.6; expected a number in \[0, 0.5\]"),
        ({"brightness": 0.1, "value_range": (1.0, 0.0)}, r"value_range=\(1.0, 0.0\)"),
        ({"brightness": 0.1, "value_range": (1.0,)}, r"value_range=\(1.0,\)"),
        ({"brightness": 0.1, "value_range": (0.0, float("nan"))}, "low < high, or None"),
    ],
)
def test_wrong_parameters_are_named(parameters, match):
    with pytest.raises(ValueError, match=match):
        augment.random_color(tf.constant(toy_images()), seeds_of(NUM), **parameters)
