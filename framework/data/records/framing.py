"""The TFRecord format: each record between its length and a checksum of its bytes.

    uint64 length | uint32 masked CRC-32C of the length | the record | uint32 masked CRC-32C of the record

All numbers are little-endian. See TensorFlow's `tsl/lib/io/record_writer.h`; nothing else is in such a file.
"""

from __future__ import annotations

import functools
import gzip
import io
import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import IO, Any, NamedTuple

import google_crc32c
import numpy as np
import tensorflow as tf

from framework.data.bad_examples import BadExampleError

HEADER_BYTES = 12
FOOTER_BYTES = 4
# A tf.Example, as any protocol buffer, has less than 2 GiB. A longer record is a damaged length.
MAX_RECORD_BYTES = 2**31 - 1
# A length isn't believed: no more than this is asked of a file at once.
_PIECE = 1 << 24
_MASK_DELTA = 0xA282EAD8


class CorruptRecordError(BadExampleError):
    """Bytes that are no record, or not the record that was written.

    Args:
        file: Where they lie.
        offset: Of the record's first byte, in the file as it is when uncompressed.
        reason: What was got and what was expected.

    Attributes:
        file: As given.
        offset: As given.
        reason: As given.
    """

    def __init__(self, file: str, offset: int, reason: str):
        super().__init__(f"{place(file, offset)}: corrupt record: {reason}")
        self.file = file
        self.offset = offset
        self.reason = reason


def place(file: str, offset: int) -> str:
    """Where a record lies, for messages."""
    return f"{file}, offset {offset}"


def is_local(path: str) -> bool:
    """Whether a path is one of this machine's file system, and not of a scheme such as `gs://`."""
    return "://" not in path


def is_gzip(path: str) -> bool:
    """Whether a file's name says that it is compressed."""
    return path.endswith((".gz", ".gzip"))


class Stamp(NamedTuple):
    """By what a file is known to be unchanged: its size, and the time of its last change in nanoseconds."""

    size: int
    changed: int


def stamp(path: str) -> Stamp:
    """The stamp of a file, local or not.

    Raises:
        FileNotFoundError: There is none.
    """
    if is_local(path):
        status = os.stat(path)
        return Stamp(status.st_size, status.st_mtime_ns)
    try:
        remote = tf.io.gfile.stat(path)
    except tf.errors.NotFoundError as error:
        raise FileNotFoundError(f"There is no file {path}.") from error
    return Stamp(remote.length, remote.mtime_nsec)


def masked_crc(data: bytes) -> int:
    """The checksum of `data` as the format stores it."""
    return _masked(google_crc32c.value(data))


def masked_crcs(records: Iterable[bytes], count: int) -> np.ndarray:
    """`masked_crc` of each of `count` records, uint32 `[count]`."""
    crcs = np.fromiter(map(google_crc32c.value, records), np.uint32, count)
    return ((crcs >> np.uint32(15)) | (crcs << np.uint32(17))) + np.uint32(_MASK_DELTA)


def _masked(crc: int) -> int:
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def frame(record: bytes, crc: int) -> bytes:
    """A record as it lies in a file.

    Args:
        record: At most `MAX_RECORD_BYTES`.
        crc: Its `masked_crc`.
    """
    length = struct.pack("<Q", len(record))
    return b"".join((length, struct.pack("<I", masked_crc(length)), record, struct.pack("<I", crc)))


@functools.lru_cache(maxsize=1 << 16)  # records of a data set often have the same few lengths
def record_length(header: bytes) -> int:
    """The length that a record's 12 bytes of header state.

    Raises:
        ValueError: It isn't a header.
    """
    length, crc = struct.unpack("<QI", header)
    if masked_crc(header[:8]) != crc:
        hint = "; it looks like a gzip file: name it .gz" if header[:2] == b"\x1f\x8b" else ""
        raise ValueError(f"its length has another checksum{hint}")
    if length > MAX_RECORD_BYTES:
        raise ValueError(f"a length of {length} bytes, expected at most {MAX_RECORD_BYTES}")
    return length


def read_records(path: str, name: str | None = None) -> Iterator[tuple[int, bytes, str | None]]:
    """Reads a file from its beginning, local or not, compressed or not.

    Args:
        path: Of the file; see `is_gzip`.
        name: What it is called in messages; by default its path.

    Yields:
        `(offset, record, fault)`: `fault` says what is wrong where the record doesn't match its checksum, or is `None`.

    Raises:
        CorruptRecordError: What follows can't be found: a length is damaged, or the file ends within a record.
    """
    name = name or path
    offset = 0
    with open_file(path) as file:
        while True:
            try:
                header = _read(file, HEADER_BYTES)
                if not header:
                    return
                if len(header) < HEADER_BYTES:
                    raise ValueError(f"the file ends after {len(header)} bytes of its header")
                length = record_length(header)
                body = _read(file, length + FOOTER_BYTES)
                if len(body) < length + FOOTER_BYTES:
                    raise ValueError(f"the file ends {length + FOOTER_BYTES - len(body)} bytes before it does")
            except (ValueError, OSError, EOFError, zlib.error, tf.errors.OpError) as error:
                raise CorruptRecordError(name, offset, str(error)) from error
            record, (crc,) = body[:length], struct.unpack("<I", body[length:])
            matches = masked_crc(record) == crc
            yield offset, record, None if matches else "its bytes have another checksum"
            offset += HEADER_BYTES + length + FOOTER_BYTES


def open_file(path: str, *, as_it_is: bool = False) -> IO[bytes]:
    """A file opened for reading, uncompressed on the way unless it is wanted as it is.

    Raises:
        FileNotFoundError: There is none.
    """
    if not is_local(path):
        stamp(path)  # TensorFlow says that there is no such file when it is read, not when it is opened
    raw: Any = open(path, "rb") if is_local(path) else tf.io.gfile.GFile(path, "rb")  # noqa: SIM115  for whoever reads it
    if as_it_is or not is_gzip(path):
        return raw
    return io.BufferedReader(_Gunzipped(raw), 1 << 18)  # GzipFile reads in Python, so rarely


class _Gunzipped(gzip.GzipFile):
    """A gzip file that closes what it reads from."""

    def __init__(self, file: Any):
        super().__init__(fileobj=file)
        self._file = file

    def close(self) -> None:
        super().close()
        self._file.close()


def _read(file: IO[bytes], count: int) -> bytes:
    """`count` bytes, or fewer at the end of the file; memory grows only with what is there."""
    if count <= _PIECE:
        return file.read(count)
    pieces = []
    while count > 0 and (piece := file.read(min(count, _PIECE))):
        pieces.append(piece)
        count -= len(piece)
    return b"".join(pieces)
