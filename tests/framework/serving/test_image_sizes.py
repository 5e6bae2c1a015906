"""Sizes by headers, compared with what encoders wrote."""

import struct
import zlib

import cv2
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from framework.serving.server.image_sizes import num_pixels

_SHAPES = [(1, 1), (3, 5), (300, 7), (17, 1000)]


def _image(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def _webp(quality):
    return lambda image: cv2.imencode(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, quality])[1].tobytes()


_ENCODERS = {
    "jpeg": lambda image: tf.io.encode_jpeg(image).numpy(),
    "progressive": lambda image: tf.io.encode_jpeg(image, progressive=True).numpy(),
    "with metadata": lambda image: tf.io.encode_jpeg(image, xmp_metadata="x" * 5000).numpy(),
    "png": lambda image: tf.io.encode_png(image).numpy(),
    "webp": _webp(80),
    "lossless webp": _webp(101),
}


@pytest.mark.parametrize("shape", _SHAPES)
@pytest.mark.parametrize("kind", _ENCODERS)
def test_sizes(kind, shape):
    encoded = _ENCODERS[kind](_image(*shape))
    assert num_pixels(encoded) == shape[0] * shape[1]
    assert tf.io.decode_image(encoded, expand_animations=False).shape[:2] == shape


def _chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


@pytest.mark.parametrize(
    "skipped", [b"\x00", b"stray bytes", b"\xff\x00", b"\xff\xff\x00\xff", b"\xff\xfe\x00\x06\xff\xc0\x00\x00"]
)
def test_a_jpeg_with_bytes_that_its_decoder_skips(skipped):
    whole = _ENCODERS["jpeg"](_image(3, 5))
    first = 4 + struct.unpack_from(">H", whole, 4)[0]  # after the first segment
    encoded = whole[:first] + skipped + whole[first:]
    assert tf.io.decode_image(encoded).shape[:2] == (3, 5)
    assert num_pixels(encoded) == 15


def test_a_png_with_a_chunk_before_its_header():
    whole = _ENCODERS["png"](_image(3, 5))
    encoded = whole[:8] + _chunk(b"teSt", struct.pack(">II", 1, 1)) + whole[8:]
    assert tf.io.decode_image(encoded).shape[:2] == (3, 5)
    assert num_pixels(encoded) == 15


def _gif(screen, *frames):
    """A GIF of two colors, with tables of its own and an extension for each frame `(pixels by LZW, width, height)`."""
    parts = [b"GIF89a" + struct.pack("<HHBBB", *screen, 0x80, 0, 0) + bytes(6)]
    for pixels, *size in frames:
        parts.append(
            b"\x21\xf9\x04" + bytes(5) + b"\x2c" + struct.pack("<HHHHB", 0, 0, *size, 0x80) + bytes(6) + pixels
        )
    return b"".join(parts) + b";"


def _pixels(count):
    """Zeros by LZW, each after the code that clears its table: 4 and 0, in three bits; 5 ends them."""
    bits = 0
    for place, code in enumerate([4, 0] * count + [5]):
        bits |= code << 3 * place
    coded = bits.to_bytes(-(-(6 * count + 3) // 8), "little")
    return b"\x02" + bytes([len(coded)]) + coded + b"\x00"


def test_frames_of_a_gif():
    """Their size counts, not that of the screen, and all of them are decoded before the first one is answered."""
    one = _gif((1, 1), (_pixels(9), 3, 3))
    assert tf.io.decode_image(one, expand_animations=False).shape == (3, 3, 3)
    assert num_pixels(one) == 9
    two = _gif((2, 2), (_pixels(4), 2, 2), (_pixels(9), 3, 3))
    assert num_pixels(two) == 18
    assert tf.io.decode_image(two).shape == (2, 3, 3, 3)
    assert num_pixels(two[:-10]) == 18  # what is there of a broken one is decoded
    assert num_pixels(b"GIF89a is older than its patent, and text about it is no image") == 0


def test_headers_without_an_encoder():
    extended = b"RIFF\x00\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00" + bytes(4)
    assert num_pixels(extended + (299).to_bytes(3, "little") + (6).to_bytes(3, "little")) == 2100
    assert num_pixels(b"RIFF\xff\xff\x00\x00WAVEfmt " + b"\xff" * 40) == 0


def _jpeg_xl(*fields):
    """A codestream that begins with `(value, bits)`, the lowest bit first."""
    bits, place = 0, 0
    for value, count in fields:
        bits |= value << place
        place += count
    return b"\xff\x0a" + bits.to_bytes(18, "little")


@pytest.mark.parametrize(
    ("fields", "pixels"),
    [
        ([(1, 1), (3, 5), (0, 3), (1, 5)], 32 * 16),
        ([(1, 1), (3, 5), (1, 3)], 32 * 32),
        ([(0, 1), (0, 2), (299, 9), (0, 3), (1, 2), (4095, 13)], 300 * 4096),
        ([(0, 1), (3, 2), (2**20 - 1, 30), (7, 3)], 2**20 * 2**21),
        ([(0, 1), (2, 2), (89_999, 18), (5, 3)], 90_000 * 160_000),
    ],
)
def test_jpeg_xl(fields, pixels):
    """By ISO/IEC 18181-1, SizeHeader: no encoder is at hand."""
    stream = _jpeg_xl(*fields)
    assert num_pixels(stream) == pixels
    container = b"\x00\x00\x00\x0cJXL \r\n\x87\n" + b"\x00\x00\x00\x14free\xff\x0a" + bytes(10)  # no codestream yet
    assert num_pixels(container + b"\x00\x00\x00\x1cjxlc" + stream) == pixels
    assert num_pixels(container + b"\x00\x00\x00\x00jxlc" + stream) == pixels
    long = b"\x00\x00\x00\x01jxlc" + (36).to_bytes(8, "big")
    assert num_pixels(container + long + stream) == pixels
    parts = b"\x00\x00\x00\x0fjxlp\x00\x00\x00\x00" + stream[:3], b"\x00\x00\x00\x1djxlp\x80\x00\x00\x01" + stream[3:]
    assert num_pixels(container + b"".join(parts)) == pixels


def test_images_in_examples():
    png = _ENCODERS["png"](_image(30, 40))
    jpeg = _ENCODERS["jpeg"](_image(3, 4))
    image = tf.train.Feature(bytes_list=tf.train.BytesList(value=[jpeg, png]))
    text = tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"no image, but long enough for one"]))
    example = tf.train.Example(features=tf.train.Features(feature={"image": image, "text": text}))
    assert num_pixels(example.SerializeToString()) == 1200
    frames = tf.train.FeatureLists(feature_list={"frames": tf.train.FeatureList(feature=[text, image])})
    assert num_pixels(tf.train.SequenceExample(feature_lists=frames).SerializeToString()) == 1200


@given(
    st.binary(max_size=60),
    st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF", b"\xff\x0a"]),
)
def test_any_bytes(value, beginning):
    assert num_pixels(beginning + value) >= 0


@pytest.mark.parametrize("kind", _ENCODERS)
def test_files_that_end_early(kind):
    encoded = _ENCODERS[kind](_image(3, 5))
    assert all(num_pixels(encoded[:length]) in (0, 15) for length in range(len(encoded)))


_BEFORE_THE_HEADER = {
    "segments of a JPEG": (b"\xff\xd8", b"\xff\xe1\x00\x02"),
    "markers of a JPEG": (b"\xff\xd8", b"\xff\xd0"),
    "chunks of a PNG": (b"\x89PNG\r\n\x1a\n", bytes(4) + b"teXt" + bytes(4)),
    "blocks of a GIF": (b"GIF89a" + bytes(7) + b"\x21\xfe", b"\x01x"),
    "boxes of a JPEG XL": (b"\x00\x00\x00\x0cJXL \r\n\x87\n", b"\x00\x00\x00\x08Exif"),
}


@pytest.mark.parametrize("kind", _BEFORE_THE_HEADER)
def test_the_search_for_a_header_is_bounded(kind):
    beginning, piece = _BEFORE_THE_HEADER[kind]
    assert num_pixels(beginning + 900 * piece) <= 1
    with pytest.raises(ValueError, match="is in too many pieces, of less than 32 bytes"):
        num_pixels(beginning + 100_000 * piece)


def test_as_much_metadata_as_a_photograph_may_have():
    whole = _ENCODERS["jpeg"](_image(3, 5))
    profile = b"\xff\xe2" + (2 + 65_533).to_bytes(2, "big") + bytes(65_533)
    assert num_pixels(whole[:2] + 300 * profile + whole[2:]) == 15
