"""A data set of records as it lies there: its own description, or what somebody says of it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

from framework.data.records.finding import find_splits, seen_keys
from framework.data.records.schema import Schema
from framework.data.records.sequence_schema import SequenceSchema, infer_features
from framework.data.records.sidecar import Shard, Sidecar
from framework.data.records.source import RecordSource
from framework.data.records.task import parse_task, task_of_label
from framework.tasks.task import Task


@dataclasses.dataclass(frozen=True)
class DataSet:
    """The files of each split, and what is in them.

    Attributes:
        schema: Of all splits; the weights among it may be missing in some.
        files: `{split: paths}`.
        sidecar: What is written down of them, if anything is.
    """

    schema: Schema
    files: Mapping[str, Sequence[str]]
    sidecar: Sidecar | None = None

    @classmethod
    def find(
        cls,
        path: str | os.PathLike[str] | Mapping[str, str],
        features: Mapping[str, Any] | None = None,
        labels: Any = None,
        weights: Any = None,
        *,
        kind: type[Schema] | None = Schema,
    ) -> DataSet:
        """Finds a data set.

        Args:
            path: A directory with a `dataset.json`, or what `find_splits` takes.
            features: See `Schema.parse_description`; needed where there is no `dataset.json`, and used instead of what
                it says otherwise. So are `labels` and `weights`. Those of sequences are by default what is seen.
            labels: See there.
            weights: See there.
            kind: Of what protos the records are; `None` for what `dataset.json` says, and `tf.Example`s elsewhere.

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
        return cls(kind.parse_description(features, labels, weights), files, sidecar)

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

        Args:
            given: A task, or its description; see `parse_task`.
            num_classes: See `task_of_label`.
            class_names: See there.

        Raises:
            ValueError: There is no such task, or nobody tells.
        """
        if isinstance(given, Task):
            return given
        said = self.sidecar.task if self.sidecar and num_classes is None and class_names is None else None
        if given or said:
            return parse_task(given or said)  # type: ignore[arg-type]
        label = self.schema.structure(lambda field: field.feature).labels
        return task_of_label(label, num_classes=num_classes, class_names=class_names)

    def source(self, split: str, *, shuffle_buffer: int = 10_000) -> RecordSource:
        """The examples of a split.

        Raises:
            LookupError: There is no such split.
            ValueError: A file isn't the one that the sidecar describes.
        """
        if split not in self.files:
            raise LookupError(f"There is no split {split!r}; there are {sorted(self.files)}.")
        return RecordSource(
            self.files[split], self.split_schema(split), shards=self.shards(split), shuffle_buffer=shuffle_buffer
        )
