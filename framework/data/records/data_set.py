"""A data set of records as it lies there: its own description, or what somebody says of it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf
from absl import logging

from framework.data.bad_examples import BadExample, BadExampleError, BadExamples
from framework.data.phases import TRAIN
from framework.data.records.finding import find_splits, seen_keys
from framework.data.records.labels import read_labels
from framework.data.records.schema import Field, Schema
from framework.data.records.sequence_schema import SequenceSchema, infer_features
from framework.data.records.sidecar import Shard, Sidecar
from framework.data.records.source import RecordSource
from framework.data.records.task import parse_task, task_of_label
from framework.data.sources import Source
from framework.data.splits import split_source
from framework.data.tables.labels import read_labels as labels_of_columns
from framework.data.tables.scanning import ColumnScan
from framework.features import Feature
from framework.registry import did_you_mean
from framework.tasks.classification import BinaryClassification, Classification
from framework.tasks.heads import Heads
from framework.tasks.task import Task

_TEXT = Feature((), "string")


@dataclasses.dataclass(frozen=True)
class DataSet:
    """The files of each split, and what is in them.

    Attributes:
        schema: Of all splits; the weights among it may be missing in some.
        files: `{split: paths}`.
        sidecar: What is written down of them, if anything is.
        policy: What becomes of files that end within a record or have a damaged length; see `RecordSource`.
    """

    schema: Schema
    files: Mapping[str, Sequence[str]]
    sidecar: Sidecar | None = None
    policy: BadExamples = BadExamples()  # noqa: RUF009  frozen

    @classmethod
    def find(
        cls,
        path: str | os.PathLike[str] | Mapping[str, str],
        features: Mapping[str, Any] | None = None,
        labels: Any = None,
        weights: Any = None,
        *,
        kind: type[Schema] | None = Schema,
        policy: BadExamples | None = None,
    ) -> DataSet:
        """Finds a data set.

        Args:
            path: A directory with a `dataset.json`, or what `find_splits` takes.
            features: See `Schema.parse_description`; needed where there is no `dataset.json`, and used instead of what
                it says otherwise. So are `labels` and `weights`. Those of sequences are by default what is seen.
            labels: See there.
            weights: See there.
            kind: Of what protos the records are; `None` for what `dataset.json` says, and `tf.Example`s elsewhere.
            policy: See the class.

        Raises:
            FileNotFoundError: There are no such files.
            ValueError: Nobody says what is in the files, and the message says what seems to be; or it is protos of
                another kind.
        """
        sidecar = None
        if not isinstance(path, Mapping):
            path = os.fspath(path)
            if Sidecar.exists(path):
                sidecar = Sidecar.load(path)
        if sidecar is None:
            files = find_splits(path)
        else:
            splits = sidecar.splits.items()
            files = {name: [os.path.join(path, shard.file) for shard in split.shards] for name, split in splits}  # type: ignore[arg-type]
        kind = kind or (type(sidecar.schema) if sidecar else Schema)
        if sidecar is not None and (features is None or labels is None):
            if type(sidecar.schema) is not kind:
                raise ValueError(
                    f"The records in {path} are {sidecar.schema.proto}, expected {kind.proto}: the pipelines 'records' "
                    "and 'sequences' are for one of them each."
                )
            said = sidecar.schema.describe()
            features, labels = features or said["features"], labels or said["labels"]
            weights = weights or said["weights"]
        elif features is None and labels is not None and kind is SequenceSchema:
            features = infer_features(next(iter(files.values())), labels, weights)
        if features is None or labels is None:
            raise ValueError(
                f"Nobody says what is in {path}: give features= and labels=, such as features={{'image': 'image(224, "
                "224, 3) from image/encoded'} and labels='int64 from label'. There seem to be "
                f"{seen_keys(next(iter(files.values())))}."
            )
        schema = kind.parse_description(features, labels, weights)
        if sidecar is None and kind is Schema:
            _check_keys(schema, next(iter(files.values())))
        return cls(schema, files, sidecar, policy or BadExamples())

    def shards(self, split: str) -> tuple[Shard, ...] | None:
        """What is written down of a split's files, if anything is."""
        return self.sidecar.splits[split].shards if self.sidecar else None

    def split_schema(self, split: str) -> Schema:
        """The schema of one split: without weights where it has none."""
        if self.sidecar is None or self.sidecar.splits[split].weighted:
            return self.schema
        # Of weights that somebody names himself the sidecar knows nothing.
        is_named = self.schema.weights != self.sidecar.schema.weights
        return self.schema if is_named else dataclasses.replace(self.schema, weights=None)

    def task(
        self,
        given: Mapping[str, Any] | Task | None = None,
        *,
        num_classes: int | None = None,
        class_names: Sequence[str] | None = None,
    ) -> Task:
        """The task: as it is given, as the data set says, or as the label speaks for.

        Of a label that is text the classes are all those that the training split has, sorted, where nobody names them.
        That takes a pass over its records, whose result is kept.

        Args:
            given: A task, or its description; see `parse_task`.
            num_classes: See `task_of_label`.
            class_names: See there.

        Raises:
            ValueError: There is no such task, or nobody tells.
        """
        said = self.sidecar.task if self.sidecar and num_classes is None and class_names is None else None
        task = given if isinstance(given, Task) else parse_task(given or said) if given or said else None  # type: ignore[arg-type]
        label = self.schema.structure(lambda field: field.feature).labels
        if label == _TEXT and task is None and class_names is None:
            class_names = self._learn_classes("classification")
        if task is None:
            return task_of_label(label, num_classes=num_classes, class_names=class_names)
        if label == _TEXT and isinstance(task, (Classification, BinaryClassification)) and task.class_names is None:
            kind = "binary" if isinstance(task, BinaryClassification) else "classification"
            return dataclasses.replace(task, class_names=class_names or self._learn_classes(kind))
        return task

    def _learn_classes(self, task: str) -> Sequence[str]:
        label = self.schema.labels
        if TRAIN not in self.files or not isinstance(label, Field):
            raise ValueError("The label is text, and there is no training split to learn its classes from: name them.")
        scan = ColumnScan(typed=True)
        scan.update(read_labels(self.source(TRAIN)).values.tolist())
        return labels_of_columns([label.key], {label.key: scan}, task, ()).task.class_names  # type: ignore[attr-defined]

    def labelled(self, task: Task) -> DataSet:
        """The same with class ids for labels where they are text.

        Raises:
            ValueError: There is such a label, and the task has no classes with names for it.
        """
        labels = self.schema.labels
        if isinstance(labels, Field):
            named: Any = _with_classes(labels, task)
        else:
            tasks = task.tasks if isinstance(task, Heads) else {}
            named = {head: _with_classes(field, tasks.get(head)) for head, field in labels.items()}
        return dataclasses.replace(self, schema=dataclasses.replace(self.schema, labels=named))

    def source(self, split: str, *, shuffle_buffer: int = 10_000) -> RecordSource:
        """The examples of a split.

        Raises:
            LookupError: There is no such split.
            ValueError: A file isn't the one that the sidecar describes.
            BadExampleError: A file is broken, which isn't to be skipped, or more is lost by it than may be.
        """
        if split not in self.files:
            raise LookupError(f"There is no split {split!r}; there are {sorted(self.files)}.")
        source = RecordSource(
            self.files[split],
            self.split_schema(split),
            shards=self.shards(split),
            shuffle_buffer=shuffle_buffer,
            skip_broken=self.policy.on_error == "skip",
        )
        if source.lost_share > self.policy.max_share:
            raise BadExampleError(
                f"{source.left_out[0]}: {source.lost_share:.2%} of the {split} split can't be read. At most a share of "
                f"{self.policy.max_share:g} is skipped: repair the data, or raise it."
            )
        return source

    def sources(
        self, shares: Mapping[str, float], *, seed: int = 0, shuffle_buffer: int = 10_000
    ) -> tuple[dict[str, Source], list[BadExample]]:
        """The examples of all splits, and what is left out of them since files are broken.

        Args:
            shares: `{split: share}` of the training split, to split off where there are no files: at random, every
                class by its share where the label is a class. Labels are read in a pass, whose result is kept.
            seed: See `split_source`.
            shuffle_buffer: See `RecordSource`.

        Raises:
            ValueError: See `source` and `split_source`.
        """
        found = {split: self.source(split, shuffle_buffer=shuffle_buffer) for split in self.files}
        left_out = [example for source in found.values() for example in source.left_out]
        for example in left_out:
            logging.warning("Left out: %s", example)
        sources: dict[str, Source] = {**found}
        missing = {split: share for split, share in shares.items() if share and split not in found}
        if missing and TRAIN in found:
            classes = read_labels(found[TRAIN]).places if _is_class(self.schema.labels) else None
            parts = {TRAIN: 1.0 - sum(missing.values()), **missing}
            sources |= split_source(found[TRAIN], parts, stratify=classes is not None, labels=classes, seed=seed)
        return sources, left_out


def _check_keys(schema: Schema, paths: Sequence[str]) -> None:
    """Checks that there is what may be missing: nobody would notice a misspelt key, an empty list would be read."""
    optional = [key for key, feature in schema.listed.items() if None in feature.shape]
    try:
        seen = seen_keys(paths, lists=False) if optional else {}
    except ValueError:  # whoever reads these records will say so
        return
    for key in optional:
        if key not in seen and key in seen_keys(paths):
            raise ValueError(
                f"{key!r} is a feature list of tf.train.SequenceExamples in {paths[0]}: use the pipeline 'sequences'."
            )
        if key not in seen:
            near = did_you_mean(key, seen)
            logging.warning(
                "None of the first records in %s has the key %r.%s They have %s.", paths[0], key, near, seen
            )


def _is_class(label: Any) -> bool:
    """Whether a label may stand for a class: a single whole number, or yes or no."""
    if not isinstance(label, Field) or label.feature.shape:
        return False
    dtype = tf.as_dtype(label.feature.dtype)
    return dtype.is_integer or dtype.is_bool


def _with_classes(field: Field, task: Task | None) -> Field:
    if field.feature != _TEXT:
        return field
    names = getattr(task, "class_names", None)
    if names is None:
        raise ValueError(
            f"The label {field.key!r} is text, and nobody says which classes there are: the task is {task!r:.80}. Give "
            "class_names=, or a task that has them."
        )
    return dataclasses.replace(field, feature=Feature((), "int64"), class_names=tuple(names))
