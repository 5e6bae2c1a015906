"""How fast tiny records become training batches, and how much memory a larger data set takes.

    python scripts/benchmarks/records.py
    python scripts/benchmarks/records.py --batch_size=64 --seconds=5

Speed: examples/s of one process that reads batches of examples with 8 numbers and a label. Ours is the training input
of the pipeline `records`: every epoch in another order of all examples, every checksum checked. The others are plain
`TFRecordDataset`s in the files' order, with `parse_single_example` for each example in two threads and then `batch`, or
`batch` and then `parse_example`. They take turns; ratios are of the medians.

Memory: the peak of a process that reads an epoch of a data set, and of one ten times as large.
"""

import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf
from absl import app, flags, logging

import framework
from framework.data import records
from framework.data.train import train_dataset

_EXAMPLES = flags.DEFINE_integer("examples", 100_000, "Of the data set whose reading is timed.", lower_bound=1000)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 256, "Examples of a batch.", lower_bound=1)
_SHARDS = flags.DEFINE_integer("shards", 4, "Files.", lower_bound=1)
_SECONDS = flags.DEFINE_float("seconds", 2.0, "Of each round.", lower_bound=0.1)
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Turns of each way of reading.", lower_bound=1)
_MEMORY = flags.DEFINE_bool("memory", True, "Measure memory, too.")
_READ = flags.DEFINE_string("read", None, "Only read an epoch of this data set and print the peak memory in MB.")

_SPEC = {"values": tf.io.FixedLenFeature([8], tf.float32), "label": tf.io.FixedLenFeature([], tf.int64)}
_THREADS = 2


def make(directory: pathlib.Path, num_examples: int) -> str:
    """Writes a data set; returns where it lies."""
    random = np.random.default_rng(0)
    features = {"values": random.normal(size=(num_examples, 8)).astype(np.float32)}
    pipeline = framework.pipeline_from_arrays(features, random.integers(0, 10, num_examples), validation=None)
    records.write_pipeline(pipeline, directory, layout=records.Layout(shards=_SHARDS.value))
    return str(directory)


def ours(directory: str) -> tf.data.Dataset:
    pipeline = framework.get_pipeline("records")(directory, standardize=False)
    return train_dataset(pipeline, batch_size=_BATCH_SIZE.value, seed=0)


def _configured(dataset: tf.data.Dataset) -> tf.data.Dataset:
    options = tf.data.Options()
    options.autotune.enabled = False  # as ours
    return dataset.repeat().prefetch(2).with_options(options)


def plain(directory: str) -> tf.data.Dataset:
    dataset = tf.data.TFRecordDataset(tf.io.gfile.glob(f"{directory}/*.tfrecord"))
    dataset = dataset.map(lambda record: tf.io.parse_single_example(record, _SPEC), num_parallel_calls=_THREADS)
    return _configured(dataset.batch(_BATCH_SIZE.value))


def plain_batched(directory: str) -> tf.data.Dataset:
    dataset = tf.data.TFRecordDataset(tf.io.gfile.glob(f"{directory}/*.tfrecord")).batch(_BATCH_SIZE.value)
    return _configured(dataset.map(lambda batch: tf.io.parse_example(batch, _SPEC), num_parallel_calls=_THREADS))


def rate(batches: Iterator) -> float:
    """Examples/s of one round."""
    began, count = time.perf_counter(), 0
    while (seconds := time.perf_counter() - began) < _SECONDS.value:
        next(batches)
        count += _BATCH_SIZE.value
    return count / seconds


def measure_speed(directory: str) -> None:
    ways = {"ours": ours, "parse_single_example": plain, "parse_example": plain_batched}
    iterators = {name: iter(way(directory)) for name, way in ways.items()}
    for iterator in iterators.values():
        next(iterator)
    rounds = [{name: rate(iterator) for name, iterator in iterators.items()} for _ in range(_ROUNDS.value)]
    medians = {name: statistics.median(one[name] for one in rounds) for name in ways}
    for name, median in medians.items():
        print(f"{name:<22} {median:>12,.0f} examples/s   ours is {medians['ours'] / median:.2f} of it")


def measure_memory(small: str, large: str) -> None:
    peaks = []
    for directory in (small, large):
        command = [sys.executable, __file__, f"--read={directory}", f"--batch_size={_BATCH_SIZE.value}"]
        peaks.append(float(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    each = (peaks[1] - peaks[0]) * 2**20 / (9 * _EXAMPLES.value)
    print(f"peak memory {peaks[0]:.0f} MB, of ten times as many examples {peaks[1]:.0f} MB: {peaks[1] / peaks[0]:.3f}")
    print(f"{each:.0f} bytes for each further example: its place in the files, and in the order of two epochs")


def read(directory: str) -> None:
    """Reads an epoch; prints the process' peak resident memory in MB."""
    steps = framework.get_pipeline("records")(directory).source("train").num_examples // _BATCH_SIZE.value
    for _ in ours(directory).take(steps):
        pass
    # Not ru_maxrss: it begins with what the parent had when it started this process.
    status = pathlib.Path("/proc/self/status").read_text(encoding="ascii")
    print(int(status.partition("VmHWM:")[2].split()[0]) / 1024)


def main(_):
    logging.set_verbosity(logging.ERROR)
    if _READ.value:
        read(_READ.value)
        return
    with tempfile.TemporaryDirectory() as temporary:
        base = pathlib.Path(temporary)
        began = time.perf_counter()
        small = make(base / "small", _EXAMPLES.value)
        print(f"written at {_EXAMPLES.value / (time.perf_counter() - began):,.0f} examples/s")
        measure_speed(small)
        if _MEMORY.value:
            measure_memory(small, make(base / "large", 10 * _EXAMPLES.value))


if __name__ == "__main__":
    app.run(main)
