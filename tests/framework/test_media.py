import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image as Pillow

from framework.media import Image, exif_orientation

RNG = np.random.default_rng(0)


def smooth(height, width, channels=3):
    """An image without detail, so that every sensible way of resizing it makes nearly the same."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    planes = [255 * y, 255 * x, 127.5 * (x + y)]
    return np.stack(planes, -1)[..., :channels].astype(np.uint8)


def encoded(image, kind="PNG", **options):
    file = io.BytesIO()
    Pillow.fromarray(image.squeeze()).save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "JPEG", "WEBP"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_format_becomes_the_same_pixels(kind, channels):
    image = smooth(40, 60)
    options = {"quality": 100} if kind in ("JPEG", "WEBP") else {}
    got = Image((40, 60, channels)).decode(tf.constant(encoded(image, kind, **options))).numpy()
    expected = image if channels == 3 else np.asarray(Pillow.fromarray(image).convert("L"))[..., None]
    assert got.shape == (40, 60, channels)
    assert got.dtype == np.uint8
    # GIF has 256 colours, JPEG and WebP are lossy.
    assert np.abs(got.astype(int) - expected).mean() < (0.6 if kind in ("PNG", "BMP") else 4)


# Lossless, of an encoder that isn't among what the tests need: 40 y, 40 x, 20 (x + y).
JPEG_XL = bytes.fromhex(
    "ff0a184010090804010094014b18938e838319481c2cd14382a1ba510000689955d3f9bf405c00055ec00be60978c13c012f9827e005f304bc80"
    "2ff085fb0bf3047ce1fe81bc80ff005ec0ff102fe0052bd82fac837cb05f3817f0c1fd011fbc13f0011fdcf5550821bc45000049020030"
)


def test_jpeg_xl():
    y, x = np.mgrid[:4, :6]
    feature = Image((4, 6, 3))
    np.testing.assert_array_equal(feature.decode(tf.constant(JPEG_XL)), np.stack([40 * y, 40 * x, 20 * (x + y)], -1))
    assert feature.foreign(JPEG_XL) is None
    with pytest.raises(tf.errors.InvalidArgumentError):
        feature.decode(tf.constant(JPEG_XL[:60]))


def test_an_image_of_the_right_size_is_kept_to_the_bit():
    image = RNG.integers(0, 256, (16, 24, 3), np.uint8)
    feature = Image((16, 24, 3))
    np.testing.assert_array_equal(feature.decode(tf.constant(encoded(image))), image)
    np.testing.assert_array_equal(feature.from_served(tf.constant(image[None]))[0], image)


@pytest.mark.parametrize("size", [(40, 60), (90, 130), (170, 250), (330, 500), (700, 1000)])
def test_a_large_jpeg_is_shrunk_by_its_decoder_and_looks_the_same(size):
    got = Image((40, 60, 3)).decode(tf.constant(encoded(smooth(*size), "JPEG", quality=95))).numpy()
    assert np.abs(got.astype(int) - smooth(40, 60)).max() <= 8


@pytest.mark.parametrize("aspect", ["stretch", "crop", "pad"])
def test_shrinking_by_much_is_antialiased(aspect):
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255  # whose mean is grey, and whose every second pixel isn't
    got = Image((8, 8, 3), aspect=aspect).decode(tf.constant(encoded(stripes))).numpy()
    assert np.abs(got.astype(int) - 127).max() < 20


@pytest.mark.parametrize(
    ("aspect", "left", "middle"), [("stretch", "red", "red"), ("crop", "green", "green"), ("pad", "black", "green")]
)
def test_other_proportions(aspect, left, middle):
    colours = {"red": (255, 0, 0), "green": (0, 255, 0), "black": (0, 0, 0)}
    tall = np.zeros((30, 10, 3), np.uint8)
    tall[:] = colours["red"]
    tall[10:20] = colours["green"]
    got = Image((20, 20, 3), aspect=aspect).decode(tf.constant(encoded(tall))).numpy()
    assert tuple(got[2 if aspect != "pad" else 10, 1]) == colours[left]
    assert tuple(got[2 if aspect == "stretch" else 10, 10]) == colours[middle]


def test_padding_begins_where_the_image_ends():
    white = [np.full((side, side, 3), 255, np.uint8) for side in range(301, 450)]
    feature = Image((224, 224, 3), aspect="pad")
    assert all((feature.from_served(tf.constant(image[None])).numpy() == 255).all() for image in white)
    wide = feature.decode(tf.constant(encoded(np.full((300, 600, 3), 255, np.uint8)))).numpy()
    assert (wide[56:168] == 255).all()
    assert (wide[:56] == 0).all()
    assert (wide[168:] == 0).all()


@pytest.mark.parametrize("aspect", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("size", [(1, 600), (600, 1), (2, 3000)])
def test_a_very_long_image_is_an_image(aspect, size):
    image = np.full((*size, 3), 200, np.uint8)
    assert Image((224, 224, 3), aspect=aspect).decode(tf.constant(encoded(image))).numpy().max() == 200


def test_pixels_and_their_file_become_the_same():
    image = RNG.integers(0, 256, (50, 70, 3), np.uint8)
    for aspect in ("stretch", "crop", "pad"):
        feature = Image((16, 16, 3), aspect=aspect)
        np.testing.assert_array_equal(
            feature.decode(tf.constant(encoded(image))), feature.from_served(tf.constant(image[None]))[0]
        )


@pytest.mark.parametrize("data", [b"", b"junk", encoded(smooth(20, 20), "JPEG")[:200], encoded(smooth(20, 20))[:60]])
def test_what_is_no_image_is_an_error(data):
    with pytest.raises(tf.errors.InvalidArgumentError):
        Image((8, 8, 3)).decode(tf.constant(data))


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (encoded(smooth(9, 9), "WEBP"), None),
        (encoded(smooth(9, 9), "JPEG")[:200], None),
        (encoded(smooth(9, 9), "TIFF"), "image of another format"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "image of another format"),
        (b"once BM GIF8 II*\0", "not an image"),
        (b"", "not an image"),
    ],
)
def test_what_is_no_image_is_told_from_a_broken_one(data, told):
    assert Image((8, 8, 3)).foreign(data) == told


@pytest.mark.parametrize("byte_order", ["<", ">"])
@pytest.mark.parametrize("orientation", [None, 1, 6, 8, 9])
def test_the_orientation_of_a_photograph(orientation, byte_order):
    exif = Pillow.Exif()
    exif.endian = byte_order
    exif[0x010F] = "a camera"
    if orientation:
        exif[0x0112] = orientation
    data = encoded(smooth(20, 30), "JPEG", exif=exif)
    assert exif_orientation(data[:1024]) == (orientation if orientation in (6, 8) else 1)
    for end in range(60):  # whatever is cut off
        assert exif_orientation(data[:end]) in (1, orientation)
    assert exif_orientation(encoded(smooth(20, 30), "JPEG")) == 1


def test_its_forms():
    feature = Image((8, 9, 1))
    assert (feature.shape, feature.dtype, feature.is_encoded) == ((8, 9, 1), "uint8", True)
    assert (feature.stored.shape, feature.stored.dtype) == ((), "string")
    assert (feature.served.shape, feature.served.dtype) == ((None, None, 1), "uint8")
    assert feature == Image((8, 9, 1))
    assert feature != Image((8, 9, 1), aspect="crop")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shape": (8, 8)}, r"Image shape is \(height, width, channels\).*Got \(8, 8\)"),
        ({"shape": (None, 8, 3)}, "of one size|Image shape"),
        ({"shape": (8, 8, 2)}, "1 or 3 channels"),
        ({"dtype": "float32"}, "An Image is uint8 when decoded, got dtype 'float32'"),
        ({"aspect": "fill"}, "aspect must be one of 'stretch', 'crop', 'pad', got 'fill'"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        Image(**arguments)
