"""Cropping while decoding against cropping what is decoded."""

import numpy as np
import pytest
import tensorflow as tf

from framework.data import augment, random
from framework.data.augment.crop import draw_windows
from framework.data.augment.decoded_crop import decode_random_crop
from framework.media import Image

HEIGHT, WIDTH = 130, 170


def photograph(channels=3):
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    waves = np.sin(y[..., None] / 30 + np.arange(channels)) + np.cos(x[..., None] / 40)
    return tf.constant(np.round(128 + 60 * waves).astype(np.uint8))


ENCODERS = {"jpeg": lambda pixels: tf.io.encode_jpeg(pixels, quality=98), "png": tf.io.encode_png}


def seeds_of(num):
    return random.example_seeds(4, 2, tf.range(num))


@pytest.mark.parametrize("kind", ENCODERS)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_window_is_that_of_random_resized_crop(kind, channels):
    shape = (64, 64, channels)
    encoded = ENCODERS[kind](photograph(channels))
    whole = tf.io.decode_image(encoded)[tf.newaxis]
    for seed in seeds_of(6):
        window = decode_random_crop(encoded, seed, shape, area=(0.2, 1.0))
        resized = Image(shape).from_served(window[tf.newaxis])[0].numpy().astype(int)
        expected = augment.random_resized_crop(whole, seed[tf.newaxis], shape[:2], area=(0.2, 1.0))[0]
        assert abs(resized - expected.numpy()).max() <= 8  # up to a pixel aside


@pytest.mark.parametrize("size", [16, 40])
def test_a_large_window_is_decoded_at_a_part_of_its_size(size):
    encoded = ENCODERS["jpeg"](photograph())
    for seed in seeds_of(20):
        _, _, height, width = (float(number[0]) for number in draw_windows(seed[tf.newaxis], HEIGHT, WIDTH))
        got = decode_random_crop(encoded, seed, (size, size, 3)).shape
        ratio = round(height / got[0])
        assert ratio in (1, 2, 4, 8)
        assert max(abs(height / ratio - got[0]), abs(width / ratio - got[1])) <= 2
        assert ratio == 1 or min(got[:2]) >= size
        assert min(got[:2]) < 2 * size + 2


def test_the_pixels_are_those_of_the_whole_image():
    encoded = ENCODERS["jpeg"](photograph())
    whole = tf.io.decode_jpeg(encoded).numpy()
    for seed in seeds_of(6):
        top, left, height, width = (float(number[0]) for number in draw_windows(seed[tf.newaxis], HEIGHT, WIDTH))
        expected = whole[int(top) : -int(-(top + height) // 1), int(left) : -int(-(left + width) // 1)]
        got = decode_random_crop(encoded, seed, (128, 128, 3)).numpy()
        # Colours lie at half the resolution: on the window's edge libjpeg has one neighbour less to interpolate from.
        np.testing.assert_array_equal(got[2:-2, 2:-2], expected[2:-2, 2:-2])
        np.testing.assert_allclose(got.astype(int), expected, atol=6)


def test_in_a_dataset():
    encoded = ENCODERS["jpeg"](photograph())
    seeds = seeds_of(8)
    mapped = tf.data.Dataset.from_tensor_slices(seeds).map(
        lambda seed: decode_random_crop(encoded, seed, (32, 32, 3)), num_parallel_calls=2
    )
    for seed, window in zip(seeds, mapped, strict=True):
        np.testing.assert_array_equal(window, decode_random_crop(encoded, seed, (32, 32, 3)))


def test_what_is_no_image_is_an_error():
    encoded = ENCODERS["jpeg"](photograph()).numpy()
    for broken in (encoded[: len(encoded) // 2], b"text", b""):
        with pytest.raises(tf.errors.InvalidArgumentError):
            decode_random_crop(tf.constant(broken), seeds_of(1)[0], (32, 32, 3))
    with pytest.raises(ValueError, match="area=\\(0, 2\\)"):
        decode_random_crop(tf.constant(encoded), seeds_of(1)[0], (32, 32, 3), area=(0, 2))
