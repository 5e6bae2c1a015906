"""A pipeline over a data set of another library, of which `tfds` and `hf` are forms."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf
from absl import logging

from framework.data.adapters.foreign import Aspect, Field, ForeignDataSet
from framework.data.phases import PHASES, SPLIT_NAMES, TEST, TRAIN, VALIDATION
from framework.data.pipeline import Pipeline
from framework.data.sources import Source
from framework.data.splits import choose
from framework.data.tables.columns import Column, feature_names, renamed
from framework.data.tables.division import Division, check_sample
from framework.data.tables.encoding import Encoding
from framework.data.tables.labels import Labels, read_labels
from framework.data.tables.scanning import BOOLEAN, CATEGORICAL, IMAGE, KINDS, NUMERIC, TEXT, ColumnScan
from framework.features import Feature
from framework.media import Image
from framework.registry import did_you_mean
from framework.tasks.classification import BinaryClassification, Classification
from framework.tasks.task import Task

# What a column may be taken for, if somebody says so.
_ALTERNATIVES = {NUMERIC: (CATEGORICAL,), TEXT: (CATEGORICAL,), CATEGORICAL: (NUMERIC,)}


@dataclasses.dataclass(frozen=True)
class Choice:
    """What of a data set is used, and as what.

    Attributes:
        label: The label's column; by default what the data set says, or its only column of classes.
        columns: The features' columns; by default all others that can be used.
        types: `{column: kind}`: `"categorical"` for texts or integers that are categories.
        image_size: Of images, `(height, width)` or `(height, width, channels)`.
        aspect: See `framework.Image`.
        task: A name in `framework.data.tables.labels.TASKS`, or `None` to tell it from the label.
        splits: `{phase: split}`, where a split has another name than the usual ones.
    """

    label: str | None = None
    columns: Sequence[str] | None = None
    types: Mapping[str, str] = dataclasses.field(default_factory=dict)
    image_size: Sequence[int] | None = None
    aspect: Aspect = "stretch"
    task: str | None = None
    splits: Mapping[str, str] | None = None


class ForeignPipeline(Pipeline):
    """Columns of a data set, each of which is encoded by its kind.

    Args:
        data: The data set.
        choice: What of it is used.
        division: How a training split is divided where there is no other. A share is of that split, and counts only
            where the data set has none of that phase.
        encoding: What the model gets of a column.

    Raises:
        ValueError: There is no such column or split, or it can't be used as what is said.
    """

    def __init__(self, data: ForeignDataSet, choice: Choice, division: Division, encoding: Encoding):
        splits = _settle_splits(data, choice.splits)
        label = choice.label if choice.label is not None else data.only_label()
        data.check_column(label, "label=")
        self.columns = _choose(data, choice, label)
        if choice.columns is None and data.unusable:
            logging.info("Columns of %s that are left out, since they can't be used: %s.", data.place, data.unusable)
        self.features = {column.name: column.feature for column in self.columns}
        self.renamed = renamed(self.columns)
        self._encoding = encoding
        fields = {column.name: Field(column.title, column.feature) for column in self.columns}
        values = {phase: data.values(split, label) for phase, split in splits.items()}
        labels = _settle_labels(data, values[TRAIN], label, choice.task)
        self.task = labels.task
        sources = {phase: data.source(split, fields, label, labels) for phase, split in splits.items()}
        classes = {phase: _class_ids(values[phase], label, labels) for phase in splits}
        division = dataclasses.replace(
            division,
            validation=0.0 if VALIDATION in splits else division.validation,
            test=0.0 if TEST in splits else division.test,
        )
        indices = division.divide(classes[TRAIN])
        for phase in splits.keys() - {TRAIN}:
            indices[phase] = division.sampled(phase, np.arange(len(classes[phase])), classes[phase])
        check_sample(division.sample, indices)
        self._sources: dict[str, Source] = {
            phase: _part(sources[phase if phase in splits else TRAIN], indices[phase])
            for phase in PHASES
            if phase in indices
        }

    def source(self, phase):
        return self._sources.get(phase)

    def learn(self, train):
        # Not from `train`, for which every image would be decoded: nothing is learned of them.
        batch_size = 64 if any(column.feature.is_encoded for column in self.columns) else 1024
        return self._encoding.learn(self.require_source(TRAIN).batches(batch_size), self.columns)

    def preprocess(self, features):
        return {
            column.name: self._encoding.encode(column, _as_numbers(column, features[column.name]), self.statistics)
            for column in self.columns
        }


def _settle_splits(data: ForeignDataSet, given: Mapping[str, str] | None) -> dict[str, str]:
    """`{phase: split}`."""
    if given is not None:
        unknown = [phase for phase in given if phase not in PHASES]
        if unknown or TRAIN not in given:
            raise ValueError(f"splits= maps {', '.join(PHASES)} to the splits of the data set, got {dict(given)}.")
        for split in given.values():
            if split not in data.splits:
                raise ValueError(
                    f"{data.place} has no split {split!r}.{did_you_mean(split, data.splits)} It has {[*data.splits]}."
                )
        return {phase: given[phase] for phase in PHASES if phase in given}
    found = {phase: [name for name in names if name in data.splits] for phase, names in SPLIT_NAMES.items()}
    if not found[TRAIN]:
        raise ValueError(f"{data.place} has the splits {[*data.splits]}: say which is which, splits={{'train': ...}}.")
    return {phase: names[0] for phase, names in found.items() if names}


def _choose(data: ForeignDataSet, choice: Choice, label: str) -> list[Column]:
    titles = list(choice.columns) if choice.columns else [title for title in data.columns if title != label]
    for title in titles:
        data.check_column(title, "columns=")
    if label in titles:
        raise ValueError(f"The label {label!r} is among columns=: every signature would ask for it.")
    if not titles:
        raise ValueError(f"{data.place} has no column but the label {label!r} that can be used: {data.unusable}.")
    for title, kind in choice.types.items():
        if title not in titles or kind not in KINDS:
            raise ValueError(f"types= has {title!r}: {kind!r}; columns are {titles}, kinds {', '.join(KINDS)}.")
    names = feature_names(titles)
    chosen = []
    for title in titles:
        column = data.columns[title]
        feature = column.resized(choice.image_size, choice.aspect)
        natural = _kind(feature, column.class_names is not None)
        kind = choice.types.get(title, natural)
        if kind not in (natural, *_ALTERNATIVES.get(natural, ())):
            raise ValueError(f"Column {title!r} of {data.place} is {natural}; it can't be {kind}.")
        if kind == CATEGORICAL and feature.dtype != "string":
            if not tf.as_dtype(feature.dtype).is_integer:
                raise ValueError(f"Column {title!r} of {data.place} is {feature.dtype}; floats are no categories.")
            feature = Feature(feature.shape, "int64")  # what a lookup takes
        chosen.append(Column(names[title], title, kind, feature, 0, title in choice.types))
    return chosen


def _kind(feature: Feature, is_class: bool) -> str:
    if isinstance(feature, Image):
        return IMAGE
    if is_class:
        return CATEGORICAL
    return {"string": TEXT, "bool": BOOLEAN}.get(feature.dtype, NUMERIC)


def _settle_labels(data: ForeignDataSet, values: np.ndarray, label: str, task: str | None) -> Labels:
    column = data.columns[label]
    if column.feature.shape or column.feature.is_encoded:
        raise ValueError(f"The label {label!r} of {data.place} is {column.feature}; expected one number or text.")
    settled: Task | str | None = task
    if column.class_names is not None and task in (None, "classification"):
        settled = Classification(class_names=column.class_names)
    elif column.class_names is not None and task == "binary":
        settled = BinaryClassification(class_names=column.class_names)
    scan = ColumnScan(typed=True)
    scan.update(values.tolist())
    labels = read_labels([label], {label: scan}, settled, ())
    if column.class_names is not None and isinstance(settled, Task):
        # The ids stand in the data, the names beside them.
        ids = {str(number): number for number in range(len(column.class_names))}
        labels = dataclasses.replace(labels, class_of=ids)
    return labels


def _class_ids(values: np.ndarray, label: str, labels: Labels) -> np.ndarray:
    """Class ids `[examples]`, by which splits are stratified; zeros where there are no classes."""
    if not isinstance(labels.task, (Classification, BinaryClassification)):
        return np.zeros(len(values), np.int64)
    ids, _ = labels.parse({label: values.tolist()})
    return ids


def _part(source: Source, indices: np.ndarray) -> Source:
    return source if len(indices) == source.num_examples else choose(source, indices)


def _as_numbers(column: Column, values: tf.Tensor) -> tf.Tensor:
    return tf.cast(values, tf.float32) if column.kind == NUMERIC else values
