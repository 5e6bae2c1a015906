import numpy as np
import pytest
import tensorflow as tf

from framework.data import augment, random
from framework.data.augment.affine import Motion
from framework.data.augment.decoded_crop import decode_random_crop
from framework.data.augment.image_augmentation import ImageAugmentation
from framework.data.augment.single_warp import SingleWarp
from framework.media import Image, decode_image, resize

IMAGE = Image((24, 32, 3))
PIXELS = np.random.default_rng(0).integers(0, 256, (6, 30, 50, 3), np.uint8)
ENCODED = [tf.io.encode_jpeg(pixels) for pixels in PIXELS]
SEEDS = random.example_seeds(3, 1, tf.range(6))
MOVES = {"rotation": 20.0, "zoom": 0.2, "shift": 0.1}
COLORS = {"brightness": 0.3, "contrast": 0.3, "saturation": 0.3}


def augmented(**options):
    augmentation = ImageAugmentation(options.pop("image", IMAGE), **options)
    decoded = [augmentation.decode(encoded, seed) for encoded, seed in zip(ENCODED, SEEDS, strict=True)]
    return augmentation.finish(tf.stack(decoded), SEEDS).numpy()


def decoded(image=IMAGE):
    return tf.stack([image.decode(encoded) for encoded in ENCODED])


def moved(images):
    return augment.random_affine(images, SEEDS, flip_horizontal=True, **MOVES)


def test_nothing_is_asked_for():
    np.testing.assert_array_equal(augmented(), decoded())
    np.testing.assert_array_equal(augmented(warp="opencv"), decoded())


def test_all_by_tensorflow():
    windows = [
        resize(decode_random_crop(encoded, seed, IMAGE.shape, area=(0.5, 1.0))[tf.newaxis], IMAGE.shape)[0]
        for encoded, seed in zip(ENCODED, SEEDS, strict=True)
    ]
    expected = augment.random_color(moved(tf.stack(windows)), SEEDS, **COLORS)
    np.testing.assert_array_equal(augmented(flip=True, crop=0.5, color=0.3, **MOVES), expected)


@pytest.mark.parametrize("crop", [None, 0.5])
def test_all_by_opencv(crop):
    image = Image((24, 32, 3), aspect="pad")
    once = SingleWarp(image if crop is None else IMAGE, Motion((False, True), 0.1, 20.0, 0.2))
    images = [
        once(
            decode_image(encoded, IMAGE.shape)
            if crop is None
            else decode_random_crop(encoded, seed, IMAGE.shape, area=(crop, 1.0)),
            seed,
        )
        for encoded, seed in zip(ENCODED, SEEDS, strict=True)
    ]
    expected = augment.random_color(tf.stack(images), SEEDS, **COLORS)
    got = augmented(image=image, flip=True, crop=crop, color=0.3, warp="opencv", **MOVES)
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("warp", ["tensorflow", "opencv"])
def test_images_that_are_decoded_already(warp):
    augmentation = ImageAugmentation(IMAGE, flip=True, crop=0.5, color=0.3, warp=warp, **MOVES)
    windows = augment.random_resized_crop(decoded(), SEEDS, (24, 32), area=(0.5, 1.0))
    expected = augment.random_color(moved(windows), SEEDS, **COLORS).numpy().astype(int)
    assert abs(augmentation.whole(decoded(), SEEDS).numpy() - expected).max() <= (0 if warp == "tensorflow" else 3)


def test_grey_images_have_no_saturation():
    grey = augmented(image=Image((24, 32, 1)), color=0.5)
    assert grey.shape == (6, 24, 32, 1)
    assert (grey != decoded(Image((24, 32, 1))).numpy()).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rotation": 200.0}, "rotation is 200"),
        ({"crop": 0.0}, r"crop=0\.0; expected a number in \(0, 1\], or None"),
        ({"color": -0.1}, r"color=-0\.1; expected a number in \[0, 1\]"),
        ({"warp": "scipy"}, "warp='scipy'; expected 'tensorflow' or 'opencv'"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ImageAugmentation(IMAGE, **options)
