"""One interpolation against two: `random_affine` of what `Image.decode` makes."""

import math

import numpy as np
import pytest
import tensorflow as tf

from framework.data import augment, random
from framework.data.augment.affine import Motion
from framework.data.augment.single_warp import SingleWarp
from framework.media import Image

SHAPE = (24, 32, 3)
ALL = {"flip_horizontal": True, "flip_vertical": True, "shift": 0.2, "rotation": 30.0, "zoom": 0.3}


def motion(flip_horizontal=False, flip_vertical=False, shift=0.0, rotation=0.0, zoom=0.0):
    return Motion((flip_vertical, flip_horizontal), shift, rotation, zoom)


def seeds_of(num):
    return random.example_seeds(2, 1, tf.range(num))


def smooth(height, width, channels=3):
    """Waves so long that it doesn't matter how often they are interpolated."""
    y, x = np.mgrid[:height, :width]
    phase = np.arange(channels)
    waves = np.sin(3.0 * y[..., None] / height + phase) + np.cos(4.0 * x[..., None] / width - phase)
    return tf.constant(np.round(128 + 60 * waves).astype(np.uint8))


def is_inside(once, shape, seed):
    """Which pixels of the result, and their neighbours, have nothing of what comes in from outside."""
    white = np.pad(once(tf.fill(shape, tf.constant(255, tf.uint8)), seed).numpy()[..., 0] == 255, 1)
    height, width = SHAPE[:2]
    return np.all([white[y : y + height, x : x + width] for y in range(3) for x in range(3)], axis=0)


def decoded(pixels, image):
    return image.decode(tf.io.encode_png(pixels)).numpy().astype(int)


@pytest.mark.parametrize("aspect", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("size", [(24, 32), (40, 50), (47, 63), (48, 64), (100, 90), (10, 12), (30, 20), (25, 200)])
def test_without_motion_it_is_what_evaluation_sees(aspect, size):
    image = Image(SHAPE, aspect=aspect)
    pixels = tf.constant(np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8))
    warped = SingleWarp(image, Motion())(pixels, seeds_of(1)[0]).numpy()
    assert abs(warped - decoded(pixels, image)).max() <= 1


@pytest.mark.parametrize(
    "moves", [{"flip_horizontal": True, "flip_vertical": True}, {"shift": (0.1, 0.3)}, {"rotation": 180.0}, ALL]
)
@pytest.mark.parametrize(("size", "most"), [((24, 32), 1.0), ((24, 50), 4.0), ((40, 60), 4.0), ((70, 90), 1.0)])
def test_it_moves_as_random_affine_does(moves, size, most):
    image = Image(SHAPE)
    pixels = smooth(*size)
    once = SingleWarp(image, motion(**moves))
    resized = tf.cast(decoded(pixels, image)[np.newaxis], tf.uint8)
    for seed in seeds_of(8):
        expected = augment.random_affine(resized, seed[tf.newaxis], **moves)[0].numpy().astype(int)
        inside = is_inside(once, pixels.shape, seed)
        assert abs(once(pixels, seed).numpy() - expected)[inside].max() <= most
        assert inside.mean() > 0.3


@pytest.mark.parametrize("aspect", ["crop", "pad"])
def test_it_moves_what_the_aspect_leaves(aspect):
    image = Image(SHAPE, aspect=aspect)
    pixels = smooth(60, 50)
    resized = tf.cast(decoded(pixels, image)[np.newaxis], tf.uint8)
    once = SingleWarp(image, motion(**ALL))
    for seed in seeds_of(4):
        expected = augment.random_affine(resized, seed[tf.newaxis], **ALL)[0].numpy().astype(int)
        inside = is_inside(once, pixels.shape, seed)
        assert abs(once(pixels, seed).numpy() - expected)[inside].max() <= 4
        assert inside.mean() > 0.1


def test_a_batch_of_images_that_have_the_size():
    once = SingleWarp(Image(SHAPE), motion(**ALL))
    images = tf.stack([smooth(*SHAPE[:2]), smooth(*SHAPE[:2])[::-1]])
    seeds = seeds_of(2)
    batch = once.batch(images, seeds).numpy()
    assert abs(batch - augment.random_affine(images, seeds, **ALL).numpy().astype(int)).max() <= 1
    for row in range(2):
        np.testing.assert_array_equal(batch[row], once(images[row], seeds[row]))


def test_a_channel_alone():
    once = SingleWarp(Image((24, 32, 1)), motion(rotation=20.0))
    warped = once(smooth(40, 50, 1), seeds_of(1)[0])
    assert warped.shape == (24, 32, 1)
    assert warped.dtype == tf.uint8


def test_the_seed_decides_alone():
    """Not the batch, the order, nor the number of threads."""
    once = SingleWarp(Image(SHAPE), motion(**ALL))
    seeds = seeds_of(20)
    pixels = smooth(40, 50)

    def images(seeds, threads):
        mapped = tf.data.Dataset.from_tensor_slices(seeds).map(
            lambda seed: once(pixels, seed), num_parallel_calls=threads, deterministic=True
        )
        return np.stack(list(mapped.as_numpy_iterator()))

    one_by_one = images(seeds, 1)
    np.testing.assert_array_equal(images(seeds, 8), one_by_one)
    np.testing.assert_array_equal(images(seeds[7:], 2), one_by_one[7:])
    assert len({image.tobytes() for image in one_by_one}) == 20
    other = SingleWarp(Image(SHAPE), motion(**ALL), salt="other")
    assert (other(pixels, seeds[0]).numpy() != one_by_one[0]).any()


def test_what_comes_in_from_outside_is_black():
    once = SingleWarp(Image(SHAPE), motion(rotation=180.0))
    white = tf.fill((40, 50, 3), tf.constant(255, tf.uint8))
    corners = np.stack([once(white, seed).numpy()[0, 0] for seed in seeds_of(20)])
    assert (corners == 0).all(axis=1).sum() > 10


def test_a_very_long_image():
    """Longer than the 32,767 pixels that OpenCV can address in a warp."""
    warped = SingleWarp(Image(SHAPE), motion(rotation=5.0))(tf.zeros((30, 40_000, 3), tf.uint8), seeds_of(1)[0])
    assert math.prod(warped.shape) == math.prod(SHAPE)


def test_opencv_is_asked_for_by_the_name_of_its_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cv2", None)
    with pytest.raises(ImportError, match=r"The warp 'opencv' needs cv2.*keras-shipyard\[opencv\]"):
        SingleWarp(Image(SHAPE), Motion())
