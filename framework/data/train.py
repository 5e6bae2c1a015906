"""The training pipeline: order -> gather -> decode -> augment -> preprocess, endless, from any (epoch, step).

The order of an epoch is a permutation keyed by (seed, epoch) and every example is augmented by a seed of its own
(seed, epoch, index). Nothing depends on what was read before, so that resuming is a jump and not a replay.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import tensorflow as tf

from framework.data import random
from framework.data.phases import TRAIN
from framework.data.pipeline import Pipeline
from framework.data.sources import Example, Source, batch_padded
from framework.data.stages import PARALLEL_CALLS, configure, model_inputs, raw_examples

# A whole run is one dataset; this stands for "until nobody asks for more".
_ENDLESS = 2**31 - 1


@dataclasses.dataclass(frozen=True, order=True)
class Position:
    """A place between two steps: `step` batches of `epoch` are done, both counted from 0."""

    epoch: int = 0
    step: int = 0


def steps_per_epoch(source: Source, batch_size: int) -> int:
    """Batches of an epoch; the last one may be smaller."""
    return math.ceil(source.epoch_examples / batch_size)


def train_dataset(pipeline: Pipeline, *, batch_size: int, seed: int, start: Position | None = None) -> tf.data.Dataset:
    """Endless training batches `(inputs, labels)` or `(inputs, labels, weights)`.

    Args:
        pipeline: Must have learned its statistics.
        batch_size: Examples of a batch.
        seed: With the epoch it decides the order, with epoch and index the augmentation.
        start: Where to begin.
    """
    source = pipeline.require_source(TRAIN)
    start = start or Position()
    batches = (
        _permuted(source, batch_size, seed, start)
        if source.random_access
        else _shuffled(source, batch_size, seed, start)
    )

    def finish(epoch: tf.Tensor, indices: tf.Tensor, example: Example | None = None) -> tuple[Any, ...]:
        if example is None:
            example = source.gather(indices)
        seeds = random.example_seeds(seed, epoch, indices)
        example = raw_examples(pipeline, TRAIN, indices, example, seeds)
        augmented = pipeline.augment(example.features, example.labels, seeds)
        if not isinstance(augmented, tuple) or len(augmented) != 2:
            raise TypeError(f"{pipeline.name}.augment must return (features, labels), got {type(augmented).__name__}.")
        return model_inputs(pipeline, Example(*augmented, example.weights))

    return configure(batches.map(finish, num_parallel_calls=PARALLEL_CALLS).prefetch(4))


def _permuted(source: Source, batch_size: int, seed: int, start: Position) -> tf.data.Dataset:
    """(epoch, indices) of a random-access source."""
    num_examples = source.epoch_examples
    steps = steps_per_epoch(source, batch_size)
    even = num_examples % batch_size == 0

    def epoch_batches(epoch: tf.Tensor) -> tf.data.Dataset:
        order = tf.ensure_shape(source.epoch_order(tf.constant(seed, tf.int64), epoch, batch_size), [num_examples])
        first = tf.where(epoch == start.epoch, tf.constant(start.step, tf.int64), tf.constant(0, tf.int64))

        def batch(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            indices = order[step * batch_size : (step + 1) * batch_size]
            # A batch axis known to be constant lets TensorFlow plan the whole step's memory.
            return epoch, tf.ensure_shape(indices, [batch_size if even else None])

        return tf.data.Dataset.range(first, steps).map(batch)

    return tf.data.Dataset.range(start.epoch, _ENDLESS).flat_map(epoch_batches)


def _shuffled(source: Source, batch_size: int, seed: int, start: Position) -> tf.data.Dataset:
    """(epoch, indices, examples) of a stream, shuffled within a buffer."""
    even = source.num_examples % batch_size == 0
    buffer = min(getattr(source, "shuffle_buffer", source.num_examples), source.num_examples)

    def epoch_batches(epoch: tf.Tensor) -> tf.data.Dataset:
        # Of this function's graph alone; otherwise what tf.random.set_seed was given would change the order. Not 0:
        # beside a 0 TensorFlow would compare the other seed, a symbolic tensor, with 0.
        tf.compat.v1.set_random_seed(1)
        examples = source.stream().enumerate()
        if buffer > 1:
            # Epoch e of seed s is not epoch s of seed e.
            key = tf.random.stateless_uniform(
                [], tf.stack([tf.constant(seed, tf.int64), epoch]), maxval=None, minval=None, dtype=tf.int64
            )
            examples = examples.shuffle(buffer, seed=key, reshuffle_each_iteration=False)
        done = tf.where(epoch == start.epoch, tf.constant(start.step * batch_size, tf.int64), tf.constant(0, tf.int64))
        batches = batch_padded(examples.skip(done), batch_size, drop_remainder=even)
        return batches.map(lambda indices, example: (epoch, indices, example))

    return tf.data.Dataset.range(start.epoch, _ENDLESS).flat_map(epoch_batches)
