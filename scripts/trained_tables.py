"""What an export says of the tables that its model was trained on, so that others like them can be sent to it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from framework.data.tables.text_files import guess_delimiter
from framework.features import as_identifier


@dataclasses.dataclass(frozen=True)
class TrainedTables:
    """How tables are read; by default as such of which nothing is known.

    Attributes:
        renamed: `{feature: column}` where a column's name can't be a feature's.
        missing: Cells that stand for a missing number; none where the model may not take missing ones.
        images: Features whose cells are paths.
        root: What these are relative to, where it isn't the table's folder.
        delimiter: Of CSV, where a person had to say it.
    """

    renamed: Mapping[str, str] = dataclasses.field(default_factory=dict)
    missing: Collection[str] = ()
    images: Collection[str] = ()
    root: str | None = None
    delimiter: str | None = None

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> TrainedTables:
        """What a manifest says, which may be empty."""
        renamed = manifest.get("renamed") or {}
        options = ((manifest.get("configuration") or {}).get("pipeline") or {}).get("options") or {}
        if not isinstance(options.get("missing"), list):  # as the pipelines of tables have it, and they alone
            return cls(renamed)
        features = (manifest.get("pipeline") or {}).get("features") or {}
        return cls(
            renamed,
            missing=frozenset(["", *options["missing"]]),
            images=frozenset(name for name, feature in features.items() if feature.get("encoded") == "image"),
            root=options.get("root"),
            delimiter=options.get("delimiter"),
        )

    def delimiter_of(self, name: str, line: str) -> str:
        """The delimiter of a CSV file, by its name and first line."""
        return self.delimiter if self.delimiter and self.delimiter in line else guess_delimiter(name, line)

    def folder(self, name: str) -> str:
        """What paths of images in a file are relative to."""
        return os.path.dirname(name) if self.root is None else os.path.expanduser(self.root)

    def titles(self, features: Iterable[str], there: Sequence[str]) -> dict[str, str]:
        """Which of a table's columns each feature is: `{feature: column}`, itself where there is none.

        Columns are called as in training, or as the features are, or so that their names would become these.
        """
        named = {feature: self.renamed.get(feature, feature) for feature in features}
        if set(named.values()) <= set(there):
            return named
        like = {as_identifier(column): column for column in reversed(there)}
        return {
            feature: feature if feature in there else title if title in there else like.get(feature, feature)
            for feature, title in named.items()
        }
