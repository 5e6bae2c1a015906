"""Records of several files: any of them at any time where files are local and plain, otherwise all of them in turn."""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import itertools
import os
import threading
import weakref
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from framework.data.bad_examples import BadExampleError
from framework.data.records.framing import HEADER_BYTES, CorruptRecordError, masked_crcs, place, read_records
from framework.data.records.index import Index

# A process may often have no more than 1,024 files open.
_OPEN_FILES = 256
# A stream reads so many files in turn, each in a thread of its own, and so many blocks ahead.
_FILES_IN_TURN = 8
_BLOCK_BYTES = 1 << 18
_BLOCK_RECORDS = 128


class Records(NamedTuple):
    """Some records and where they lie.

    Attributes:
        records: Bytes objects `[batch]`.
        shards: Of which file each is, int64 `[batch]`.
        offsets: Where it begins, int64 `[batch]`.
    """

    records: np.ndarray
    shards: np.ndarray
    offsets: np.ndarray


class RandomReader:
    """Reads any records by the files' indexes.

    It reads by `pread`: mapped files would count as the process' own memory, and one that is cut short while it is
    mapped would kill it.

    Args:
        paths: Local, uncompressed files.
        names: What they are called in messages.
        indexes: Of these files.
    """

    def __init__(self, paths: Sequence[str], names: Sequence[str], indexes: Sequence[Index]):
        self.paths, self.names = list(paths), list(names)
        self._ends = np.cumsum([len(index.lengths) for index in indexes])
        self._offsets = np.concatenate([index.offsets for index in indexes])
        self._lengths = np.concatenate([index.lengths for index in indexes])
        self._crcs = np.concatenate([index.crcs for index in indexes])
        self._kept: dict[int, int] = {}
        self._lock = threading.Lock()
        weakref.finalize(self, _close_all, self._kept)

    def read(self, indices: np.ndarray) -> np.ndarray:
        """The records at indices int64 `[batch]`, counted through all files: bytes objects `[batch]`.

        Raises:
            BadExampleError: A record doesn't match its checksum.
        """
        shards, offsets = self.locate(indices)
        lengths, starts = self._lengths[indices].tolist(), (offsets + HEADER_BYTES).tolist()
        kept = self._keep_open(np.unique(shards).tolist())
        records = [
            os.pread(kept[shard], length, start) if shard in kept else self._read_once(shard, length, start)
            for shard, length, start in zip(shards.tolist(), lengths, starts, strict=True)
        ]
        damaged = np.flatnonzero(masked_crcs(records, len(records)) != self._crcs[indices])
        if len(damaged):
            where = place(self.names[shards[damaged[0]]], offsets[damaged[0]])
            raise BadExampleError(f"{where}: corrupt record: its bytes have another checksum")
        return np.array(records, object)

    def locate(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The shards and offsets of the records at indices int64 `[batch]`."""
        return np.searchsorted(self._ends, indices, side="right"), self._offsets[indices]

    def _keep_open(self, shards: Sequence[int]) -> dict[int, int]:
        """Descriptors of as many files as may stay open; none is ever closed while another thread may read."""
        for shard in shards:
            if shard not in self._kept and len(self._kept) < _OPEN_FILES:
                with self._lock:
                    if shard not in self._kept:
                        self._kept[shard] = os.open(self.paths[shard], os.O_RDONLY)
        return self._kept

    def _read_once(self, shard: int, length: int, start: int) -> bytes:
        with open(self.paths[shard], "rb", buffering=0) as file:
            return os.pread(file.fileno(), length, start)


def _close_all(descriptors: dict[int, int]) -> None:
    for descriptor in descriptors.values():
        os.close(descriptor)


@dataclasses.dataclass(frozen=True)
class Turn:
    """Some records of one file, before it is another's turn.

    Attributes:
        shard: The file's number.
        first: The first record's number in that file.
        count: How many.
    """

    shard: int
    first: int
    count: int


def turns(counts: Sequence[int], block: int) -> Iterator[Turn]:
    """The order of a stream over files with so many records each: always the same."""
    waiting = iter(range(len(counts)))
    active = collections.deque((shard, 0) for shard in itertools.islice(waiting, _FILES_IN_TURN))
    while active:
        shard, first = active.popleft()
        count = min(block, counts[shard] - first)
        if count:
            yield Turn(shard, first, count)
            active.append((shard, first + count))
        else:
            active.extend((following, 0) for following in itertools.islice(waiting, 1))


class StreamReader:
    """Reads all records, several files in turn.

    Args:
        paths: Files of any kind: local or not, compressed or not.
        names: What they are called in messages.
        counts: How many records each of them has.
        record_bytes: About how long a record is.
        broken: The numbers of files that have more, which can't be read.

    Attributes:
        block: How many records of a file come before it is another's turn.
    """

    def __init__(
        self,
        paths: Sequence[str],
        names: Sequence[str],
        counts: Sequence[int],
        record_bytes: float,
        broken: Collection[int] = (),
    ):
        self._paths, self._names, self._counts = list(paths), list(names), list(counts)
        self._broken = frozenset(broken)
        self.block = max(1, min(_BLOCK_RECORDS, int(_BLOCK_BYTES / max(record_bytes, 1.0))))

    def turns(self) -> Iterator[Turn]:
        """The order in which `blocks` reads."""
        return turns(self._counts, self.block)

    def blocks(self) -> Iterator[Records]:
        """All records once.

        Raises:
            BadExampleError: A record doesn't match its checksum, or a file has more or fewer records than expected.
        """
        files: dict[int, Iterator[tuple[int, bytes]]] = {}
        threads: dict[int, concurrent.futures.ThreadPoolExecutor] = {}
        ahead: collections.deque[concurrent.futures.Future[Records]] = collections.deque()
        try:
            for turn in self.turns():
                if turn.first == 0:
                    files[turn.shard] = self._checked(turn.shard)
                    # One thread for each file: its blocks come one after the other.
                    threads[turn.shard] = concurrent.futures.ThreadPoolExecutor(1)
                is_last = turn.first + turn.count == self._counts[turn.shard]
                ahead.append(threads[turn.shard].submit(_take, files[turn.shard], turn, is_last))
                if is_last:
                    threads.pop(turn.shard).shutdown(wait=False)
                if len(ahead) > _FILES_IN_TURN:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for thread in threads.values():
                thread.shutdown(wait=False, cancel_futures=True)

    def _checked(self, shard: int) -> Iterator[tuple[int, bytes]]:
        name, expected = self._names[shard], self._counts[shard]
        count = 0
        try:
            found = read_records(self._paths[shard], name)
            for offset, record, fault in itertools.islice(found, expected) if shard in self._broken else found:
                count += 1
                if fault or count > expected:
                    fault = fault or f"the file has more than the {expected} it should have"
                    raise CorruptRecordError(name, offset, fault)
                yield offset, record
        except CorruptRecordError as error:
            # By its plain name, by which what comes out of TensorFlow is known again.
            raise BadExampleError(str(error)) from None
        if count < expected:
            raise BadExampleError(f"{name}: corrupt file: it ends after {count} of {expected} records")


def _take(file: Iterator[tuple[int, bytes]], turn: Turn, is_last: bool) -> Records:
    offsets, records = zip(*itertools.islice(file, turn.count), strict=True)
    if is_last:
        next(file, None)  # there should be nothing more, which is an error of its own
    return Records(np.array(records, object), np.full(len(records), turn.shard), np.array(offsets, np.int64))
