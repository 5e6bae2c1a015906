"""Stages that the training and the evaluation pipeline share."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from framework.data.pipeline import Pipeline
from framework.data.sources import Example

# Explicit: tf.data's autotune can block for seconds when an iterator of a small fit is torn down.
PARALLEL_CALLS = 2


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
