"""The evaluation pipeline: every example of a split exactly once, in order, never augmented."""

from __future__ import annotations

import tensorflow as tf

from framework.data.pipeline import Pipeline
from framework.data.stages import PARALLEL_CALLS, configure, model_inputs


def eval_dataset(pipeline: Pipeline, phase: str, *, batch_size: int) -> tf.data.Dataset:
    """Batches `(inputs, labels)` or `(inputs, labels, weights)` of a split, with a known number of them.

    Args:
        pipeline: Must have learned its statistics.
        phase: `"train"`, `"validation"` or `"test"`; the training split is read without augmentation here.
        batch_size: Examples of a batch; the last one may be smaller.

    Raises:
        ValueError: The pipeline has no such split.
    """
    batches = pipeline.require_source(phase).batches(batch_size)
    inputs = batches.map(lambda example: model_inputs(pipeline, example), num_parallel_calls=PARALLEL_CALLS)
    return configure(inputs.prefetch(2))
