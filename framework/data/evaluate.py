"""The evaluation pipeline: every example of a split exactly once, in order, never augmented."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from framework.data.pipeline import Pipeline
from framework.data.sources import Example
from framework.data.stages import PARALLEL_CALLS, configure, model_inputs, raw_examples


def eval_dataset(pipeline: Pipeline, phase: str, *, batch_size: int) -> tf.data.Dataset:
    """Batches `(inputs, labels)` or `(inputs, labels, weights)` of a split, with a known number of them.

    Args:
        pipeline: Must have learned its statistics.
        phase: `"train"`, `"validation"` or `"test"`; the training split is read without augmentation here.
        batch_size: Examples of a batch; the last one may be smaller.

    Raises:
        ValueError: The pipeline has no such split.
    """
    source = pipeline.require_source(phase)

    def finish(step: tf.Tensor, example: Example) -> tuple[Any, ...]:
        first = step * batch_size
        indices = tf.range(first, tf.minimum(first + batch_size, source.num_examples))
        return model_inputs(pipeline, raw_examples(pipeline, phase, indices, example))

    batches = source.batches(batch_size).enumerate()
    return configure(batches.map(finish, num_parallel_calls=PARALLEL_CALLS).prefetch(2))
