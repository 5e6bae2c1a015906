"""Sizes by headers, compared with what encoders wrote."""

import struct
import zlib

import cv2
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import message
from hypothesis import given
from hypothesis import strategies as st

from framework.serving.server import image_sizes
from framework.serving.server.image_sizes import num_pixels

_SHAPES = [(1, 1), (3, 5), (300, 7), (17, 1000)]


def largest(value):
    return max(num_pixels([value]), default=0)


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
    assert largest(encoded) == shape[0] * shape[1]
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
    assert largest(encoded) == 15


def test_a_png_with_a_chunk_before_its_header():
    whole = _ENCODERS["png"](_image(3, 5))
    encoded = whole[:8] + _chunk(b"teSt", struct.pack(">II", 1, 1)) + whole[8:]
    assert tf.io.decode_image(encoded).shape[:2] == (3, 5)
    assert largest(encoded) == 15


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
    assert largest(one) == 9
    two = _gif((2, 2), (_pixels(4), 2, 2), (_pixels(9), 3, 3))
    assert largest(two) == 18
    assert tf.io.decode_image(two).shape == (2, 3, 3, 3)
    assert largest(two[:-10]) == 18  # what is there of a broken one is decoded
    assert largest(b"GIF89a is older than its patent, and text about it is no image") == 0


def test_headers_without_an_encoder():
    extended = b"RIFF\x00\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00" + bytes(4)
    assert largest(extended + (299).to_bytes(3, "little") + (6).to_bytes(3, "little")) == 2100
    assert largest(b"RIFF\xff\xff\x00\x00WAVEfmt " + b"\xff" * 40) == 0


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
    assert largest(stream) == pixels
    container = b"\x00\x00\x00\x0cJXL \r\n\x87\n" + b"\x00\x00\x00\x14free\xff\x0a" + bytes(10)  # no codestream yet
    assert largest(container + b"\x00\x00\x00\x1cjxlc" + stream) == pixels
    assert largest(container + b"\x00\x00\x00\x00jxlc" + stream) == pixels
    long = b"\x00\x00\x00\x01jxlc" + (36).to_bytes(8, "big")
    assert largest(container + long + stream) == pixels
    parts = b"\x00\x00\x00\x0fjxlp\x00\x00\x00\x00" + stream[:3], b"\x00\x00\x00\x1djxlp\x80\x00\x00\x01" + stream[3:]
    assert largest(container + b"".join(parts)) == pixels


def _feature(*values):
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))


def test_images_in_examples():
    """All of them count: a model may take several."""
    png, jpeg = _ENCODERS["png"](_image(30, 40)), _ENCODERS["jpeg"](_image(3, 4))
    images, text = _feature(jpeg, b"", png), _feature(b"no image, but long enough for one")
    number = tf.train.Feature(int64_list=tf.train.Int64List(value=range(100)))
    features = tf.train.Features(feature={"image": images, "text": text, "a long name for a number": number})
    example = tf.train.Example(features=features).SerializeToString()
    assert sorted(num_pixels([example])) == [0, 12, 1200]
    frames = tf.train.FeatureLists(feature_list={"frames": tf.train.FeatureList(feature=[text, number, images])})
    sequence = tf.train.SequenceExample(context=features, feature_lists=frames).SerializeToString()
    assert sorted(num_pixels([sequence])) == [0, 0, 12, 12, 1200, 1200]
    assert sum(num_pixels([example, sequence, jpeg])) == 3 * 1212 + 12


def _field(number, content, kind=2):
    size = len(content)
    return bytes([number << 3 | kind, size & 127 | 128, size >> 7 & 127 | 128, size >> 14]) + content


@pytest.mark.parametrize(
    "unknown",
    [
        b"\x08\x96\x01",
        b"\x09" + bytes(8),
        b"\x0d" + bytes(4),
        b"\xba\x00\x03abc",
        b"\x88\x80\x00\x96\x01",
        b"\x89\x01" + bytes(8),
        b"\x8d\x01" + bytes(4),
        b"\x23\x10\x05\x24",
        _field(7, bytes(25)),
    ],
)
def test_what_parsers_skip_in_a_proto_hides_nothing(unknown):
    """Fields of other numbers or kinds; numbers and lengths in more bytes than they need."""
    png = _ENCODERS["png"](_image(30, 40))
    feature = unknown + _field(1, unknown + _field(1, png))
    example = unknown + _field(1, unknown + _field(1, _field(1, b"image") + _field(2, feature)))
    (parsed,) = tf.train.Example.FromString(example).features.feature["image"].bytes_list.value
    assert parsed == png
    assert largest(example) == 1200


_PNG = _ENCODERS["png"](_image(3, 4))


@given(st.binary(max_size=60), st.integers(0, 80))
def test_any_bytes_in_a_proto(stray, place):
    example = tf.train.Example(features=tf.train.Features(feature={"image": _feature(_PNG)})).SerializeToString()
    mutated = example[:place] + stray + example[place:]
    try:
        found = tf.train.Example.FromString(mutated).features.feature.values()
    except message.DecodeError:
        found = []
    is_there = any(_PNG in feature.bytes_list.value for feature in found)
    assert largest(mutated) >= 12 * is_there


@given(
    st.binary(max_size=60),
    st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF", b"\xff\x0a"]),
)
def test_any_bytes(value, beginning):
    assert largest(beginning + value) >= 0


@pytest.mark.parametrize("kind", _ENCODERS)
def test_files_that_end_early(kind):
    encoded = _ENCODERS[kind](_image(3, 5))
    assert all(largest(encoded[:length]) in (0, 15) for length in range(len(encoded)))


_JPEG_SEGMENT = b"\xff\xe1\x00\x02"
_JPEG_OF_SEGMENTS = b"\xff\xd8" + 900 * _JPEG_SEGMENT
_MANY_PIECES = {
    "segments of a JPEG": (b"\xff\xd8", _JPEG_SEGMENT),
    "markers of a JPEG": (b"\xff\xd8", b"\xff\xd0"),
    "chunks of a PNG": (b"\x89PNG\r\n\x1a\n", bytes(4) + b"teXt" + bytes(4)),
    "blocks of a GIF": (b"GIF89a" + bytes(7) + b"\x21\xfe", b"\x01x"),
    "boxes of a JPEG XL": (b"\x00\x00\x00\x0cJXL \r\n\x87\n", b"\x00\x00\x00\x08Exif"),
    "fields of a proto": (_field(3, _JPEG_OF_SEGMENTS), b"\x0a\x14" + bytes(20)),
}


@pytest.mark.parametrize("kind", _MANY_PIECES)
def test_the_search_for_headers_is_bounded(kind):
    """By pieces of all values together."""
    beginning, piece = _MANY_PIECES[kind]
    assert largest(beginning + 5_000 * piece) <= 1
    with pytest.raises(ValueError, match="in too many pieces to find their sizes, of less than 32 bytes"):
        largest(beginning + 100_000 * piece)
    with pytest.raises(ValueError, match="in too many pieces"):
        list(num_pixels([beginning + 5_000 * piece] * 20))


def test_nothing_is_made_of_empty_fields(monkeypatch):
    """Protobuf's own classes would take minutes."""
    looked_at, varint = [], image_sizes._varint
    monkeypatch.setattr(image_sizes, "_varint", lambda *arguments: looked_at.append(1) or varint(*arguments))
    image = b"\x0a\x14\xff\xd8\xff" + bytes(17)
    for path in [(1, 1, 2, 1), (2, 1, 2)]:
        value = image + b"\x0a\x00" * 100_000
        for number in reversed(path):
            value = _field(number, value)
        assert largest(value) == 0
    assert len(looked_at) < 50


def test_as_much_metadata_as_a_photograph_may_have():
    whole = _ENCODERS["jpeg"](_image(3, 5))
    profile = b"\xff\xe2" + (2 + 65_533).to_bytes(2, "big") + bytes(65_533)
    assert largest(whole[:2] + 300 * profile + whole[2:]) == 15
