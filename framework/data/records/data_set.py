"""A data set of records as it lies there: its own description, or what somebody says of it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

from framework.data.records.finding import find_splits, seen_keys
from framework.data.records.schema import Schema
from framework.data.records.sidecar import Shard, Sidecar
from framework.data.records.source import RecordSource


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
    ) -> DataSet:
        """Finds a data set.

        Args:
            path: A directory with a `dataset.json`, or what `find_splits` takes.
            features: See `Schema.parse_description`; needed where there is no `dataset.json`, and used instead of what
                it says otherwise. So are `labels` and `weights`.
            labels: See there.
            weights: See there.

        Raises:
            FileNotFoundError: There are no such files.
            ValueError: Nobody says what is in the files; the message says what seems to be.
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
        if features is not None and labels is not None:
            return cls(Schema.parse_description(features, labels, weights), files, sidecar)
        if sidecar is None or features is not None or labels is not None:
            first = next(iter(files.values()))
            raise ValueError(
                f"Nobody says what is in {path}: give features= and labels=, such as features={{'image': 'image(224, "
                f"224, 3) from image/encoded'}} and labels='int64 from label'. There seem to be {seen_keys(first)}."
            )
        return cls(sidecar.schema, files, sidecar)

    def shards(self, split: str) -> tuple[Shard, ...] | None:
        """What is written down of a split's files, if anything is."""
        return self.sidecar.splits[split].shards if self.sidecar else None

    def split_schema(self, split: str) -> Schema:
        """The schema of one split: without weights where it has none."""
        has_weights = self.sidecar is None or self.sidecar.splits[split].weighted
        return self.schema if has_weights else dataclasses.replace(self.schema, weights=None)

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
