"""Training throughput of `fit` against the compute limit and against a plain Keras `Model.fit`.

    python scripts/benchmarks/fit_throughput.py

28x28 images, flip and shift augmentation, `small_cnn`, the same batch size, in one process. Three contenders take
turns, an epoch each, so that a noisy machine disturbs all of them alike:

    limit   a hand-written `tf.function` loop of training steps over one constant batch: no input pipeline at all
    fit     `framework.fit`: permutation, gather, batched augmentation, Keras' own `Model.fit`
    keras   a plain `Model.fit` on shuffle -> per-example map (tf.image flip and random crop) -> batch -> prefetch

Printed is the median over the rounds of examples a second in the training steps of an epoch (evaluation, export and
checkpoint come between epochs and aren't counted), and its ratio to the others.
"""

import statistics
import tempfile
import threading
import time

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags, logging

import framework
from framework.data import augment

_EXAMPLES = flags.DEFINE_integer("examples", 12_800, "Training images.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 128, "Images of a step.")
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Timed epochs of each contender.")
_SHIFT = flags.DEFINE_integer("shift", 2, "Largest shift in pixels.")
_WIDTH = flags.DEFINE_integer("width", 16, "Filters of the first convolution.")
_SIZE = 28


class Turns(keras.callbacks.Callback):
    """Hands each epoch over to whoever's turn it is, and times it."""

    def __init__(self, go: threading.Semaphore, done: threading.Semaphore):
        super().__init__()
        self.go, self.done = go, done
        self.seconds: list[float] = []

    def on_epoch_begin(self, epoch, logs=None):
        self.go.acquire()
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(time.perf_counter() - self._start)
        self.done.release()


def make_data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (_EXAMPLES.value, _SIZE, _SIZE, 1), np.uint8)
    return images, rng.integers(0, 10, _EXAMPLES.value, np.int64)


def to_inputs(features: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    return {"image": tf.cast(features["image"], tf.float32) / 255.0}


def our_augment(features, labels, seeds):
    moved = augment.random_affine(features["image"], seeds, flip_horizontal=True, shift=_SHIFT.value / _SIZE)
    return {"image": moved}, labels


def build(pipeline: framework.Pipeline) -> keras.Model:
    return framework.build_model(
        framework.get_model("small_cnn"), pipeline.interface(), pipeline.task, {"width": _WIDTH.value}, seed=0
    )


def run_limit(model: keras.Model, pipeline, images, labels, turns: Turns, epochs: int) -> None:
    """Forward, loss, gradients, update; nothing else."""
    batch = to_inputs({"image": tf.constant(images[: _BATCH_SIZE.value])})
    targets = tf.constant(labels[: _BATCH_SIZE.value])
    loss, optimizer = pipeline.task.loss(), keras.optimizers.AdamW(1e-3)
    optimizer.build(model.trainable_variables)
    steps = _EXAMPLES.value // _BATCH_SIZE.value

    @tf.function
    def epoch() -> tf.Tensor:
        value = tf.constant(0.0)
        for _ in tf.range(steps):
            with tf.GradientTape() as tape:
                value = loss(targets, model(batch, training=True))
            gradients = tape.gradient(value, model.trainable_variables)
            optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return value

    for index in range(epochs):
        turns.on_epoch_begin(index)
        epoch().numpy()
        turns.on_epoch_end(index)


def run_fit(pipeline, turns: Turns, epochs: int) -> None:
    with tempfile.TemporaryDirectory() as run_dir:
        framework.fit(
            "small_cnn",
            pipeline,
            run_dir=run_dir,
            epochs=epochs,
            batch_size=_BATCH_SIZE.value,
            hparams={"width": _WIDTH.value},
            stopping=None,
            callbacks=[turns],
            verbose=0,
        )


def run_keras(model: keras.Model, pipeline, images, labels, turns: Turns, epochs: int) -> None:
    """What the Keras guides teach."""

    def augment_one(image, label):
        image = tf.image.random_flip_left_right(image)
        image = tf.image.resize_with_crop_or_pad(image, _SIZE + 2 * _SHIFT.value, _SIZE + 2 * _SHIFT.value)
        image = tf.image.random_crop(image, (_SIZE, _SIZE, 1))
        return tf.cast(image, tf.float32) / 255.0, label

    dataset = (
        tf.data.Dataset.from_tensor_slices((images, labels))
        .shuffle(len(images))
        .map(augment_one, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(_BATCH_SIZE.value)
        .map(lambda image, label: ({"image": image}, label))
        .prefetch(tf.data.AUTOTUNE)
    )
    model.compile(keras.optimizers.AdamW(1e-3), loss=pipeline.task.loss(), metrics=pipeline.task.metrics())
    model.fit(dataset, epochs=epochs, callbacks=[turns], verbose=0)


def main(_):
    logging.set_verbosity(logging.WARNING)
    images, labels = make_data()
    pipeline = framework.pipeline_from_arrays(
        {"image": images}, labels, validation=None, preprocess=to_inputs, augment=our_augment
    )
    epochs = _ROUNDS.value + 1  # the first one traces
    turns = {name: Turns(threading.Semaphore(0), threading.Semaphore(0)) for name in ("limit", "fit", "keras")}
    contenders = {
        "limit": lambda turn: run_limit(build(pipeline), pipeline, images, labels, turn, epochs),
        "fit": lambda turn: run_fit(pipeline, turn, epochs),
        "keras": lambda turn: run_keras(build(pipeline), pipeline, images, labels, turn, epochs),
    }
    for name in turns:
        # Each contender keeps its place in a thread of its own; only one of them runs at a time.
        threading.Thread(target=contenders[name], args=(turns[name],), daemon=True).start()
        turns[name].go.release()
        turns[name].done.acquire()
    for _ in range(_ROUNDS.value):
        for turn in turns.values():
            turn.go.release()
            turn.done.acquire()
    speed = {name: _EXAMPLES.value / statistics.median(turn.seconds[1:]) for name, turn in turns.items()}
    print(f"{'':8}{'examples/s':>12}{'of limit':>10}{'of keras':>10}")
    for name, value in speed.items():
        print(f"{name:8}{value:12,.0f}{value / speed['limit']:10.2f}{value / speed['keras']:10.2f}")


if __name__ == "__main__":
    app.run(main)
