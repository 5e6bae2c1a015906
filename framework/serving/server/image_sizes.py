"""How large images are, read from their headers: a few hundred bytes can ask a decoder for gigabytes.

What a decoder skips is skipped here, too, or it could hide the header: stray bytes in a JPEG, unknown chunks of a PNG,
the boxes around JPEG XL. So that this doesn't take much longer than to read the request did, files in more pieces than
writers make are refused. BMP isn't among them, for TensorFlow checks its header against its length.
"""

from __future__ import annotations

import itertools
import re
import struct
from collections.abc import Callable, Iterator, Sequence

from framework.media import image_kind

_SMALLEST = 20  # bytes of a file with an image in it
# The files of a request may be in so many pieces, and one more for each so many bytes: writers fill JPEG's segments of
# up to 64 kB, and GIF's blocks of up to 255 bytes.
_PIECES, _SMALL_PIECE = 20_000, 32
_BEGINNING = re.compile(rb"\xff\xd8\xff|\x89PNG|GIF8|RIFF|\xff\x0a|JXL ")
# Fields of a proto that have no room for an image: varints, eight bytes, four, and less than an image has. Possessive
# (++), or each of millions would be remembered.
_KINDS_OF_FIELDS = (
    (0, rb"[\x80-\xff]{0,9}[\0-\x7f]"),
    (1, rb".{8}"),
    (5, rb".{4}"),
    (2, b"(?:%b)" % b"|".join(re.escape(bytes([size])) + b".{%d}" % size for size in range(_SMALLEST))),
)
_NO_ROOM = re.compile(
    b"(?:%b)++"
    % b"|".join(b"[%b]" % re.escape(bytes(range(8 + kind, 128, 8))) + content for kind, content in _KINDS_OF_FIELDS),
    re.DOTALL,
)
_MOST_VARINT, _DEEPEST_GROUP = 10, 100  # bytes; more than these and protobuf gives up
# Numbers of the fields around an image: features or context, feature, its value, bytes_list, value; and feature_lists,
# feature_list, its value, feature, bytes_list, value.
_PATHS = ((1, 1, 2, 1, 1), (2, 1, 2, 1, 1, 1))
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


def num_pixels(values: Sequence[bytes]) -> Iterator[int]:
    """The number of pixels of each image among `values`, and of each in a `tf.Example` or `SequenceExample` among them.

    0 where no whole header is found: a decoder refuses that. Of an animated GIF all frames count, for its decoder has
    all of them in memory at once.

    Args:
        values: All that a request has; to look through them is limited in sum.

    Raises:
        ValueError: They are in so many pieces that looking for their headers would keep others waiting.
    """
    pieces = _pieces(sum(map(len, values)))
    for image in itertools.chain.from_iterable(_images(value, pieces) for value in values):
        reader = _reader(image)
        try:
            yield reader(image, pieces) if reader is not None else 0
        except (struct.error, IndexError):  # it ends too early
            yield 0


def _pieces(size: int) -> Iterator[None]:
    """Goes round as often as files of so many bytes together may have segments, chunks, blocks, boxes and fields."""
    yield from itertools.repeat(None, _PIECES + size // _SMALL_PIECE)
    raise ValueError(
        f"Images are in too many pieces to find their sizes, of less than {_SMALL_PIECE} bytes. Encode them anew, or "
        "send several requests."
    )


def _reader(value: bytes) -> Callable[[bytes, Iterator[None]], int] | None:
    return _READERS.get(image_kind(value[:16]) or "")


def _images(value: bytes, pieces: Iterator[None]) -> Iterator[bytes]:
    if len(value) < _SMALLEST:
        return
    if _reader(value) is not None:
        yield value
    elif _BEGINNING.search(value):
        for path in _PATHS:
            yield from _within(value, 0, len(value), path, pieces)


def _within(value: bytes, place: int, end: int, path: Sequence[int], pieces: Iterator[None]) -> Iterator[bytes]:
    """What lies at the end of a path of fields in a serialized message, `value[place:end]`.

    Not by protobuf's own classes: they make an object of each empty field of two bytes, and take minutes for megabytes
    of them.
    """
    if not path:
        yield value[place:end]
        return
    groups = 0
    while place < end:
        if passed := _NO_ROOM.match(value, place, end):
            place = passed.end()
            continue
        next(pieces)
        try:
            tag, place = _varint(value, place)
            number, kind = (tag & 0xFFFFFFFF) >> 3, tag & 7
            size, content = _varint(value, place) if kind in (0, 2) else ({1: 8, 5: 4}.get(kind, 0), place)
        except IndexError:
            return
        place = content if kind == 0 else content + size
        groups += {3: 1, 4: -1}.get(kind, 0)  # whose fields are taken for those of the message
        if number == 0 or kind > 5 or place > end or not 0 <= groups <= _DEEPEST_GROUP:
            return  # as whoever parses it gives up
        if kind == 2 and number == path[0]:
            yield from _within(value, content, place, path[1:], pieces)


def _varint(value: bytes, place: int) -> tuple[int, int]:
    """A number of seven bits a byte, and where it ends.

    Raises:
        IndexError: It doesn't end.
    """
    number = 0
    for index in range(_MOST_VARINT):
        byte = value[place + index]
        number |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return number, place + index + 1
    raise IndexError


def _jpeg(value: bytes, pieces: Iterator[None]) -> int:
    place = 2
    for _ in pieces:
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


def _png(value: bytes, pieces: Iterator[None]) -> int:
    place = 8
    for _ in pieces:
        if value[place + 4 : place + 8] == b"IHDR":
            break
        place += 12 + struct.unpack_from(">I", value, place)[0]
    width, height = struct.unpack_from(">II", value, place + 8)
    return width * height


def _gif(value: bytes, pieces: Iterator[None]) -> int:
    frames, width, height = 0, 0, 0
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


def _webp(value: bytes, pieces: Iterator[None]) -> int:
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


def _jpeg_xl(value: bytes, pieces: Iterator[None]) -> int:
    return _jpeg_xl_codestream(value if value.startswith(_JXL_CODESTREAM) else _jpeg_xl_beginning(value, pieces))


def _jpeg_xl_beginning(value: bytes, pieces: Iterator[None]) -> bytes:
    """The first bytes of the codestream in a container."""
    stream, place = b"", _JXL_SIGNATURE
    for _ in pieces:
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


_READERS: dict[str, Callable[[bytes, Iterator[None]], int]] = {
    "JPEG": _jpeg,
    "PNG": _png,
    "GIF": _gif,
    "WebP": _webp,
    "JPEG XL": _jpeg_xl,
}
