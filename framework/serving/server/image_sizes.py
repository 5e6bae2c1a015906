"""How large images are, read from their headers: a few hundred bytes can ask a decoder for gigabytes.

BMP isn't among them, for TensorFlow checks its header against its length.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

import tensorflow as tf
from google.protobuf import message

Size = tuple[int, int]  # width, height
_SMALLEST = 20  # bytes of a file with an image in it
# Of JPEG: start-of-frame markers (C4, C8 and CC among them are something else), and those without a length.
_FRAMES = {marker for marker in range(0xC0, 0xD0) if marker not in (0xC4, 0xC8, 0xCC)}
_STANDALONE = {0x01, *range(0xD0, 0xD9)}
_JXL_BITS = (9, 13, 18, 30)
_JXL_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))


def num_pixels(value: bytes) -> int:
    """The number of pixels of the image that `value` is, or of the largest one in the `tf.Example` that it is.

    0 where there is none, or none with a whole header: a decoder refuses that.
    """
    return max((width * height for width, height in map(_size, _images(value))), default=0)


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


def _size(value: bytes) -> Size:
    reader = _reader(value)
    try:
        return reader(value) if reader is not None else (0, 0)
    except (struct.error, IndexError):  # it ends too early
        return 0, 0


def _reader(value: bytes) -> Callable[[bytes], Size] | None:
    return next((read for beginning, read in _READERS.items() if value.startswith(beginning)), None)


def _jpeg(value: bytes) -> Size:
    place = 2
    while True:
        if value[place] != 0xFF:
            return 0, 0
        marker = value[place + 1]
        if marker in _FRAMES:
            height, width = struct.unpack_from(">HH", value, place + 5)
            return width, height
        if marker == 0xFF:  # padding
            place += 1
        elif marker in _STANDALONE:
            place += 2
        else:
            place += 2 + max(struct.unpack_from(">H", value, place + 2)[0], 1)


def _png(value: bytes) -> Size:
    width, height = struct.unpack_from(">II", value, 16)
    return width, height


def _gif(value: bytes) -> Size:
    width, height = struct.unpack_from("<HH", value, 6)
    return width, height


def _webp(value: bytes) -> Size:
    kind = value[12:16]
    if kind == b"VP8X":
        return int.from_bytes(value[24:27], "little") + 1, int.from_bytes(value[27:30], "little") + 1
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", value, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", value, 26)
    return width & 0x3FFF, height & 0x3FFF


def _jpeg_xl_container(value: bytes) -> Size:
    stream = value.find(b"\xff\x0a")
    return _jpeg_xl(value[stream : stream + 20]) if stream >= 0 else (0, 0)


def _jpeg_xl(value: bytes) -> Size:
    bits, place = int.from_bytes(value[2:20], "little"), 0

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
        return length(is_small), height
    numerator, denominator = _JXL_RATIOS[ratio - 1]
    return height * numerator // denominator, height


_READERS: dict[bytes, Callable[[bytes], Size]] = {
    b"\xff\xd8\xff": _jpeg,
    b"\x89PNG\r\n\x1a\n": _png,
    b"GIF8": _gif,
    b"RIFF": _webp,
    b"\x00\x00\x00\x0cJXL ": _jpeg_xl_container,
    b"\xff\x0a": _jpeg_xl,
}
