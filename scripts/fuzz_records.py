"""Damages files of records in every way, reads them, and shows that nothing wrong comes out.

    python scripts/fuzz_records.py                     # 10,000 damaged data sets
    python scripts/fuzz_records.py --files=500 --first=3000 --workers=1

Each case takes a small data set, plain or compressed, with its `dataset.json` or without, and damages a file of
records, an index or the `dataset.json`: bits flipped; bytes cut off, inserted, removed, overwritten; lengths of up to
2**64 - 1 with the right checksum; records swapped, repeated, left out; garbage with the right checksum. The time of
last change is sometimes kept, so that an index of what was there before is used.

Then everything is read, at random and as a stream, and verified; what is refused is read once more by a reader that
skips what is broken. Fine is an error of the kinds that readers promise, or examples of which each is one of the
originals, to the bit. Not fine: another error, an example that never was, a
process that dies or takes more and more memory.
"""

import collections
import concurrent.futures
import dataclasses
import gzip
import itertools
import multiprocessing
import os
import pathlib
import shutil
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from absl import app, flags, logging

_FILES = flags.DEFINE_integer("files", 10_000, "Data sets to damage.", lower_bound=1)
_FIRST = flags.DEFINE_integer("first", 0, "The first case; each is a function of its number.")
_WORKERS = flags.DEFINE_integer("workers", 2, "Processes.", lower_bound=1)
_MAX_GROWTH = flags.DEFINE_integer("max_growth", 500, "MB by which a process may grow over its cases, about 2,000.")

_EXAMPLES = 24
_CASES_AT_ONCE = 100
_SPANS_OF_A_PROCESS = 20  # TensorFlow keeps some 100 kB of the graphs of each case
_HUGE = (0, 1, 2**20, 2**31 - 1, 2**31, 2**40, 2**63 - 1, 2**63, 2**64 - 17, 2**64 - 1)

Random = np.random.Generator
Damage = Callable[[bytes, Random], bytes]


def flip_bits(data: bytes, random: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(int(random.integers(1, 9))):
        changed[random.integers(len(changed))] ^= 1 << int(random.integers(8))
    return bytes(changed)


def cut_off(data: bytes, random: Random) -> bytes:
    return data[: random.integers(len(data))]


def insert(data: bytes, random: Random) -> bytes:
    at = random.integers(len(data) + 1)
    return data[:at] + random.bytes(int(random.integers(1, 64))) + data[at:]


def remove(data: bytes, random: Random) -> bytes:
    first, last = sorted(random.integers(0, len(data) + 1, 2).tolist())
    return data[:first] + data[last:]


def overwrite(data: bytes, random: Random) -> bytes:
    first, last = sorted(random.integers(0, len(data) + 1, 2).tolist())
    middle = random.bytes(last - first) if random.integers(2) else bytes(last - first)
    return data[:first] + middle + data[last:]


def lie_about_length(data: bytes, random: Random) -> bytes:
    """A record's length becomes another one, with the right checksum."""
    from framework.data.records.framing import masked_crc

    spans = record_spans(data)
    start = spans[random.integers(len(spans))][0]
    length = struct.pack("<Q", _HUGE[random.integers(len(_HUGE))])
    return data[:start] + length + struct.pack("<I", masked_crc(length)) + data[start + 12 :]


def rearrange(data: bytes, random: Random) -> bytes:
    """Records are swapped, repeated and left out."""
    records = [data[start:stop] for start, stop in record_spans(data)]
    chosen = random.integers(0, len(records), len(records) + int(random.integers(-2, 3)))
    return b"".join(records[index] for index in chosen)


def garble(data: bytes, random: Random) -> bytes:
    """A record's bytes become others, with the right checksum."""
    from framework.data.records.framing import frame, masked_crc

    spans = record_spans(data)
    start, stop = spans[random.integers(len(spans))]
    record = data[start + 12 : stop - 4]
    options = (
        b"",
        random.bytes(len(record)),
        random.bytes(int(random.integers(1, 200))),
        record[:-1],
        record + b"\x0a",
    )
    garbage = options[random.integers(len(options))]
    return data[:start] + frame(garbage, masked_crc(garbage)) + data[stop:]


ANY_BYTES: tuple[Damage, ...] = (flip_bits, flip_bits, cut_off, insert, remove, overwrite)
RECORDS: tuple[Damage, ...] = (*ANY_BYTES, lie_about_length, lie_about_length, rearrange, garble, garble)


def record_spans(data: bytes) -> list[tuple[int, int]]:
    """Where the records of an undamaged file begin and end."""
    spans, at = [], 0
    while at < len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        spans.append((at, at + 16 + length))
        at += 16 + length
    return spans


@dataclasses.dataclass(frozen=True)
class Case:
    """What is damaged and how it is read; a function of its number."""

    number: int
    compressed: bool
    has_sidecar: bool
    target: str
    keep_time: bool
    also_stream: bool

    @classmethod
    def of(cls, number: int, random: Random) -> "Case":
        has_sidecar = bool(random.integers(2))
        targets = ["records"] * 8 + ["index"] + ["sidecar"] * has_sidecar
        target = targets[random.integers(len(targets))]
        compressed = target != "index" and bool(random.integers(3) == 0)
        return cls(number, compressed, has_sidecar, target, bool(random.integers(2)), bool(random.integers(4) == 0))


def damage(directory: pathlib.Path, case: Case, random: Random) -> str:
    """Damages a file; returns what was done."""
    folders = {"records": directory, "index": directory / ".index", "sidecar": directory}
    pattern = "dataset.json" if case.target == "sidecar" else "train-*"
    paths = sorted(folders[case.target].glob(pattern))
    path = paths[random.integers(len(paths))]
    before = path.stat()
    data = path.read_bytes()
    if case.target == "index" and random.integers(4) == 0:
        how, changed = "another file's index", paths[random.integers(len(paths))].read_bytes()
    elif case.target == "records" and not (case.compressed and random.integers(2)):
        function = RECORDS[random.integers(len(RECORDS))]
        plain = gzip.decompress(data) if case.compressed else data
        how, changed = function.__name__, function(plain, random)
        changed = gzip.compress(changed, mtime=0) if case.compressed else changed
    else:
        function = ANY_BYTES[random.integers(len(ANY_BYTES))]
        how, changed = function.__name__, function(data, random)
    path.write_bytes(changed)
    if case.keep_time:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    return how


class Campaign:
    """The undamaged data sets and what is in them."""

    def __init__(self, base: pathlib.Path):
        import framework
        from framework.data import records

        random = np.random.default_rng(0)
        features = {
            "numbers": framework.Feature((3,), "float32"),
            "pixels": framework.Feature((5,), "uint8"),
            "text": framework.Feature((), "string"),
            "codes": framework.Feature((None,), "int64"),
            "precise": framework.Feature((), "float64"),
        }
        examples = [
            (
                {
                    "numbers": random.normal(size=3).astype(np.float32),
                    "pixels": random.integers(0, 256, 5).astype(np.uint8),
                    "text": random.bytes(int(random.integers(0, 20))),
                    "codes": random.integers(1, 1000, random.integers(0, 4)),  # no zeros: batches are padded with them
                    "precise": random.normal(),
                },
                int(random.integers(10)),
            )
            for _ in range(_EXAMPLES)
        ]
        self.base = base
        for kind in ("plain", "gzip"):
            layout = records.Layout(shards=2, gzip=kind == "gzip")
            records.write(examples, base / kind, features=features, layout=layout)
        self.schema = records.DataSet.find(base / "plain").schema
        self.originals = {example for _, example in self.read(base / "plain", has_sidecar=True, also_stream=True)}
        if len(self.originals) != _EXAMPLES:
            raise RuntimeError("The undamaged data set isn't read as it was written.")

    def read(
        self, directory: pathlib.Path, *, has_sidecar: bool, also_stream: bool, skip_broken: bool = False
    ) -> Iterator[tuple[str, tuple]]:
        """Where each example lies, and its bytes; reads on after what can't be read, where that is possible."""
        import tensorflow as tf

        import framework
        from framework.data import records

        if has_sidecar:
            policy = framework.BadExamples("skip" if skip_broken else "raise", 0.99)
            source = records.DataSet.find(directory, policy=policy).source("train")
        else:
            paths = records.find_files(f"{directory}/train-*")
            source = records.RecordSource(paths, self.schema, skip_broken=skip_broken)
        if source.random_access:
            everything = range(source.num_examples)
            for first in range(0, len(everything), 8):
                yield from self._gathered(source, everything[first : first + 8])
            if not also_stream:
                return
        for number, example in enumerate(source.stream()):
            yield f"stream, {source.place(number)}", canonical(example.map(lambda tensor: tensor[tf.newaxis]), 0)

    def _gathered(self, source, indices) -> Iterator[tuple[str, tuple]]:
        import tensorflow as tf

        try:
            batch = source.gather(tf.constant(list(indices), tf.int64))
        except tf.errors.OpError:
            if len(indices) > 1:
                for index in indices:
                    yield from self._gathered(source, [index])
            return
        for row, index in enumerate(indices):
            yield source.place(index), canonical(batch, row)

    def run(self, number: int) -> tuple[str, str]:
        """(verdict, what was done) of one case."""
        import tensorflow as tf

        from framework.data import records

        random = np.random.default_rng([number, 1])
        case = Case.of(number, random)
        with tempfile.TemporaryDirectory(dir=self.base) as temporary:
            directory = pathlib.Path(temporary, "data")
            shutil.copytree(self.base / ("gzip" if case.compressed else "plain"), directory)  # with the times
            how = f"{'gzip ' if case.compressed else ''}{case.target} {damage(directory, case, random)}"
            verdict = "refused"
            for skip_broken in (False, True):
                try:
                    for place, example in self.read(
                        directory,
                        has_sidecar=case.has_sidecar,
                        also_stream=case.also_stream,
                        skip_broken=skip_broken,
                    ):
                        if example not in self.originals:
                            return f"WRONG EXAMPLE at {place}: {example}", how
                    verdict = verdict if skip_broken else "only originals"
                    break
                except Exception as error:
                    kinds = (ValueError, OSError, tf.errors.OpError)
                    if not isinstance(error, kinds) or isinstance(error, UnicodeError):
                        return f"WRONG ERROR {error!r}", how
            try:
                paths = records.find_files(f"{directory}/train-*")
                problems = sum(1 for _ in records.verify(paths, self.schema))
            except Exception as error:
                return f"WRONG ERROR of verify {error!r}", how
        return f"{verdict}, {'problems' if problems else 'no problems'} found", how


def canonical(example, row: int) -> tuple:
    """The bytes of one example of a batch, without the padding."""
    values = {name: np.asarray(tensor[row]) for name, tensor in example.features.items()}
    values["codes"] = np.trim_zeros(values["codes"], "b")
    values["label"] = np.asarray(example.labels[row])
    # Of text the bytes themselves: NumPy's object arrays hold addresses.
    return tuple(
        (name, str(value.dtype), value.shape, value.item() if value.dtype == object else value.tobytes())
        for name, value in sorted(values.items())
    )


# Of a process after its first case, in MB.
_memory_at_first: list[float] = []


def run_cases(first: int, last: int) -> tuple[list[tuple[int, str, str]], float]:
    """`(number, verdict, what was done)` of some cases, and by how many MB this process has grown since its first."""
    import tensorflow as tf

    logging.set_verbosity(logging.FATAL)
    tf.get_logger().setLevel("ERROR")  # it would warn of every source's own parser
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["XDG_CACHE_HOME"] = temporary
        campaign = Campaign(pathlib.Path(temporary))
        if not _memory_at_first:
            campaign.run(first)
            _memory_at_first.append(peak_memory())
        return [(number, *campaign.run(number)) for number in range(first, last)], peak_memory() - _memory_at_first[0]


def peak_memory() -> float:
    """Of this process, in MB."""
    status = pathlib.Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def run_spans(spans: list[tuple[int, int]]) -> Iterator[tuple[list[tuple[int, str, str]], float]]:
    """What `run_cases` returns of each span, in processes of their own."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(_WORKERS.value, mp_context=context) as pool:
        futures = {pool.submit(run_cases, *span): span for span in spans}
        for future in concurrent.futures.as_completed(futures):
            try:
                yield future.result()
            except concurrent.futures.process.BrokenProcessPool:
                first, last = futures[future]
                sys.exit(f"A process died; one of the cases from {first} to {last - 1} may have killed it.")


def main(_):
    began = time.monotonic()
    end = _FIRST.value + _FILES.value
    spans = [(first, min(first + _CASES_AT_ONCE, end)) for first in range(_FIRST.value, end, _CASES_AT_ONCE)]
    verdicts: collections.Counter[str] = collections.Counter()
    failures, growth = [], 0.0
    size = _SPANS_OF_A_PROCESS * _WORKERS.value
    for results, grown in itertools.chain(*(run_spans(spans[at : at + size]) for at in range(0, len(spans), size))):
        growth = max(growth, grown)
        for number, verdict, how in results:
            if verdict.startswith("WRONG"):
                failures.append(number)
                print(f"case {number}, {how}: {verdict}", flush=True)
            else:
                verdicts[f"{how}: {verdict}"] += 1
    for what, count in sorted(verdicts.items()):
        print(f"{count:>7}  {what}")
    print(
        f"{_FILES.value} cases in {time.monotonic() - began:.0f} s, {len(failures)} failures; a process grew by "
        f"{growth:.0f} MB at most"
    )
    if failures or growth > _MAX_GROWTH.value:
        sys.exit(1)


if __name__ == "__main__":
    app.run(main)
