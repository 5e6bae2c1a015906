"""Random resized crops, read back from images whose values are their own coordinates."""

import numpy as np
import pytest
import tensorflow as tf

from framework.data import augment, random


def coordinates(num, height, width):
    """float32 [num, height, width, 2]: each pixel holds where its centre is, (y, x)."""
    grid = np.stack(np.meshgrid(np.arange(height) + 0.5, np.arange(width) + 0.5, indexing="ij"), axis=-1)
    return tf.constant(np.tile(grid, [num, 1, 1, 1]), tf.float32)


def boxes(crops):
    """Returns (top, left, height, width) of each crop, from pixels that aren't at an edge."""
    size = np.array(crops.shape[1:3])
    low, high = size // 4, 3 * size // 4
    first, last = crops[:, low[0], low[1]], crops[:, high[0], high[1]]
    scale = (last - first) / (high - low)
    start = first - scale * (low + 0.5)
    return np.concatenate([start, scale * size], axis=1).T


def test_crops_have_the_area_and_aspect_asked_for_and_lie_inside():
    num, height, width = 300, 40, 30
    seeds = random.example_seeds(0, 0, tf.range(num))
    crops = augment.random_resized_crop(coordinates(num, height, width), seeds, (16, 24)).numpy()
    assert crops.shape == (num, 16, 24, 2)
    top, left, crop_height, crop_width = boxes(crops)
    share, aspect = crop_height * crop_width / (height * width), crop_width / crop_height
    assert 0.079 < share.min() < 0.12
    assert 0.8 < share.max() < 1.001
    assert 0.749 < aspect.min() < 0.77
    assert 1.30 < aspect.max() < 1.334
    assert abs(np.log(aspect)).mean() == pytest.approx(np.log(4 / 3) / 2, rel=0.2)
    for start, length, whole in ((top, crop_height, height), (left, crop_width, width)):
        assert (start > -0.01).all()
        assert (start + length < whole + 0.01).all()
        place = start / (whole - length)
        assert 0.4 < place[length < 0.9 * whole].mean() < 0.6


def test_where_no_draw_fits_the_largest_rectangle_is_taken():
    seeds = random.example_seeds(0, 0, tf.range(20))
    for transpose in ([0, 1, 2, 3], [0, 2, 1, 3]):
        images = tf.transpose(coordinates(20, 12, 120), transpose)
        crops = augment.random_resized_crop(images, seeds, (8, 8), area=(0.9, 1.0)).numpy()
        short, long = (0, 1) if transpose[1] == 1 else (1, 0)
        box = boxes(crops[..., ::1] if short == 0 else crops[..., ::-1])
        np.testing.assert_allclose(box[2 + short], 12, rtol=1e-4)
        np.testing.assert_allclose(box[2 + long], 16, rtol=1e-4)
        assert box[long].std() > 10  # at a random place along the long side


def test_whole_image_resized_is_tf_image_resize():
    # Enlarging, where antialiasing plays no part.
    images = tf.constant(np.random.default_rng(0).integers(0, 256, (2, 6, 6, 3)), tf.float32)
    seeds = random.example_seeds(0, 0, tf.range(2))
    crops = augment.random_resized_crop(images, seeds, (12, 12), area=(1.0, 1.0), aspect=(1.0, 1.0))
    np.testing.assert_allclose(crops, tf.image.resize(images, (12, 12)), rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize(
    ("parameters", "match"),
    [
        ({"size": (8,)}, r"size=\(8,\); expected \(height, width\)"),
        ({"size": (8, 0)}, r"size=\(8, 0\)"),
        ({"size": (8.0, 8.0)}, "expected .height, width. in pixels"),
        ({"area": (0.0, 1.0)}, r"area=\(0.0, 1.0\)"),
        ({"area": (0.5, 1.5)}, r"area=\(0.5, 1.5\)"),
        ({"area": (0.5, 0.4)}, r"area=\(0.5, 0.4\)"),
        ({"aspect": (2.0, 1.0)}, r"aspect=\(2.0, 1.0\)"),
        ({"aspect": (0.0, 1.0)}, r"aspect=\(0.0, 1.0\)"),
        ({"interpolation": "cubic"}, "interpolation is 'cubic'"),
    ],
)
def test_wrong_parameters_are_named(parameters, match):
    with pytest.raises(ValueError, match=match):
        augment.random_resized_crop(
            coordinates(2, 4, 4), random.example_seeds(0, 0, tf.range(2)), **{"size": (8, 8)} | parameters
        )
