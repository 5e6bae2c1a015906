"""Moving pixels, against NumPy."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from framework.data.augment.warp import FILLS, Sampling, about_centre, pick, transforms_of, warp

NUMPY_MODES = {"constant": "constant", "reflect": "symmetric", "nearest": "edge", "wrap": "wrap"}


def toy_images(shape, dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(1, 256, shape).astype(dtype)


def padded(image, fill, fill_value, by):
    values = {"constant_values": fill_value} if fill == "constant" else {}
    return np.pad(image, [(by, by), (by, by), (0, 0)], mode=NUMPY_MODES[fill], **values)


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 6)] * 2, st.integers(1, 3)),
    down=st.integers(-9, 9),
    right=st.integers(-9, 9),
    flips=st.tuples(st.booleans(), st.booleans()),
    fill=st.sampled_from(FILLS),
)
def test_pick_is_padding_and_slicing(shape, down, right, flips, fill):
    height, width, _ = shape
    images = toy_images((3, *shape))
    rows, columns = (
        np.arange(n)[::-1] if flip else np.arange(n) for n, flip in zip((height, width), flips, strict=True)
    )
    # The second image moves, the others stay: examples don't mix.
    rows = np.stack([np.arange(height), rows - down, np.arange(height)]).astype(np.int32)
    columns = np.stack([np.arange(width), columns - right, np.arange(width)]).astype(np.int32)
    picked = pick(tf.constant(images), tf.constant(rows), tf.constant(columns), Sampling(fill=fill, fill_value=7))
    np.testing.assert_array_equal(picked[::2], images[::2])
    expected = padded(images[1], fill, 7, by=16)[np.ix_(rows[1] + 16, columns[1] + 16)]
    np.testing.assert_array_equal(picked[1], expected)


def test_pick_can_change_the_size_and_leave_an_axis():
    images = toy_images((2, 4, 5, 3))
    rows = np.array([[3, 0], [1, 1]], np.int32)
    columns = np.array([[4, 0, 2], [0, 1, 2]], np.int32)
    both = pick(tf.constant(images), tf.constant(rows), tf.constant(columns), Sampling())
    assert both.shape == [2, 2, 3, 3]
    np.testing.assert_array_equal(both[0], images[0][np.ix_(rows[0], columns[0])])
    np.testing.assert_array_equal(pick(tf.constant(images), tf.constant(rows), None, Sampling())[1], images[1][rows[1]])
    np.testing.assert_array_equal(
        pick(tf.constant(images), None, tf.constant(columns), Sampling())[0], images[0][:, columns[0]]
    )


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
def test_warp_and_pick_agree_where_both_can(fill, interpolation):
    images = tf.constant(toy_images((4, 6, 7, 3)))
    down, right = np.array([-2, 0, 1, 3]), np.array([2, -3, 0, 1])
    one = tf.ones([4], tf.float64)
    transforms = about_centre([-one, 0 * one, 0 * one, one], [down * one, right * one], (6, 7))
    sampling = Sampling(interpolation, fill, 9)
    rows = np.arange(6) - down[:, np.newaxis]
    columns = 6 - (np.arange(7) - right[:, np.newaxis])
    picked = pick(images, tf.constant(rows, tf.int32), tf.constant(columns, tf.int32), sampling)
    np.testing.assert_array_equal(warp(images, transforms, (6, 7), sampling), picked)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_quarter_turns_are_rot90(quarters, interpolation, dtype):
    images = toy_images((2, 6, 6, 3), dtype)
    angle = tf.constant([quarters * np.pi / 2] * 2, tf.float64)
    cosine, sine = tf.cos(angle), tf.sin(angle)
    transforms = about_centre([cosine, -sine, sine, cosine], [0 * angle, 0 * angle], (6, 6))
    turned = warp(tf.constant(images), transforms, (6, 6), Sampling(interpolation, "nearest"))
    expected = np.rot90(images, quarters, axes=(1, 2))
    # The cosine of 90 degrees is 6e-17.
    np.testing.assert_allclose(turned, expected, rtol=0 if dtype == np.uint8 else 1e-4)


def test_bilinear_uint8_is_rounded():
    images = tf.constant([[[[0], [1], [2], [5], [255]]]], tf.uint8)
    half = tf.constant([0.5], tf.float64)
    moved = transforms_of(*[one * tf.ones([1], tf.float64) for one in (1, 0, half, 0, 1, 0)])
    values = warp(images, moved, (1, 5), Sampling(fill="nearest")).numpy().ravel()
    np.testing.assert_array_equal(values, [1, 2, 4, 130, 255])  # of 0.5, 1.5, 3.5, 130 and 255


def test_warp_gives_the_size_asked_for():
    images = tf.constant(toy_images((2, 4, 6, 1)))
    two = tf.constant([2.0, 2.0], tf.float64)
    doubled = transforms_of(two, 0 * two, 0 * two, 0 * two, two, 0 * two)
    np.testing.assert_array_equal(warp(images, doubled, (2, 3), Sampling("nearest")), images[:, ::2, ::2])


def test_sampling_names_what_it_knows():
    with pytest.raises(ValueError, match="interpolation is 'cubic'; expected one of bilinear, nearest"):
        Sampling("cubic")
    with pytest.raises(ValueError, match="fill is 'mirror'; expected one of constant, reflect, nearest, wrap"):
        Sampling(fill="mirror")
    for wrong in (-1, 256, 0.5):
        with pytest.raises(ValueError, match=f"fill_value is {wrong}, but the images are uint8"):
            Sampling(fill_value=wrong).check(tf.uint8)
        Sampling(fill_value=wrong).check(tf.float32)
    Sampling(fill_value=255.0).check(tf.uint8)
