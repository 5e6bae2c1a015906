"""`tf.train.SequenceExample`: features of a whole sequence (the context), and lists of them, one for each step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from framework.features import Feature, from_storage, to_storage


def is_sequence(feature: Feature) -> bool:
    """Whether a feature has one value a step: its first axis varies."""
    return bool(feature.shape) and feature.shape[0] is None


def parse_sequence_examples(
    serialized: tf.Tensor, features: Mapping[str, Feature], *, names: tf.Tensor | None = None
) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    """Parses a batch of serialized `tf.train.SequenceExample` protos.

    Args:
        serialized: string `[batch]`.
        features: What to read: one whose first axis is `None` is a feature list, any other one is of the context.
        names: string `[batch]`: where each proto comes from, for TensorFlow's messages.

    Returns:
        `{name: [batch, *shape]}` in the features' own dtypes, feature lists zero-padded to the longest of the batch;
        and int64 `[batch]`, the steps that each example has.

    Raises:
        tf.errors.InvalidArgumentError: A proto is malformed, lacks a feature or holds another type or number of values,
            or its feature lists have different numbers of steps.
    """
    context = {name: feature.parse_spec() for name, feature in features.items() if not is_sequence(feature)}
    lists = {
        name: tf.io.FixedLenSequenceFeature(feature.shape[1:], feature.storage_dtype)
        for name, feature in features.items()
        if is_sequence(feature)
    }
    of_context, of_steps, lengths = tf.io.parse_sequence_example(serialized, context, lists, example_names=names)
    (first, length), *others = lengths.items()
    checks = []
    for name, other in others:
        message = f"Feature list '{name}' has the wrong length: expected as many steps as '{first}' has; got, expected:"
        checks.append(tf.debugging.Assert(tf.reduce_all(other == length), [message, other, length], summarize=8))
    with tf.control_dependencies(checks):
        parsed = {
            name: from_storage(of_steps[name] if is_sequence(feature) else of_context[name], feature, name)
            for name, feature in features.items()
        }
        return parsed, tf.identity(length)


def serialize_sequence_examples(
    values: Mapping[str, Any], features: Mapping[str, Feature], length: np.ndarray | None = None
) -> np.ndarray:
    """The opposite of `parse_sequence_examples`: a batch as serialized protos, bytes objects `[batch]`.

    Args:
        values: `{name: [batch, ...]}`; without `length`, of a feature list one array `[time, ...]` for each example.
        features: What they are.
        length: Steps of each example, integer `[batch]`; what comes after them is padding.

    Raises:
        ValueError: Feature lists of an example have different numbers of steps, or fewer than `length` says.
    """
    protos = []
    for row in range(len(values[next(iter(features))])):
        context, lists = {}, {}
        counts = {} if length is None else {"length": int(length[row])}
        for name, feature in features.items():
            value = values[name][row]
            if is_sequence(feature):
                steps = value if length is None else value[: int(length[row])]
                lists[name] = tf.train.FeatureList(feature=[to_storage(step, feature) for step in steps])
                counts[name] = len(steps)
            else:
                context[name] = to_storage(value, feature)
        if len(set(counts.values())) > 1:
            raise ValueError(f"All feature lists of an example have the same number of steps; got {counts}.")
        proto = tf.train.SequenceExample(
            context=tf.train.Features(feature=context), feature_lists=tf.train.FeatureLists(feature_list=lists)
        )
        protos.append(proto.SerializeToString(deterministic=True))
    return np.array(protos, dtype=object)
