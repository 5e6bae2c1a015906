"""Pipelines for people whose data already lie in memory, or already are tf.data datasets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from framework.data.phases import PHASES, TEST, TRAIN, VALIDATION
from framework.data.pipeline import Pipeline
from framework.data.sources import ArraySource, DatasetSource, Source, feature_specs
from framework.data.splits import split_source
from framework.features import check_names
from framework.tasks.classification import BinaryClassification, Classification
from framework.tasks.infer import infer_task
from framework.tasks.task import Task

Preprocess = Callable[[dict[str, tf.Tensor]], dict[str, tf.Tensor]]
Augment = Callable[[dict[str, tf.Tensor], Any, tf.Tensor], tuple[dict[str, tf.Tensor], Any]]


class ReadyMadePipeline(Pipeline):
    """A pipeline put together from parts instead of by subclassing.

    Args:
        sources: The splits, `{phase: Source}`; `"train"` must be there.
        task: What is predicted.
        preprocess: As `Pipeline.preprocess`, without self.
        augment: As `Pipeline.augment`, without self.
    """

    def __init__(
        self,
        sources: Mapping[str, Source],
        task: Task,
        preprocess: Preprocess | None = None,
        augment: Augment | None = None,
    ):
        unknown = set(sources) - set(PHASES)
        if unknown or TRAIN not in sources:
            raise ValueError(f"Splits must be among {PHASES} with 'train' present, got {sorted(sources)}.")
        self.features = feature_specs(sources[TRAIN])
        check_names(self.features, "The training data")
        self.task = task
        self._sources = dict(sources)
        self._preprocess = preprocess
        self._augment = augment

    def source(self, phase: str) -> Source | None:
        return self._sources.get(phase)

    def preprocess(self, features):
        return self._preprocess(features) if self._preprocess else features

    def augment(self, features, labels, seeds):
        return self._augment(features, labels, seeds) if self._augment else (features, labels)


def pipeline_from_arrays(
    features: Any,
    labels: Any,
    *,
    validation: Any = 0.1,
    test: Any = None,
    task: Task | None = None,
    preprocess: Preprocess | None = None,
    augment: Augment | None = None,
    split_seed: int = 0,
) -> Pipeline:
    """A pipeline over NumPy arrays or a DataFrame.

    Args:
        features: One array `[examples, ...]` (it is then named `"features"`), a dict of named ones, or a DataFrame
            (one feature for each column).
        labels: `[examples, ...]`, where a last axis of length 1 may be left out or not; a column's name in the
            DataFrame; names of classes are numbered in sorted order; a dict of arrays for a `Heads` task.
        validation: A share to split off at random (stratified by class where labels are classes), a pair
            `(features, labels)`, a DataFrame where `labels` names a column, or `None` for no validation.
        test: The same for the test split.
        task: By default told from the labels: see `framework.tasks.infer_task`.
        preprocess: As `Pipeline.preprocess`, without self.
        augment: As `Pipeline.augment`, without self.
        split_seed: Decides which examples are split off.

    Raises:
        ValueError: Shares that leave nothing to train on, no examples, arrays of different lengths, a name that no
            feature can have, no such column, a class that the task doesn't have.
        TypeError: Arrays of a kind TensorFlow has no dtype for, a split that is none of the above, a task that text
            labels can't have.
    """
    splits = {TRAIN: _named_arrays(features, labels)}
    shares = {}
    for phase, given in ((VALIDATION, validation), (TEST, test)):
        if isinstance(given, (int, float)):
            if not 0 < given < 1:
                raise ValueError(f"The share of the {phase} split must be in (0, 1), got {given}. None means no split.")
            shares[phase] = float(given)
        elif isinstance(given, (tuple, list)) and len(given) == 2:
            splits[phase] = _named_arrays(*given)
        elif hasattr(given, "columns") and isinstance(labels, str):
            splits[phase] = _named_arrays(given, labels)
        elif given is not None:
            raise TypeError(
                f"{phase} must be a share, a pair (features, labels), a DataFrame where labels= names a column, or "
                f"None; got {type(given).__name__}."
            )
    task, splits = _settle_task(task, splits)
    arrays = {phase: ArraySource(*split) for phase, split in splits.items()}
    shares[TRAIN] = 1.0 - sum(shares.values())
    # By class where there are classes; integers may as well be amounts.
    stratify = isinstance(task, (Classification, BinaryClassification))
    divided = split_source(arrays[TRAIN], shares, stratify=stratify, seed=split_seed)
    sources: dict[str, Source] = {**arrays, **divided}
    return ReadyMadePipeline(sources, task, preprocess, augment)


def pipeline_from_datasets(
    train: tf.data.Dataset,
    *,
    task: Task,
    validation: tf.data.Dataset | None = None,
    test: tf.data.Dataset | None = None,
    batched: bool = False,
    num_examples: Mapping[str, int] | None = None,
    shuffle_buffer: int = 10_000,
    preprocess: Preprocess | None = None,
    augment: Augment | None = None,
) -> Pipeline:
    """A pipeline over tf.data datasets of (features, labels) or (features, labels, weights).

    Args:
        train: One epoch of training examples in an order that doesn't change: leave `shuffle` and `repeat` out.
        task: What is predicted.
        validation: The validation split.
        test: The test split.
        batched: Whether the datasets' elements are batches.
        num_examples: `{phase: length}` where tf.data can't tell; otherwise those are counted by reading them once.
        shuffle_buffer: Examples among which the next one of an epoch is drawn.
        preprocess: As `Pipeline.preprocess`, without self.
        augment: As `Pipeline.augment`, without self.
    """
    num_examples = num_examples or {}
    sources: dict[str, Source] = {
        phase: DatasetSource(
            dataset, batched=batched, num_examples=num_examples.get(phase), shuffle_buffer=shuffle_buffer
        )
        for phase, dataset in ((TRAIN, train), (VALIDATION, validation), (TEST, test))
        if dataset is not None
    }
    return ReadyMadePipeline(sources, task, preprocess, augment)


def _named_arrays(features: Any, labels: Any) -> tuple[dict[str, Any], Any]:
    """`({name: array}, labels)` from what people have."""
    if hasattr(features, "columns"):  # a DataFrame, of pandas or of another library with the same protocol
        columns = {str(name): np.asarray(features[name]) for name in features.columns}
        if isinstance(labels, str):
            if labels not in columns:
                raise ValueError(f"There is no column {labels!r} for the labels; columns: {sorted(columns)}.")
            labels = columns.pop(labels)
        return columns, np.asarray(labels)
    if not isinstance(features, Mapping):
        features = {"features": features}
    named = {str(name): value for name, value in features.items()}
    if isinstance(labels, Mapping):
        return named, {str(head): np.asarray(value) for head, value in labels.items()}
    return named, np.asarray(labels)


def _settle_task(task: Task | None, splits: dict[str, tuple]) -> tuple[Task, dict[str, tuple]]:
    """The task, told from the labels where it isn't given, and the splits with named classes numbered."""
    train_labels = splits[TRAIN][1]
    if isinstance(train_labels, Mapping):
        if task is None:
            raise TypeError("Labels are a dict: give task=framework.tasks.Heads({head: task, ...}).")
        return task, splits
    if train_labels.shape[1:] == (1,) and (task is None or task.label.shape == ()):
        splits = {phase: (features, np.squeeze(labels, -1)) for phase, (features, labels) in splits.items()}
        train_labels = splits[TRAIN][1]
    if train_labels.dtype.kind not in "UO":
        return task or infer_task(train_labels), splits
    names = getattr(task, "class_names", None) or sorted({str(label) for label in train_labels})
    if task is None:
        task = Classification(class_names=names)
    elif not isinstance(task, (Classification, BinaryClassification)):
        raise TypeError(
            f"The labels are text such as {str(train_labels[0])!r}, which {type(task).__name__} can't take."
        )
    ids = {name: index for index, name in enumerate(names)}
    return task, {phase: (features, _number(labels, ids, phase)) for phase, (features, labels) in splits.items()}


def _number(labels: np.ndarray, ids: Mapping[str, int], phase: str) -> np.ndarray:
    unknown = sorted({str(label) for label in labels} - set(ids))
    if unknown:
        raise ValueError(f"Labels in {phase} that aren't among the task's classes {sorted(ids)}: {unknown[:10]}.")
    return np.asarray([ids[str(label)] for label in labels], np.int64)
