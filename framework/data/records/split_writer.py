"""Writes the files of one split: in several threads, each under its name only when it is whole.

A call that was interrupted goes on where it is made again: files that are whole, and were made of the same data in the
same way, are kept. What is known of a finished file waits in `.parts/` for the sidecar, which comes last.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import gzip
import hashlib
import json
import os
import pathlib
import shutil
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import IO, Any

import filelock
import numpy as np

from framework import files
from framework.data.phases import PHASES
from framework.data.records.feed import Feed
from framework.data.records.framing import frame, is_local, masked_crcs, read_records
from framework.data.records.index import Index, keep_index
from framework.data.records.schema import Schema
from framework.data.records.sidecar import Shard, Sidecar, Split, file_digest
from framework.data.records.summary import Summary
from framework.data.sources import Example

_PARTS = ".parts"
_LOCK = ".lock"
_CHUNK = 64
_MOST_SHARDS = 100_000  # five digits in a name


@dataclasses.dataclass(frozen=True)
class Layout:
    """Into which files a split is written.

    Attributes:
        shards: How many files, of nearly the same number of examples each.
        gzip: Whether they are compressed. Compressed files are read as a stream; encoded images gain nothing by it.
        threads: How many files are written at a time; by default as many as there are processors.
    """

    shards: int = 1
    gzip: bool = False
    threads: int | None = None

    def __post_init__(self):
        if not 1 <= self.shards < _MOST_SHARDS:
            raise ValueError(f"shards must be from 1 to {_MOST_SHARDS - 1}, got {self.shards}.")
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"threads must be at least 1, got {self.threads}.")

    def file_names(self, split: str) -> list[str]:
        """The names of the files of a split, in order."""
        ending = ".tfrecord.gz" if self.gzip else ".tfrecord"
        return [f"{split}-{number:05d}-of-{self.shards:05d}{ending}" for number in range(self.shards)]


class SplitWriter:
    """One call's work on one split.

    Args:
        feed: The examples.
        directory: Of the data set.
        split: The split's name.
        layout: Into which files.
        on_written: Told after each few examples how many they were.

    Raises:
        ValueError: The directory isn't local, or there are fewer examples than files.
    """

    def __init__(
        self,
        feed: Feed,
        directory: str | os.PathLike[str],
        split: str,
        layout: Layout,
        on_written: Callable[[int], Any] | None = None,
    ):
        if not is_local(os.fspath(directory)):
            raise ValueError(f"Records are written to a local directory, which can be copied then; got {directory}.")
        if layout.shards > feed.num_examples:
            raise ValueError(f"{feed.num_examples} examples of {split!r} can't fill {layout.shards} files.")
        self._feed, self._split, self._layout = feed, split, layout
        self._directory = pathlib.Path(directory)
        self._parts = self._directory / _PARTS / split
        self._names = layout.file_names(split)
        made = [feed.schema.describe(), feed.num_examples, feed.fingerprint, self._names]
        self._key = hashlib.blake2b(json.dumps(made).encode(), digest_size=16).hexdigest()
        self._on_written = on_written
        self._reporting = threading.Lock()
        self._stopping = threading.Event()

    def write(self, about: Mapping[str, Any]) -> Sidecar:
        """Writes what isn't there yet; returns the data set with this split.

        Args:
            about: The sidecar's `task` and `made_from`.

        Raises:
            FileExistsError: There are files of another call, or it is another data set.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        # Whoever makes the same call at the same time waits, and then finds everything done.
        with filelock.FileLock(self._directory / _LOCK):
            self._parts.mkdir(parents=True, exist_ok=True)
            sidecar = Sidecar.load(self._directory) if Sidecar.exists(self._directory) else None
            self._merge(sidecar, about, {})  # what couldn't be added in the end is refused now
            split = self._write_split(sidecar.splits.get(self._split) if sidecar else None)
            sidecar = self._merge(sidecar, about, {self._split: split})
            sidecar.save(self._directory)
            shutil.rmtree(self._parts)
            with contextlib.suppress(OSError):  # not empty: an interrupted call for another split
                self._parts.parent.rmdir()
        return sidecar

    def _write_split(self, before: Split | None) -> Split:
        finished = before if before and before.key == self._key else None
        known = dict(enumerate(finished.shards)) if finished else self._known_shards()
        self._refuse_others({self._names[number] for number in known})
        for name in self._names:
            for leftover in self._directory.glob(f"{files.TEMPORARY}{name}-*"):
                leftover.unlink(missing_ok=True)
        with concurrent.futures.ThreadPoolExecutor(self._num_threads()) as pool:
            try:
                shards = tuple(pool.map(lambda number: self._make(number, known.get(number)), range(len(self._names))))
            except BaseException:
                self._stopping.set()
                raise
        if finished:
            return dataclasses.replace(finished, shards=shards)
        summary = sum((Summary.parse(self._read_part(number)["summary"]) for number in range(len(shards))), Summary())
        return Split(shards, summary, self._key, self._feed.schema.weights is not None)

    def _merge(self, sidecar: Sidecar | None, about: Mapping[str, Any], splits: Mapping[str, Split]) -> Sidecar:
        """The data set with these splits added."""
        schema = self._feed.schema
        if sidecar is None:
            sidecar = Sidecar(schema)
        task = about["task"] or sidecar.task
        for what, found, added in (
            ("schema", _unweighted(sidecar.schema), _unweighted(schema)),
            ("task", sidecar.task or task, task),
        ):
            # As JSON keeps them: tuples become lists.
            if json.dumps(found, sort_keys=True) != json.dumps(added, sort_keys=True):
                raise FileExistsError(
                    f"{self._directory} is another data set: its {what} is {found}, that of the examples to be written "
                    f"is {added}. Choose another directory."
                )
        splits = {**sidecar.splits, **splits}
        return dataclasses.replace(
            sidecar,
            schema=sidecar.schema if sidecar.schema.weights else schema,
            task=task,
            splits={name: splits[name] for name in PHASES if name in splits},
            made_from=about["made_from"] or sidecar.made_from,
        )

    def _refuse_others(self, ours: Collection[str]) -> None:
        """Refuses to mix files of this call with files of another one."""
        pattern = f"{self._split}-?????-of-?????.tfrecord*"
        others = sorted(path.name for path in self._directory.glob(pattern) if path.name not in ours)
        if others:
            raise FileExistsError(
                f"{self._directory} has files of {self._split!r} that were made of other data or in another way: "
                f"{', '.join(others[:4])}. Delete them, or choose another directory."
            )

    def _known_shards(self) -> dict[int, Shard]:
        """What an interrupted call like this one has written down."""
        parts = {number: self._read_part(number) for number in range(len(self._names))}
        return {number: Shard(**part["shard"]) for number, part in parts.items() if part.get("key") == self._key}

    def _read_part(self, number: int) -> dict[str, Any]:
        try:
            return files.read_json(self._parts / f"{number}.json")
        except (FileNotFoundError, ValueError):
            return {}

    def _num_threads(self) -> int:
        if not self._feed.random_access:
            return 1
        return min(self._layout.threads or os.cpu_count() or 1, len(self._names))

    def _make(self, number: int, known: Shard | None) -> Shard:
        """Keeps a file that is whole, or writes it."""
        count, shards = self._feed.num_examples, len(self._names)
        span = range(count * number // shards, count * (number + 1) // shards)
        path = self._directory / self._names[number]
        if known is None or not _is_whole(path, known):
            return self._write(number, path, span)
        self._check_ends(path, span)
        self._report(len(span))
        return known

    def _check_ends(self, path: pathlib.Path, span: Sequence[int]) -> None:
        """Checks that a file that is kept begins and ends with the examples that it should have."""
        kept = [record for number, (_, record, _) in enumerate(read_records(str(path))) if number in (0, len(span) - 1)]
        if kept != self._serialize(self._feed.read(sorted({span[0], span[-1]})), span[0]):
            raise FileExistsError(f"{path} holds other examples than those to be written. Choose another directory.")

    def _serialize(self, examples: Iterable[Example], first: int) -> list[bytes]:
        """The records of examples, the first of which has that index."""
        records: list[bytes] = []
        for example in examples:
            try:
                records += self._feed.schema.serialize(example).tolist()
            except ValueError as error:
                raise ValueError(f"Example {first + len(records)} can't be written: {error}") from error
        return records

    def _write(self, number: int, path: pathlib.Path, span: Sequence[int]) -> Shard:
        summary, crcs = Summary(), []
        lengths: list[int] = []
        with files.replacing(path) as temporary:
            with temporary.open("wb") as file, self._compressed(hashed := _Hashed(file)) as output:
                for chunk in _chunks(self._feed.read(span)):
                    if self._stopping.is_set():
                        raise concurrent.futures.CancelledError
                    records = self._serialize(chunk, span[len(lengths)])
                    chunk_crcs = masked_crcs(records, len(records))
                    output.write(b"".join(map(frame, records, chunk_crcs.tolist())))
                    summary += Summary.of(self._feed.schema, chunk)
                    lengths += map(len, records)
                    crcs.append(chunk_crcs)
                    self._report(len(records))
            shard = Shard(path.name, len(lengths), hashed.size, hashed.digest)
            # Before the file has its name: what has a name and isn't written down is somebody else's.
            part = {"key": self._key, "shard": dataclasses.asdict(shard), "summary": summary.describe()}
            files.write_json(self._parts / f"{number}.json", part)
        if not self._layout.gzip:
            keep_index(path, Index(np.array(lengths, "<u4"), np.concatenate(crcs)))
        return shard

    def _compressed(self, file: _Hashed) -> contextlib.AbstractContextManager[Any]:
        if not self._layout.gzip:
            return contextlib.nullcontext(file)
        # Neither time nor name: the same examples make the same bytes.
        return gzip.GzipFile("", "wb", fileobj=file, mtime=0)  # type: ignore[call-overload]

    def _report(self, count: int) -> None:
        if self._on_written:
            with self._reporting:
                self._on_written(count)


class _Hashed:
    """A file with the digest and size of what was written to it."""

    def __init__(self, file: IO[bytes]):
        self._file = file
        self._hash = hashlib.blake2b(digest_size=16)
        self.size = 0

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        self.size += len(data)
        return self._file.write(data)

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()


def _is_whole(path: pathlib.Path, shard: Shard) -> bool:
    return path.is_file() and path.stat().st_size == shard.bytes and file_digest(path) == shard.digest


def _chunks(examples: Iterator[Example]) -> Iterator[list[Example]]:
    """Batches of whatever size put together to some tens of examples."""
    chunk, count = [], 0
    for example in examples:
        chunk.append(example)
        count += len(next(iter(example.features.values())))
        if count >= _CHUNK:
            yield chunk
            chunk, count = [], 0
    if chunk:
        yield chunk


def _unweighted(schema: Schema) -> dict[str, Any]:
    return dataclasses.replace(schema, weights=None).describe()
