"""Stages that the training and the evaluation pipeline share."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import tensorflow as tf

from framework.data.bad_examples import BadExampleError
from framework.data.decoding import decode_good, encoded_names
from framework.data.pipeline import Pipeline
from framework.data.python_calls import numpy_function
from framework.data.sources import Example

# Explicit: tf.data's autotune can block for seconds when an iterator of a small fit is torn down. Batches come in the
# same order, however many are made at a time; each of them is held in memory.
PARALLEL_CALLS = min(max(os.cpu_count() or 2, 2), 16)


def raw_examples(
    pipeline: Pipeline, phase: str, indices: tf.Tensor, example: Example, seeds: tf.Tensor | None = None
) -> Example:
    """Decodes a batch of stored examples; it is returned as it is where nothing is encoded.

    Args:
        pipeline: Whose `decode`, or with seeds `decode_training`, is called.
        phase: Of the split that the batch is from.
        indices: int64 `[batch]`, of its examples in the split.
        example: The batch.
        seeds: int64 `[batch, 2]` in training.

    Raises:
        tf.errors.InvalidArgumentError: (when run) An example can't be decoded; the message says where it lies.
    """
    names = encoded_names(example.features, pipeline.features)
    if not names:
        return example
    source = pipeline.require_source(phase)
    decode = pipeline.decode if seeds is None else pipeline.decode_training
    features, is_good = decode_good(example.features, pipeline.features, decode, seeds=seeds)

    def name_bad(indices: np.ndarray, is_good: np.ndarray) -> np.ndarray:
        # No TensorFlow here: an operation that waits for a thread of the pool that this very call occupies would hang.
        places = ", ".join(source.place(int(index)) for index in indices[~is_good])
        kind = type(pipeline.features[names[0]]).__name__.lower()
        raise BadExampleError(f"{places}: undecodable {kind} (feature {' or '.join(map(repr, names))})")

    checked = tf.cond(
        tf.reduce_all(is_good),
        lambda: is_good,
        lambda: numpy_function(name_bad, [indices, is_good], tf.bool, stateful=True),
    )
    with tf.control_dependencies([checked]):
        return Example({name: tf.identity(value) for name, value in features.items()}, example.labels, example.weights)


def model_inputs(pipeline: Pipeline, example: Example) -> tuple[Any, ...]:
    """Preprocesses a batch; what remains is what Keras' `fit` and `evaluate` unpack."""
    inputs = pipeline.preprocess(dict(example.features))
    if not hasattr(example.weights, "shape"):  # None, which tf.data carries as an optional
        return inputs, example.labels
    return inputs, example.labels, example.weights


def configure(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Sets what every pipeline's dataset needs: deterministic order and no autotune."""
    options = tf.data.Options()
    options.deterministic = True
    options.autotune.enabled = False
    # Batches already have the size they should; a strategy mustn't guess from files it doesn't see.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return dataset.with_options(options)
