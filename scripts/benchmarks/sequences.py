"""What bucketing by length saves: the share of padding, and examples/s of training a recurrent model.

    python scripts/benchmarks/sequences.py
    python scripts/benchmarks/sequences.py --batch_size=128 --spread=0.2

Sequences have log-normal lengths (median 55 steps, the longest 40 times the shortest), as sentences, sessions and
recordings do. Steps are trained with and without buckets in turns; ratios are of the medians.
"""

import os
import pathlib
import statistics
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
from absl import app, flags, logging

import framework
from framework import tasks
from framework.building import build_model
from framework.data import records
from framework.data.train import Position, train_dataset

_EXAMPLES = flags.DEFINE_integer("examples", 10_000, "Of the training split.", lower_bound=1000)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "Examples of a batch.", lower_bound=1)
_SPREAD = flags.DEFINE_float("spread", 0.1, "By what share lengths of a bucket may differ.", lower_bound=0.001)
_STEPS = flags.DEFINE_integer("steps", 30, "Batches of each turn.", lower_bound=1)
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Turns of each.", lower_bound=1)


def make(directory: pathlib.Path) -> str:
    """Writes the data set; returns where it lies."""
    random = np.random.default_rng(0)
    lengths = np.clip(random.lognormal(4.0, 0.8, _EXAMPLES.value), 10, 400).astype(int)
    examples = [({"steps": random.normal(size=(length, 4)).astype(np.float32)}, int(length > 55)) for length in lengths]
    features = {"steps": framework.Feature((None, 4))}
    records.write(examples, directory, task=tasks.Classification(2), features=features, kind=records.SequenceSchema)
    return str(directory)


def compiled(pipeline: framework.Pipeline) -> keras.Model:
    model = build_model(framework.get_model("gru"), pipeline.interface(), pipeline.task, seed=0)
    model.compile("adam", pipeline.task.loss(), steps_per_execution=_STEPS.value)
    return model


def rate(model: keras.Model, pipeline: framework.Pipeline, turn: int) -> float:
    """Examples/s of one turn, at the beginning of an epoch of its own."""
    batches = train_dataset(pipeline, batch_size=_BATCH_SIZE.value, seed=0, start=Position(turn))
    timer = Timer()
    model.fit(batches, steps_per_epoch=_STEPS.value, callbacks=[timer], verbose=0, shuffle=False)
    return _STEPS.value * _BATCH_SIZE.value / timer.seconds


class Timer(keras.callbacks.Callback):
    """Times an epoch alone, without what `fit` does around it."""

    def on_epoch_begin(self, epoch, logs=None):
        self._began = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds = time.perf_counter() - self._began


def main(_):
    logging.set_verbosity(logging.ERROR)
    with tempfile.TemporaryDirectory() as temporary:
        path = make(pathlib.Path(temporary, "data"))
        options = {"validation": 0, "test": 0}
        make_pipeline = framework.get_pipeline("sequences")
        bucketed = make_pipeline(path, bucketing=_SPREAD.value, **options).with_statistics()
        mixed = make_pipeline(path, bucketing=None, **options).with_statistics()
        without, with_buckets = bucketed.source("train").padding(_BATCH_SIZE.value)
        print(f"padding: {without:.1%} of all steps without buckets, {with_buckets:.1%} with them")
        ways = {"without": mixed, "with": bucketed}
        models = {name: compiled(pipeline) for name, pipeline in ways.items()}
        turns = [
            {name: rate(models[name], pipeline, turn) for name, pipeline in ways.items()}
            for turn in range(_ROUNDS.value + 1)
        ]
    rates = {name: statistics.median(turn[name] for turn in turns[1:]) for name in ways}  # the first one traces
    for name, median in rates.items():
        print(f"training a gru {name:>7} buckets: {median:>8,.0f} examples/s")
    print(f"ratio: {rates['with'] / rates['without']:.2f}")


if __name__ == "__main__":
    app.run(main)
