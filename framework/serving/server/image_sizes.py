"""How large images are, read from their headers: a few hundred bytes can ask a decoder for gigabytes.

What a decoder skips is skipped here, too, or it could hide the header: stray bytes in a JPEG, unknown chunks of a PNG,
the boxes around JPEG XL. So that this takes no longer than to read the request did, a file in more pieces than writers
make is refused. BMP isn't among them, for TensorFlow checks its header against its length.
"""

from __future__ import annotations

import itertools
import re
import struct
from collections.abc import Callable, Iterator

import tensorflow as tf
from google.protobuf import message

from framework.media import image_kind

_SMALLEST = 20  # bytes of a file with an image in it
# A file may be in so many pieces, and one more for each so many bytes: writers fill JPEG's segments of up to 64 kB, and
# GIF's blocks of up to 255 bytes.
_PIECES, _SMALL_PIECE = 1_000, 32
# Of JPEG: what begins a segment, start-of-frame markers (C4, C8 and CC among them are something else), and those
# without a length.
_MARKER = re.compile(rb"\xff([^\x00\xff])", re.DOTALL)
_FRAMES = {marker for marker in range(0xC0, 0xD0) if marker not in (0xC4, 0xC8, 0xCC)}
_STANDALONE = {0x01, *range(0xD0, 0xD9)}
_GIF_IMAGE, _GIF_EXTENSION = 0x2C, 0x21
_JXL_CODESTREAM = b"\xff\x0a"
_JXL_SIGNATURE = 12  # bytes of the box before the others
_JXL_HEADER = 20  # bytes, at most, of a codestream up to and with its size
_JXL_BITS = (9, 13, 18, 30)
_JXL_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))


def num_pixels(value: bytes) -> int:
    """The number of pixels of the image that `value` is, or of the largest one in the `tf.Example` that it is.

    0 where there is none, or none with a whole header: a decoder refuses that. Of an animated GIF all frames count,
    for its decoder has all of them in memory at once.

    Raises:
        ValueError: The file is in so many pieces that looking for its header would keep others waiting.
    """
    return max(map(_num_pixels, _images(value)), default=0)


def _images(value: bytes) -> Iterator[bytes]:
    if len(value) < _SMALLEST:
        return
    if _reader(value) is not None:
        yield value
        return
    try:  # a tf.Example is a SequenceExample with nothing but a context
        example = tf.train.SequenceExample.FromString(value)
    except message.DecodeError:
        return
    lists = [feature for found in example.feature_lists.feature_list.values() for feature in found.feature]
    for feature in (*example.context.feature.values(), *lists):
        yield from feature.bytes_list.value


def _num_pixels(value: bytes) -> int:
    reader = _reader(value)
    try:
        return reader(value) if reader is not None else 0
    except (struct.error, IndexError):  # it ends too early
        return 0


def _reader(value: bytes) -> Callable[[bytes], int] | None:
    return _READERS.get(image_kind(value[:16]) or "")


def _pieces(value: bytes) -> Iterator[None]:
    """Goes round as often as a file of this length may have segments, chunks, blocks or boxes, and no further."""
    yield from itertools.repeat(None, _PIECES + len(value) // _SMALL_PIECE)
    raise ValueError(
        f"An image of {len(value):,} bytes is in too many pieces, of less than {_SMALL_PIECE} bytes. Encode it anew."
    )


def _jpeg(value: bytes) -> int:
    place = 2
    for _ in _pieces(value):
        marker = _MARKER.search(value, place)
        if marker is None:
            break
        place = marker.end()
        kind = marker[1][0]
        if kind in _FRAMES:
            height, width = struct.unpack_from(">HH", value, place + 3)
            return width * height
        if kind not in _STANDALONE:
            place += struct.unpack_from(">H", value, place)[0]
    return 0


def _png(value: bytes) -> int:
    place = 8
    for _ in _pieces(value):
        if value[place + 4 : place + 8] == b"IHDR":
            break
        place += 12 + struct.unpack_from(">I", value, place)[0]
    width, height = struct.unpack_from(">II", value, place + 8)
    return width * height


def _gif(value: bytes) -> int:
    frames, width, height = 0, 0, 0
    pieces = _pieces(value)
    try:
        place = 13 + _gif_colors(value[10])
        while (kind := value[place]) in (_GIF_IMAGE, _GIF_EXTENSION):
            if kind == _GIF_IMAGE:  # whose size needn't be that of the screen
                frame = struct.unpack_from("<HH", value, place + 5)
                frames, width, height = frames + 1, max(width, frame[0]), max(height, frame[1])
                place += 11 + _gif_colors(value[place + 9])
            else:
                place += 2
            for _ in pieces:
                size = value[place]
                place += 1 + size
                if not size:
                    break
    except (struct.error, IndexError):
        pass  # it ends too early; the frames before are decoded all the same
    return frames * width * height


def _gif_colors(flags: int) -> int:
    """The bytes of a color table."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _webp(value: bytes) -> int:
    kind = value[8:16]
    if kind == b"WEBPVP8X":
        return (int.from_bytes(value[24:27], "little") + 1) * (int.from_bytes(value[27:30], "little") + 1)
    if kind == b"WEBPVP8L":
        (bits,) = struct.unpack_from("<I", value, 21)
        return ((bits & 0x3FFF) + 1) * ((bits >> 14 & 0x3FFF) + 1)
    if kind == b"WEBPVP8 ":
        width, height = struct.unpack_from("<HH", value, 26)
        return (width & 0x3FFF) * (height & 0x3FFF)
    return 0


def _jpeg_xl(value: bytes) -> int:
    return _jpeg_xl_codestream(value if value.startswith(_JXL_CODESTREAM) else _jpeg_xl_beginning(value))


def _jpeg_xl_beginning(value: bytes) -> bytes:
    """The first bytes of the codestream in a container."""
    stream, place = b"", _JXL_SIGNATURE
    for _ in _pieces(value):
        if len(stream) >= _JXL_HEADER or place >= len(value):
            break
        size, kind = struct.unpack_from(">I4s", value, place)
        content = place + 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", value, content)
            content += 8
        end = place + size if size else len(value)
        if kind == b"jxlp":  # a part of the codestream, after its number
            stream += value[content + 4 : min(end, content + 4 + _JXL_HEADER)]
        elif kind == b"jxlc":
            stream += value[content : min(end, content + _JXL_HEADER)]
        place = max(end, content)
    return stream


def _jpeg_xl_codestream(value: bytes) -> int:
    bits, place = int.from_bytes(value[2:_JXL_HEADER], "little"), 0

    def take(count: int) -> int:
        nonlocal place
        place += count
        return bits >> (place - count) & ((1 << count) - 1)

    def length(is_small: int) -> int:
        return 8 * (take(5) + 1) if is_small else take(_JXL_BITS[take(2)]) + 1

    is_small = take(1)
    height = length(is_small)
    ratio = take(3)
    if not ratio:
        return length(is_small) * height
    numerator, denominator = _JXL_RATIOS[ratio - 1]
    return height * numerator // denominator * height


_READERS: dict[str, Callable[[bytes], int]] = {
    "JPEG": _jpeg,
    "PNG": _png,
    "GIF": _gif,
    "WebP": _webp,
    "JPEG XL": _jpeg_xl,
}
