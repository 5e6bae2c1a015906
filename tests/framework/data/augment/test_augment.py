"""What holds for every augmentation. Each is declared once, below."""

import numpy as np
import pytest
import tensorflow as tf

from framework.data import augment, random

NUM = 9
SHAPE = (9, 11, 3)

# The functions of images and seeds alone: name -> function. Floating images are in 0 ... 255.
ALONE = {
    "random_flip": lambda images, seeds, **salt: augment.random_flip(images, seeds, vertical=True, **salt),
    "random_shift": lambda images, seeds, **salt: augment.random_shift(images, seeds, (0.2, 0.3), **salt),
    "random_rotation": lambda images, seeds, **salt: augment.random_rotation(images, seeds, 30.0, **salt),
    "random_zoom": lambda images, seeds, **salt: augment.random_zoom(images, seeds, 0.3, **salt),
    "random_affine": lambda images, seeds, **salt: augment.random_affine(
        images, seeds, flip_horizontal=True, shift=0.2, rotation=30.0, zoom=0.2, fill="reflect", **salt
    ),
    "random_resized_crop": lambda images, seeds, **salt: augment.random_resized_crop(images, seeds, (9, 11), **salt),
    "random_color": lambda images, seeds, **salt: augment.random_color(
        images, seeds, brightness=0.3, contrast=0.3, saturation=0.3, hue=0.1, **salt
    ),
    "random_erase": lambda images, seeds, **salt: augment.random_erase(images, seeds, size=0.3, **salt),
    "gaussian_noise": lambda images, seeds, **salt: augment.gaussian_noise(images, seeds, stddev=9.0, **salt),
    "rand_augment": lambda images, seeds, **salt: augment.rand_augment(images, seeds, value_range=(0, 255), **salt),
}


def _mix(function):
    def apply(images, seeds, **salt):
        labels = tf.cast(seeds[:, 1] % 5, tf.int32)
        images, labels = function(images, labels, seeds, num_classes=5, alpha=1.0, **salt)
        return tf.concat([tf.reshape(tf.cast(images, tf.float32), [-1, 9 * 11 * 3]), labels], axis=1)

    return apply


# Those that look at the rest of the batch.
MIXING = {"mixup": _mix(augment.mixup), "cutmix": _mix(augment.cutmix)}
EVERY = ALONE | MIXING

ALONE_CASES = pytest.mark.parametrize("function", ALONE.values(), ids=ALONE)
EVERY_CASES = pytest.mark.parametrize("function", EVERY.values(), ids=EVERY)
DTYPES = pytest.mark.parametrize("dtype", [tf.uint8, tf.float32], ids=lambda dtype: dtype.name)


def toy_images(dtype=tf.uint8, num=NUM, shape=SHAPE):
    return tf.cast(np.random.default_rng(0).integers(0, 256, (num, *shape)), dtype)


def toy_seeds(num=NUM, epoch=0):
    return random.example_seeds(5, epoch, tf.range(num))


def test_every_public_function_is_declared_here():
    assert {*EVERY, "adjust_color"} == set(augment.__all__)


@DTYPES
@ALONE_CASES
def test_an_example_is_augmented_the_same_in_any_batch_eagerly_and_in_tf_data(function, dtype):
    images, seeds = toy_images(dtype), toy_seeds()
    expected = function(images, seeds).numpy()
    assert expected.dtype == dtype.as_numpy_dtype

    # Sizes unknown when tracing, and every example alone, in the whole, and in a batch in another order.
    unknown = [tf.TensorSpec([None, None, None, 3], dtype), tf.TensorSpec([None, 2], tf.int64)]
    graph = tf.function(function, input_signature=unknown)
    np.testing.assert_array_equal(graph(images, seeds), expected)
    np.testing.assert_array_equal(graph(images[::-1], seeds[::-1]), expected[::-1])
    for i in range(NUM):
        np.testing.assert_array_equal(graph(images[i : i + 1], seeds[i : i + 1]), expected[i : i + 1])

    # Sizes known when tracing.
    dataset = tf.data.Dataset.from_tensor_slices((images, seeds)).batch(4).map(function)
    assert dataset.element_spec.shape.as_list() == [None, *SHAPE]
    np.testing.assert_array_equal(tf.concat(list(dataset), axis=0), expected)


@pytest.mark.parametrize("function", MIXING.values(), ids=MIXING)
def test_a_batch_is_mixed_the_same_eagerly_and_in_tf_data(function):
    images, seeds = toy_images(), toy_seeds()
    expected = function(images, seeds)
    dataset = tf.data.Dataset.from_tensor_slices((images, seeds)).batch(NUM).map(function)
    np.testing.assert_array_equal(next(iter(dataset)), expected)
    unknown = [tf.TensorSpec([None, None, None, 3], tf.uint8), tf.TensorSpec([None, 2], tf.int64)]
    np.testing.assert_array_equal(tf.function(function, input_signature=unknown)(images, seeds), expected)


@EVERY_CASES
def test_seeds_decide_and_salts_tell_uses_apart(function):
    images = toy_images(num=6)
    first = function(images, toy_seeds(6)).numpy()
    np.testing.assert_array_equal(function(images, toy_seeds(6)), first)
    assert (function(images, toy_seeds(6, epoch=1)).numpy() != first).any()
    assert (function(images, toy_seeds(6), salt="again").numpy() != first).any()
    assert (function(images, toy_seeds(6), salt=1).numpy() != first).any()


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16, tf.float64], ids=lambda dtype: dtype.name)
@EVERY_CASES
def test_floating_dtypes_are_kept(function, dtype):
    images = toy_images(dtype, num=4)
    augmented = function(images, toy_seeds(4))
    if function in ALONE.values():
        assert augmented.dtype == dtype
        assert augmented.shape == images.shape
    reference = function(tf.cast(images, tf.float32), toy_seeds(4))
    # Half precision has 8 bits in bfloat16: 1 in 256.
    np.testing.assert_allclose(tf.cast(augmented, tf.float32), reference, rtol=2**-7, atol=1e-3)


@pytest.mark.parametrize(
    "function",
    [
        lambda images, seeds: augment.random_affine(images, seeds),
        lambda images, seeds: augment.random_flip(images, seeds, horizontal=False),
        lambda images, seeds: augment.random_shift(images, seeds, 0.0),
        lambda images, seeds: augment.random_rotation(images, seeds, 0.0),
        lambda images, seeds: augment.random_zoom(images, seeds, 0.0),
        lambda images, seeds: augment.random_resized_crop(images, seeds, (8, 8), area=(1.0, 1.0), aspect=(1.0, 1.0)),
        lambda images, seeds: augment.random_color(images, seeds),
        lambda images, seeds: augment.random_erase(images, seeds, probability=0.0),
        lambda images, seeds: augment.gaussian_noise(images, seeds, stddev=0.0),
    ],
)
@DTYPES
def test_parameters_that_ask_for_nothing_change_nothing(function, dtype):
    images = toy_images(dtype, shape=(8, 8, 3))
    np.testing.assert_array_equal(function(images, toy_seeds()), images)


def test_two_functions_with_the_same_seeds_draw_independently():
    images = tf.tile(tf.constant([[[[1], [2]]]], tf.uint8), [2000, 1, 1, 1])
    seeds = toy_seeds(2000)
    by_flip = augment.random_flip(images, seeds).numpy()[:, 0, 0, 0] == 2
    by_affine = augment.random_affine(images, seeds, flip_horizontal=True).numpy()[:, 0, 0, 0] == 2
    for flipped in (by_flip, by_affine):
        assert abs(flipped.mean() - 0.5) < 4 * np.sqrt(0.25 / 2000)
    assert abs((by_flip == by_affine).mean() - 0.5) < 4 * np.sqrt(0.25 / 2000)


@EVERY_CASES
def test_images_and_seeds_of_the_wrong_kind_are_named(function, request):
    name = request.node.callspec.id
    images, seeds = toy_images(num=2), toy_seeds(2)
    for wrong in (tf.cast(images, tf.int32), images.numpy()):
        with pytest.raises(TypeError, match=f"{name} got images of"):
            function(wrong, seeds)
    with pytest.raises(ValueError, match=rf"{name} got images of shape \(9, 11, 3\); expected \[batch"):
        function(images[0], seeds)
    with pytest.raises(TypeError, match="seeds is of int32"):
        function(images, tf.cast(seeds, tf.int32))
    with pytest.raises(TypeError, match=r"salt is 0\.5"):
        function(images, seeds, salt=0.5)
