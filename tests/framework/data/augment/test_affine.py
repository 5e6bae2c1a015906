"""Flips, shifts, rotations and zooms, against NumPy."""

import itertools
import math

import numpy as np
import pytest
import tensorflow as tf

from framework.data import augment, random


def toy_images(num, shape=(5, 6, 1), dtype=np.uint8):
    """All values of an image are different, none is 0."""
    image = np.arange(1, 1 + math.prod(shape)).reshape(shape)
    return tf.constant(np.tile(image, [num, 1, 1, 1]).astype(dtype))


def seeds_of(num):
    return random.example_seeds(2, 1, tf.range(num))


def shifted(image, down, right):
    moved = np.zeros_like(image)
    height, width = image.shape[:2]
    source = image[max(0, -down) : height - max(0, down), max(0, -right) : width - max(0, right)]
    moved[max(0, down) : height + min(0, down), max(0, right) : width + min(0, right)] = source
    return moved


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_flips_and_shifts_are_exact_and_all_equally_likely(dtype):
    num = 4000
    images = toy_images(num, dtype=dtype)
    moved = augment.random_affine(images, seeds_of(num), flip_horizontal=True, flip_vertical=True, shift=(0.2, 0.3))
    image = images[0].numpy()
    # A fifth of 5 rows is 1 pixel, three tenths of 6 columns are 2.
    possible = {}
    for up, left, down, right in itertools.product([1, -1], [1, -1], range(-1, 2), range(-2, 3)):
        possible[shifted(image[::up, ::left], down, right).tobytes()] = 0
    assert len(possible) == 60
    for one in moved.numpy():
        possible[one.tobytes()] += 1  # a KeyError is an image that can't be
    counts = np.array(list(possible.values()))
    statistic = ((counts - num / 60) ** 2 / (num / 60)).sum()
    assert abs(statistic - 59) < 4 * np.sqrt(2 * 59)


@pytest.mark.parametrize("horizontal", [True, False])
@pytest.mark.parametrize("vertical", [True, False])
def test_random_flip_flips_what_is_asked_for(horizontal, vertical):
    image = toy_images(1)[0].numpy()
    flipped = augment.random_flip(toy_images(64), seeds_of(64), horizontal=horizontal, vertical=vertical).numpy()
    possible = {image[::up, ::left].tobytes() for up in {1, 1 - 2 * vertical} for left in {1, 1 - 2 * horizontal}}
    assert {one.tobytes() for one in flipped} == possible


def test_random_shift_takes_one_share_or_two_and_a_fill():
    image = toy_images(1)[0].numpy()
    both = augment.random_shift(toy_images(200), seeds_of(200), 0.2, fill="wrap").numpy()
    rolled = {np.roll(image, by, (0, 1)).tobytes() for by in itertools.product(range(-1, 2), range(-1, 2))}
    assert {one.tobytes() for one in both} == rolled
    down = augment.random_shift(toy_images(64), seeds_of(64), (0.2, 0.0), fill_value=200).numpy()
    assert {tuple(one[:, 0, 0]) for one in down} == {(1, 7, 13, 19, 25), (200, 1, 7, 13, 19), (7, 13, 19, 25, 200)}


def test_the_smallest_share_is_one_pixel():
    moved = augment.random_shift(toy_images(64), seeds_of(64), 0.001).numpy()
    assert {int((one == 0).all((1, 2)).sum()) for one in moved} == {0, 1}


def bilinear(image, y, x):
    """The value at a place, what is outside being 0."""
    padded = np.pad(image.astype(np.float64), [(20, 20), (20, 20), (0, 0)])
    top, left = math.floor(y), math.floor(x)
    part_y, part_x = y - top, x - left
    block = padded[top + 20 : top + 22, left + 20 : left + 22]
    return np.einsum("y,x,yxc->c", [1 - part_y, part_y], [1 - part_x, part_x], block)


def moved_by_definition(image, flips, shift, degrees, magnification):
    """Flip, zoom, rotate counter-clockwise, shift, one output pixel at a time and backwards."""
    image = image[:: -1 if flips[0] else 1, :: -1 if flips[1] else 1]
    height, width = image.shape[:2]
    turn = np.exp(1j * math.radians(degrees))
    result = np.zeros(image.shape)
    for y, x in itertools.product(range(height), range(width)):
        # Complex numbers have their imaginary part upwards, images their rows downwards.
        place = (x - shift[1] - (width - 1) / 2) - 1j * (y - shift[0] - (height - 1) / 2)
        place = place / turn / magnification
        result[y, x] = bilinear(image, (height - 1) / 2 - place.imag, (width - 1) / 2 + place.real)
    return result


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_everything_at_once_is_one_resampling_by_definition(dtype):
    num, shape = 12, (7, 9, 2)
    images, seeds = toy_images(num, shape, dtype), seeds_of(num)
    moved = augment.random_affine(
        images, seeds, flip_horizontal=True, flip_vertical=True, shift=0.3, rotation=60.0, zoom=0.4
    )
    drawn = random.uniform(random.fold_in(seeds, "random_affine", ""), [6]).numpy().astype(np.float64)
    for image, result, (up, left, down, right, turn, zoom) in zip(images.numpy(), moved.numpy(), drawn, strict=True):
        shift = math.floor(down * 5) - 2, math.floor(right * 7) - 3
        degrees, magnification = (2 * turn - 1) * 60, 1 + (2 * zoom - 1) * 0.4
        expected = moved_by_definition(image, (up < 0.5, left < 0.5), shift, degrees, magnification)
        # Half a unit of rounding, and float32 in the kernel.
        np.testing.assert_allclose(result, expected, rtol=0, atol=0.51 if dtype == np.uint8 else 2e-3)


def test_rotation_and_zoom_keep_to_their_ranges():
    # The distance of two points and the direction from one to the other, found again as centres of mass.
    num, size = 64, 41
    image = np.zeros((size, size, 2), np.float32)
    image[18:23, 8:13, 0] = image[18:23, 28:33, 1] = 1.0
    images = tf.constant(np.tile(image, [num, 1, 1, 1]))
    place = np.arange(size)

    def points(moved):
        mass = moved.sum((1, 2))
        x = (moved.sum(1) * place[:, None]).sum(1) / mass
        y = (moved.sum(2) * place[:, None]).sum(1) / mass
        return (x[:, 1] - x[:, 0]) - 1j * (y[:, 1] - y[:, 0])

    rotated = points(augment.random_rotation(images, seeds_of(num), 25.0).numpy())
    np.testing.assert_allclose(abs(rotated), 20.0, rtol=0.01)
    degrees = np.degrees(np.angle(rotated))
    assert -25.2 < degrees.min() < -22
    assert 22 < degrees.max() < 25.2
    assert 25 / np.sqrt(3) * 0.85 < degrees.std() < 25 / np.sqrt(3) * 1.15

    zoomed = points(augment.random_zoom(images, seeds_of(num), 0.3).numpy())
    np.testing.assert_allclose(np.angle(zoomed), 0.0, atol=1e-3)
    magnification = abs(zoomed) / 20.0
    assert 0.69 < magnification.min() < 0.74
    assert 1.26 < magnification.max() < 1.31


@pytest.mark.parametrize("rotation", [0.0, 40.0])
def test_a_mask_moves_with_its_image(rotation):
    mask = np.random.default_rng(1).integers(0, 2, (16, 9, 8, 1)).astype(np.uint8)
    images = tf.constant(np.repeat(mask * 200, 3, axis=3))
    motion = {
        "flip_horizontal": True,
        "flip_vertical": True,
        "shift": 0.3,
        "rotation": rotation,
        "interpolation": "nearest",
    }
    moved = augment.random_affine(images, seeds_of(16), **motion).numpy()
    moved_mask = augment.random_affine(tf.constant(mask, tf.float32), seeds_of(16), **motion).numpy()
    np.testing.assert_array_equal(moved, np.repeat(moved_mask * 200, 3, axis=3))
    assert (moved_mask != mask).any()


def test_one_movement_doesnt_depend_on_another_being_asked_for():
    images, seeds = toy_images(32), seeds_of(32)
    flipped = augment.random_affine(images, seeds, flip_horizontal=True).numpy()
    both = augment.random_affine(images, seeds, flip_horizontal=True, shift=(0.2, 0.0)).numpy()
    for one, moved in zip(flipped, both, strict=True):
        assert moved.tobytes() in {shifted(one, by, 0).tobytes() for by in (-1, 0, 1)}


@pytest.mark.parametrize(
    ("parameters", "match"),
    [
        ({"shift": 1.5}, "shift is 1.5; expected a number in"),
        ({"shift": (0.1, -0.1)}, r"shift is \(0.1, -0.1\)"),
        ({"shift": (0.1, 0.1, 0.1)}, "of the height, of the width"),
        ({"rotation": -10.0}, "rotation is -10.0; expected degrees"),
        ({"rotation": 181.0}, "rotation is 181.0"),
        ({"zoom": 1.0}, "zoom is 1.0; expected a number in"),
        ({"interpolation": "cubic"}, "interpolation is 'cubic'"),
        ({"fill": "mirror"}, "fill is 'mirror'"),
        ({"fill_value": 300}, "fill_value is 300, but the images are uint8"),
    ],
)
def test_wrong_parameters_are_named(parameters, match):
    with pytest.raises(ValueError, match=match):
        augment.random_affine(toy_images(2), seeds_of(2), **parameters)
