"""Everything about the data that can be known to be wrong before step 0."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from framework.data.phases import PHASES, TRAIN
from framework.data.pipeline import Pipeline
from framework.data.sources import ArraySource, Source, feature_specs
from framework.features import Feature, check_names
from framework.registry import did_you_mean
from framework.tasks.task import Task

# Streams are checked on their beginning only: reading them whole could take as long as training.
_STREAM_EXAMPLES = 256


def check_pipeline(pipeline: Pipeline) -> None:
    """Checks what the pipeline declares against what its sources hold.

    Raises:
        TypeError: `features` isn't a dict of `Feature`s, or `task` isn't a task.
        ValueError: A name can't be a signature's argument, a raw feature is missing or has another shape or dtype than
            declared, or a label is out of range.
    """
    features = getattr(pipeline, "features", None)
    if not isinstance(features, Mapping) or not all(isinstance(feature, Feature) for feature in features.values()):
        raise TypeError(f"{pipeline.name}.features must be a dict of names to Features, got {features!r}.")
    if not features:
        raise ValueError(f"{pipeline.name}.features is empty; a model needs something to look at.")
    check_names(features, f"{pipeline.name}.features")
    if not isinstance(getattr(pipeline, "task", None), Task):
        raise TypeError(f"{pipeline.name} must define a task, such as task = framework.tasks.Classification(10).")
    for phase in PHASES:
        if phase == TRAIN or pipeline.has(phase):
            source = pipeline.require_source(phase)
            where = f"{pipeline.name}.source({phase!r})"
            _check_features(source, features, where)
            _check_labels(pipeline, source, where)


def _check_features(source: Source, declared: Mapping[str, Feature], where: str) -> None:
    found = feature_specs(source)
    for name, feature in declared.items():
        if name not in found:
            raise ValueError(
                f"{where} has no feature {name!r}.{did_you_mean(name, found)} It has {sorted(found)}; "
                f"the pipeline declares {sorted(declared)}."
            )
        got = found[name]
        if got == feature.stored:
            continue
        if got.dtype != feature.dtype:
            raise ValueError(
                f"Feature '{name}' of {where} has dtype {got.dtype}, the pipeline declares {feature.dtype}. "
                f"Convert the data (astype), or declare Feature({feature.shape}, {got.dtype!r})."
            )
        if not tf.TensorShape(got.shape).is_compatible_with(feature.shape):
            raise ValueError(
                f"Feature '{name}' of {where} has shape {got.shape}, the pipeline declares {feature.shape} "
                "(shapes are those of one example, without the batch axis)."
            )
    extra = sorted(set(found) - set(declared))
    if extra:
        raise ValueError(
            f"{where} has features that the pipeline doesn't declare: {extra}. A signature couldn't feed them; "
            "declare them in `features` or leave them out of the source."
        )


def _check_labels(pipeline: Pipeline, source: Source, where: str) -> None:
    if pipeline.bad_examples.on_error == "skip":
        return  # every example is looked at before step 0, its label too
    if isinstance(source, ArraySource):
        pipeline.task.check_labels(source.arrays.labels, where)
        weights = source.arrays.weights
        if weights is not None and (weights.shape != (source.num_examples,) or not np.all(weights >= 0)):
            raise ValueError(f"Weights of {where} must be non-negative [examples], got shape {weights.shape}.")
        return
    for example in source.batches(min(_STREAM_EXAMPLES, source.num_examples)).take(1):
        pipeline.task.check_labels(tf.nest.map_structure(lambda labels: labels.numpy(), example[1]), where)


def check_batch_size(batch_size: int, num_examples: int) -> None:
    """Checks that a batch can be filled.

    Raises:
        TypeError: Not an integer.
        ValueError: Not positive, or larger than the training split.
    """
    if isinstance(batch_size, bool) or not isinstance(batch_size, (int, np.integer)):
        raise TypeError(f"batch_size must be an integer, got {batch_size!r}.")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
    if batch_size > num_examples:
        raise ValueError(
            f"batch_size {batch_size} is larger than the training split ({num_examples} examples). "
            f"Use batch_size={num_examples} or less."
        )
