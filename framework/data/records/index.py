"""How many records a file has and where each begins, so that any of them can be read at any time.

An index is made by one pass, over the headers alone where a file is local and uncompressed. It is kept in `.index/`
beside the file, or in the user's cache where that can't be written to, and is used as long as the file has the size and
the time of last change that it had.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import pathlib
import struct

import numpy as np

from framework import files
from framework.data.records.framing import (
    FOOTER_BYTES,
    HEADER_BYTES,
    CorruptRecordError,
    Stamp,
    is_gzip,
    is_local,
    masked_crc,
    read_records,
    record_length,
    stamp,
)

_MAGIC = b"keras-shipyard index 1\n"
_DIGEST_BYTES = 16
_HEAD = struct.Struct("<QQQ")  # a file's size and time of last change, and its number of records
# Of a pass over the headers: many small records come with one read, large ones are passed over.
_BLOCK = 1 << 16
_FOOTER_AND_HEADER = FOOTER_BYTES + HEADER_BYTES


@dataclasses.dataclass(frozen=True)
class Index:
    """The records of one file.

    Attributes:
        lengths: Bytes of each record, uint32 `[records]`.
        crcs: Their masked checksums, uint32 `[records]`.
    """

    lengths: np.ndarray
    crcs: np.ndarray

    @property
    def offsets(self) -> np.ndarray:
        """Of each record's header, int64 `[records]`."""
        ends = np.cumsum(self.lengths.astype(np.int64) + (HEADER_BYTES + FOOTER_BYTES))
        return np.concatenate([np.zeros(1, np.int64), ends[:-1]]) if len(ends) else ends

    @property
    def digest(self) -> str:
        """Changes when a record does."""
        return _digest(self.lengths.tobytes() + self.crcs.tobytes()).hex()


def load_index(path: str | os.PathLike[str], name: str | None = None) -> Index:
    """The index of a file: the one that is kept where it still fits, otherwise a new one, which is kept.

    Args:
        path: Local or not, compressed or not.
        name: What it is called in messages; by default its path.

    Raises:
        CorruptRecordError: See `make_index`.
    """
    return _whole(*readable_index(path, name))


def readable_index(path: str | os.PathLike[str], name: str | None = None) -> tuple[Index, CorruptRecordError | None]:
    """As `load_index`; of a file that is broken the records before that place, and what is wrong there."""
    path = os.fspath(path)
    before = stamp(path)
    for place in places(path):
        index = _unpack(place, before)
        if index is not None:
            return index, None
    index, broken = _look_for_records(path, name or path)
    if broken is None:
        keep_index(path, index, before)
    return index, broken


def make_index(path: str | os.PathLike[str], name: str | None = None) -> Index:
    """Looks for all records of a file.

    Raises:
        CorruptRecordError: A length is damaged, or the file ends within a record. What is in the records isn't looked
            at here.
    """
    path = os.fspath(path)
    return _whole(*_look_for_records(path, name or path))


def _whole(index: Index, broken: CorruptRecordError | None) -> Index:
    if broken is not None:
        raise broken
    return index


def _look_for_records(path: str, name: str) -> tuple[Index, CorruptRecordError | None]:
    if is_local(path) and not is_gzip(path):
        return _from_headers(path, name)
    records, broken = [], None
    try:
        for _, record, _ in read_records(path, name):
            records.append((len(record), masked_crc(record)))
    except CorruptRecordError as error:
        broken = error
    lengths, crcs = np.array(records, "<u4").reshape(-1, 2).T
    return Index(np.ascontiguousarray(lengths), np.ascontiguousarray(crcs)), broken


def _from_headers(path: str, name: str) -> tuple[Index, CorruptRecordError | None]:
    broken = None
    with open(path, "rb", buffering=0) as file:
        descriptor, size = file.fileno(), os.fstat(file.fileno()).st_size
        lengths, crcs = bytearray(), bytearray()
        offset, block, start = 0, b"", 0
        header = os.pread(descriptor, HEADER_BYTES, 0)
        while offset < size:
            try:
                if len(header) < HEADER_BYTES:
                    raise ValueError(f"the file ends after {len(header)} bytes of its header")
                length = record_length(header)
                footer = offset + HEADER_BYTES + length
                if footer + FOOTER_BYTES > size:
                    raise ValueError(f"the file ends {footer + FOOTER_BYTES - size} bytes before it does")
            except ValueError as error:
                broken = CorruptRecordError(name, offset, str(error))
                break
            at = footer - start
            if at + _FOOTER_AND_HEADER > len(block):
                block, start, at = os.pread(descriptor, _BLOCK, footer), footer, 0
            lengths += length.to_bytes(4, "little")
            crcs += block[at : at + FOOTER_BYTES]
            header = block[at + FOOTER_BYTES : at + _FOOTER_AND_HEADER]
            offset = footer + FOOTER_BYTES
    return Index(np.frombuffer(lengths, "<u4"), np.frombuffer(crcs, "<u4")), broken


def keep_index(path: str | os.PathLike[str], index: Index, known_by: Stamp | None = None) -> None:
    """Keeps the index of a file, where that is possible.

    Args:
        path: The file.
        index: What is in it.
        known_by: The file's stamp when the index was made; by default that of now.
    """
    path = os.fspath(path)
    head = _HEAD.pack(*(known_by or stamp(path)), len(index.lengths))
    body = head + index.lengths.tobytes() + index.crcs.tobytes()
    for place in places(path):
        with contextlib.suppress(OSError):  # read-only or full, here or there: then it is made again next time
            place.parent.mkdir(parents=True, exist_ok=True)
            with files.replacing(place) as temporary:
                temporary.write_bytes(_MAGIC + _digest(body) + body)
            return


def _unpack(place: pathlib.Path, known_by: Stamp) -> Index | None:
    """The index kept at a place, if it is that of a file with this stamp."""
    try:
        kept = place.read_bytes()
    except OSError:
        return None
    digest, body = kept[len(_MAGIC) :][:_DIGEST_BYTES], kept[len(_MAGIC) + _DIGEST_BYTES :]
    if not kept.startswith(_MAGIC) or digest != _digest(body):
        return None
    *found, count = _HEAD.unpack_from(body)
    if tuple(found) != known_by:
        return None
    arrays = np.frombuffer(body, "<u4", 2 * count, _HEAD.size)
    return Index(arrays[:count], arrays[count:])


def places(path: str) -> list[pathlib.Path]:
    """Where the index of a file may be kept, the best first."""
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    if not is_local(path):
        return [cache / "keras-shipyard" / "index" / _digest(path.encode()).hex()]
    folder, name = os.path.split(os.path.abspath(path))
    # In a folder of its own: a pattern such as train* mustn't take it for data.
    beside = pathlib.Path(folder, ".index", name)
    return [beside, cache / "keras-shipyard" / "index" / _digest(os.path.join(folder, name).encode()).hex()]


def _digest(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_DIGEST_BYTES).digest()
