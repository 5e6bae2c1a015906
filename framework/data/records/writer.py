"""Writes records: sharded, in several threads, each file under its name only when it is whole.

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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import IO, Any

import filelock
import numpy as np

from framework import files
from framework.data.phases import PHASES, TRAIN, check_phase
from framework.data.pipeline import Pipeline
from framework.data.records.feed import Feed, IterableFeed, SourceFeed
from framework.data.records.framing import frame, is_local, masked_crcs, read_records
from framework.data.records.index import Index, keep_index
from framework.data.records.schema import Schema
from framework.data.records.sidecar import Shard, Sidecar, Split, file_digest
from framework.data.records.summary import Summary
from framework.data.sources import Example, Source
from framework.features import Feature
from framework.tasks.task import Task

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


def write(
    examples: Source | Iterable[Any],
    directory: str | os.PathLike[str],
    *,
    split: str = TRAIN,
    task: Task | None = None,
    layout: Layout | None = None,
    features: Mapping[str, Feature] | None = None,
    labels: Any = None,
    num_examples: int | None = None,
    on_written: Callable[[int], Any] | None = None,
) -> Sidecar:
    """Writes a split of a data set, and `dataset.json`, by which it is read.

    The same call again goes on with one that was interrupted, and changes nothing where all is there.

        records.write(
            [({"image": jpeg, "age": 41.0}, 3), ...],
            "data",
            task=tasks.Classification(10),
            features={"image": framework.Image((224, 224, 3))},
            layout=records.Layout(shards=16),
        )

    Args:
        examples: A source, or single examples `(features, label)` or `(features, label, weight)`.
        directory: Of all splits of the data set; a local one, made if missing.
        split: `"train"`, `"validation"` or `"test"`.
        task: What is predicted.
        layout: Into which files.
        features: `{name: Feature}` of those that can't be told from the data: images, and what varies in length.
        labels: The label's `Feature`, or a dict of them, where it can't be told from the data.
        num_examples: Of an iterable without a length.
        on_written: Told after each few examples how many they were, those of kept files included.

    Returns:
        What the data set now consists of.

    Raises:
        FileExistsError: The directory has files of this split that this call wouldn't make, or another data set.
        ValueError: An example isn't like the others, or there are fewer than files.
    """
    if isinstance(examples, Source):
        feed: Feed = SourceFeed(examples, features or {})
    else:
        feed = IterableFeed(examples, num_examples=num_examples, features=features, labels=labels)
    about = {"task": task and task.describe(), "made_from": None}
    return _Writer(feed, directory, check_phase(split), layout or Layout(), on_written).write(about)


def write_pipeline(
    pipeline: Pipeline,
    directory: str | os.PathLike[str],
    *,
    layout: Layout | None = None,
    phases: Sequence[str] = PHASES,
    made_from: Mapping[str, Any] | None = None,
    on_written: Callable[[int], Any] | None = None,
) -> Sidecar:
    """Writes the examples of a pipeline as they lie in its sources: neither decoded nor augmented nor preprocessed.

    Args:
        pipeline: Whose task is written down too; if the task depends on statistics, it must have learned them.
        directory: See `write`.
        layout: Of the training split; smaller splits have fewer files.
        phases: The splits to write; those that the pipeline hasn't are passed over.
        made_from: The pipeline's name and options, for the record.
        on_written: See `write`.

    Raises:
        FileExistsError: See `write`.
        ValueError: The pipeline has none of these splits.
    """
    layout = layout or Layout()
    present = [phase for phase in phases if pipeline.has(phase)]
    if not present:
        raise ValueError(f"{pipeline.name} has none of the splits {list(phases)}.")
    feeds = {phase: SourceFeed(pipeline.require_source(phase), pipeline.features) for phase in present}
    most = max(feed.num_examples for feed in feeds.values())
    about = {"task": pipeline.task.describe(), "made_from": made_from}
    for phase, feed in feeds.items():
        shards = max(1, round(layout.shards * feed.num_examples / most))
        writer = _Writer(feed, directory, phase, dataclasses.replace(layout, shards=shards), on_written)
        sidecar = writer.write(about)
    return sidecar


class _Writer:
    """One call's work on one split."""

    def __init__(
        self,
        feed: Feed,
        directory: str | os.PathLike[str],
        split: str,
        layout: Layout,
        on_written: Callable[[int], Any] | None,
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
        self._lock = threading.Lock()
        self._stopping = threading.Event()

    def write(self, about: Mapping[str, Any]) -> Sidecar:
        self._parts.mkdir(parents=True, exist_ok=True)
        before = self._load()
        self._merge(before, about, None)  # what can't be added later is refused now
        finished = before.splits.get(self._split) if before else None
        self._refuse_others(finished)
        for name in self._names:
            for leftover in self._directory.glob(f"{files.TEMPORARY}{name}-*"):
                leftover.unlink(missing_ok=True)
        known = dict(enumerate(finished.shards)) if finished else self._known_shards()
        with concurrent.futures.ThreadPoolExecutor(self._num_threads()) as pool:
            try:
                shards = list(pool.map(lambda number: self._make(number, known.get(number)), range(len(self._names))))
            except BaseException:
                self._stopping.set()
                raise
        if finished:
            summary = finished.summary
        else:
            summary = sum((Summary.parse(self._read_part(n)["summary"]) for n in range(len(shards))), Summary())
        split = Split(tuple(shards), summary, self._key, self._feed.schema.weights is not None)
        with filelock.FileLock(self._directory / _LOCK):
            sidecar = self._merge(self._load(), about, split)
            sidecar.save(self._directory)
        shutil.rmtree(self._parts)
        with contextlib.suppress(OSError):  # not empty: another split is being written
            self._parts.parent.rmdir()
        return sidecar

    def _load(self) -> Sidecar | None:
        return Sidecar.load(self._directory) if Sidecar.exists(self._directory) else None

    def _merge(self, sidecar: Sidecar | None, about: Mapping[str, Any], split: Split | None) -> Sidecar:
        """The data set with this split added."""
        schema = self._feed.schema
        if sidecar is None:
            sidecar = Sidecar(schema, **about)
        for what, found, added in (
            ("schema", _unweighted(sidecar.schema), _unweighted(schema)),
            ("task", sidecar.task, about["task"] or sidecar.task),
        ):
            # As JSON keeps them: tuples become lists.
            if json.dumps(found, sort_keys=True) != json.dumps(added, sort_keys=True):
                raise FileExistsError(
                    f"{self._directory} is another data set: its {what} is {found}, that of the examples to be written "
                    f"is {added}. Choose another directory."
                )
        splits = {**sidecar.splits, **({self._split: split} if split else {})}
        weighted = sidecar.schema if sidecar.schema.weights else schema
        return dataclasses.replace(
            sidecar,
            schema=weighted,
            task=about["task"] or sidecar.task,
            splits={name: splits[name] for name in PHASES if name in splits},
            made_from=about["made_from"] or sidecar.made_from,
        )

    def _refuse_others(self, finished: Split | None) -> None:
        """Refuses to mix files of this call with files of another one."""
        if finished and finished.key == self._key:
            ours = {shard.file for shard in finished.shards}
        else:
            ours = {self._names[number] for number in self._known_shards()} if not finished else set()
        present = {path.name for path in self._directory.glob(f"{self._split}-?????-of-?????.tfrecord*")}
        if present - ours:
            raise FileExistsError(
                f"{self._directory} has files of {self._split!r} that were made of other data or in another way: "
                f"{', '.join(sorted(present - ours)[:4])}. Delete them, or choose another directory."
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
        ends = sorted({span[0], span[-1]})
        if kept != [record for example in self._feed.read(ends) for record in self._serialize(example)]:
            raise FileExistsError(f"{path} holds other examples than those to be written. Choose another directory.")

    def _serialize(self, example: Example) -> list[bytes]:
        return self._feed.schema.serialize(example).tolist()

    def _write(self, number: int, path: pathlib.Path, span: Sequence[int]) -> Shard:
        summary, crcs = Summary(), []
        lengths: list[int] = []
        with files.replacing(path) as temporary:
            with temporary.open("wb") as file, self._compressed(hashed := _Hashed(file)) as output:
                for chunk in _chunks(self._feed.read(span)):
                    if self._stopping.is_set():
                        raise concurrent.futures.CancelledError
                    records = [record for example in chunk for record in self._serialize(example)]
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
            with self._lock:
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
