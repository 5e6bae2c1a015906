"""What checkpoints cost: stall of training, bytes, and how long it takes to be back.

    python scripts/benchmarks/checkpoint_cost.py

Stall: milliseconds by which an epoch gets longer for each checkpoint in it, in `Model.fit` on the same model and data:
ours (copied to host memory, written by a thread), ours written at once, and `keras.callbacks.BackupAndRestore`. Also
the call alone. For a small network and for ResNet50 (random weights, Adam).

Resume: seconds from the start of the dataset to its first batch at 10, 50 and 90 % of an epoch, by jumping (arrays),
by skipping before decoding (a stream) and by replaying everything as a plain pipeline does.
"""

import pathlib
import statistics
import tempfile
import time

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags, logging

import framework
from framework.callbacks.background import BackgroundWriter
from framework.data.train import Position, steps_per_epoch, train_dataset
from framework.training.checkpoints import CheckpointStore
from framework.training.snapshot import state_variables, take

_ROUNDS = flags.DEFINE_integer("rounds", 5, "Repetitions; the median is printed.")
_STEPS = flags.DEFINE_integer("steps", 12, "Steps of an epoch, with one checkpoint in it.")
_EXAMPLES = flags.DEFINE_integer("examples", 60_000, "Of the epoch in which training is resumed.")


class Ours(keras.callbacks.Callback):
    """Takes a snapshot after the second step, written by a thread or at once."""

    def __init__(self, directory: str, *, background: bool):
        super().__init__()
        self.store = CheckpointStore(pathlib.Path(directory), keep=1)
        self.background = background
        self.writer = BackgroundWriter()
        self.calls: list[float] = []
        self.epoch = 0

    def on_train_batch_end(self, batch, logs=None):
        if batch != 1:
            return
        started = time.perf_counter()
        self.epoch += 1
        snapshot = take(self.model, [], Position(self.epoch))
        if self.background:
            self.writer.submit(lambda: self.store.save(snapshot))
        else:
            self.store.save(snapshot)
        self.calls.append(time.perf_counter() - started)


class Epochs(keras.callbacks.Callback):
    """Seconds of each epoch's training steps."""

    def __init__(self):
        super().__init__()
        self.seconds: list[float] = []

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        self.last = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(self.last - self.started)


def measure_stall(name: str, model: keras.Model, shape: tuple[int, ...], batch_size: int) -> None:
    model.compile(keras.optimizers.Adam(1e-4), "sparse_categorical_crossentropy")
    batch = (np.random.default_rng(0).random((batch_size, *shape), np.float32), np.zeros(batch_size, np.int64))
    data = tf.data.Dataset.from_tensors(batch).repeat()

    def epochs(*callbacks: keras.callbacks.Callback, count: int = 1) -> list[float]:
        timer = Epochs()
        model.fit(data, steps_per_epoch=_STEPS.value, epochs=count, callbacks=[*callbacks, timer], verbose=0)
        return timer.seconds

    epochs(count=2)
    with tempfile.TemporaryDirectory() as directory:
        threaded = Ours(f"{directory}/threaded", background=True)
        at_once = Ours(f"{directory}/at_once", background=False)
        times: dict[str, list[float]] = {"none": [], "threaded": [], "at once": [], "BackupAndRestore": []}
        for _ in range(_ROUNDS.value):  # taking turns: a noisy machine disturbs all alike
            times["none"] += epochs()
            times["threaded"] += epochs(threaded)
            threaded.writer.wait()
            times["at once"] += epochs(at_once)
            # Saves once an epoch, in its middle.
            backup = keras.callbacks.BackupAndRestore(f"{directory}/keras", save_freq=_STEPS.value - 1)
            times["BackupAndRestore"] += epochs(backup)
        written = (next((pathlib.Path(directory) / "at_once").glob("*/snapshot.npz"))).stat().st_size
    parameters = sum(np.prod(v.shape) * tf.as_dtype(v.dtype).size for v in model.variables)
    state = sum(np.prod(v.shape) * tf.as_dtype(v.dtype).size for v in state_variables(model))
    base = statistics.median(times["none"])
    print(
        f"\n{name}: step {1e3 * base / _STEPS.value:.1f} ms; parameters {parameters / 1e6:.1f} MB, with the optimizer "
        f"{state / 1e6:.1f} MB, checkpoint {written / 1e6:.1f} MB = {written / parameters:.2f} x parameters"
    )
    calls = {"threaded": threaded.calls, "at once": at_once.calls}
    for kind in ("threaded", "at once", "BackupAndRestore"):
        stall = statistics.median(times[kind]) - base
        call = f"{1e3 * statistics.median(calls[kind]):8.1f} ms" if kind in calls else f"{'':>11}"
        print(
            f"  {kind:18} stall {1e3 * stall:8.1f} ms = {stall / (base / _STEPS.value):6.2f} steps   call alone {call}"
        )


def measure_resume() -> None:
    images = np.zeros((_EXAMPLES.value, 28, 28, 1), np.uint8)
    labels = np.zeros(_EXAMPLES.value, np.int64)
    task = framework.tasks.Classification(10)

    def to_float(features):
        return {"image": tf.cast(features["image"], tf.float32) / 255.0}

    arrays = framework.pipeline_from_arrays({"image": images}, labels, validation=None, task=task, preprocess=to_float)
    stream = framework.pipeline_from_datasets(
        tf.data.Dataset.from_tensor_slices(({"image": images}, labels)), task=task, preprocess=to_float
    )
    steps = steps_per_epoch(arrays.require_source("train"), 128)

    def first_batch(dataset: tf.data.Dataset) -> float:
        started = time.perf_counter()
        next(iter(dataset))
        return time.perf_counter() - started

    print(f"\n{f'seconds to the first batch, {steps} steps':40}   10 %    50 %    90 %")

    def show(name: str, row: list[float]) -> None:
        print(f"  {name:38}" + "".join(f"{seconds:7.3f} " for seconds in row))

    for name, pipeline in (("arrays, jump", arrays), ("stream, skip", stream)):
        row = []
        for share in (0.1, 0.5, 0.9):
            start = Position(0, int(share * steps))
            row.append(
                statistics.median(
                    first_batch(train_dataset(pipeline, batch_size=128, seed=0, start=start)) for _ in range(3)
                )
            )
        show(name, row)
    row = []
    for share in (0.1, 0.5, 0.9):
        whole = train_dataset(arrays, batch_size=128, seed=0).skip(int(share * steps))
        row.append(statistics.median(first_batch(whole) for _ in range(3)))
    show("arrays, replayed", row)


def main(_):
    logging.set_verbosity(logging.WARNING)
    inputs = keras.Input((28, 28, 1))
    x = keras.layers.Flatten()(keras.layers.Conv2D(32, 3, strides=2, activation="relu")(inputs))
    small = keras.Model(inputs, keras.layers.Dense(10, activation="softmax")(x))
    measure_stall("small network", small, (28, 28, 1), 64)
    measure_stall(
        "ResNet50", keras.applications.ResNet50(weights=None, input_shape=(64, 64, 3), classes=10), (64, 64, 3), 8
    )
    measure_resume()


if __name__ == "__main__":
    app.run(main)
