"""A pipeline over the rows of tables, of which `table`, `text` and `multimodal` are forms."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence

import numpy as np
from absl import logging

from framework.data.bad_examples import BadExamples
from framework.data.file_source import FileSource
from framework.data.phases import TRAIN
from framework.data.pipeline import Pipeline
from framework.data.sampling import Balanced
from framework.data.sources import Source
from framework.data.tables.blocks import Table
from framework.data.tables.columns import Choice, Roles, renamed
from framework.data.tables.division import Division, divide_rows
from framework.data.tables.encoding import Encoding
from framework.data.tables.loading import load
from framework.data.tables.rows import Rows, RowSource
from framework.tasks.classification import BinaryClassification, Classification
from framework.tasks.regression import Regression
from framework.tasks.task import Task


class TablePipeline(Pipeline):
    """Rows of named columns, each of which is encoded by its kind.

    Args:
        tables: `{phase: tables}`; those of `"train"` are divided.
        roles: Columns that are no features.
        choice: Columns that are.
        division: Which rows are for what.
        encoding: What the model gets of a column.
        task: A name in `framework.data.tables.labels.TASKS`, a task, or `None` to tell it from the labels.
        balance: Whether every class comes equally often in training.
        policy: What becomes of rows that can't be used.
        root: What paths of images are relative to.

    Attributes:
        columns: The features, and what they were made of.
    """

    def __init__(
        self,
        tables: Mapping[str, Sequence[Table]],
        roles: Roles,
        choice: Choice,
        division: Division,
        encoding: Encoding,
        *,
        task: Task | str | None = None,
        balance: bool = False,
        policy: BadExamples | None = None,
        root: str | None = None,
    ):
        policy = policy or BadExamples()
        loaded = load(tables, roles, choice, task, policy)
        self.columns = tuple(loaded.columns)
        self.features = {column.name: column.feature for column in self.columns}
        self.left_out = tuple(loaded.left_out)
        self.renamed = renamed(self.columns)
        self._encoding = encoding
        rows = divide_rows(loaded.rows, division, loaded.labels.task)
        self.task = loaded.labels.task if isinstance(task, Task) else _conditioned(loaded.labels.task, rows[TRAIN])
        in_memory = {phase: RowSource(part) for phase, part in rows.items()}
        self._train = in_memory[TRAIN]
        files = [column.name for column in self.columns if column.feature.is_encoded]
        # Rows have been looked at, files haven't.
        self.bad_examples = policy if files else BadExamples()
        must_exist = policy.on_error == "raise"
        self._sources: dict[str, Source] = {
            phase: _with_files(rows[phase], files, root, must_exist=must_exist) if files else source
            for phase, source in in_memory.items()
        }
        if balance:
            if not isinstance(self.task, (Classification, BinaryClassification)):
                raise ValueError(f"balance=True makes classes equally frequent, {type(self.task).__name__} has none.")
            self._sources[TRAIN] = Balanced(self._sources[TRAIN], rows[TRAIN].labels)

    def source(self, phase):
        return self._sources.get(phase)

    def learn(self, train):
        logging.info("%s", self.description())
        # Not from `train`, for which every image would be read and decoded: nothing is learned of them.
        skipped = self.skipped.get(TRAIN)
        rows = self._train.without(skipped) if skipped else self._train
        return self._encoding.learn(rows.batches(1024), self.columns)

    def preprocess(self, features):
        return {
            column.name: self._encoding.encode(column, features[column.name], self.statistics)
            for column in self.columns
        }

    def describe(self) -> list[tuple[str, ...]]:
        """A row of text for each column that is a feature: its name, kind, raw form, and what is missing."""
        return [
            (
                column.title,
                column.kind,
                "as given" if column.is_given else "inferred",
                f"{column.name}: {column.feature.stored.dtype}",
                f"{column.missing} missing" if column.missing else "complete",
            )
            for column in self.columns
        ]

    def description(self) -> str:
        """`describe` as one text."""
        lines = ["  ".join(row) for row in self.describe()]
        return "\n  ".join([f"{len(lines)} columns of {self.name} are features:", *lines])


def _with_files(rows: Rows, files: Sequence[str], root: str | None, *, must_exist: bool) -> FileSource:
    """Rows some features of which are paths, relative to `root` or to their own table's folder."""
    folders = [table.folder if root is None else os.path.expanduser(root) for table in rows.tables]
    features = dict(rows.features)
    for name in files:
        places = zip(rows.table, rows.features[name], strict=True)
        features[name] = np.array([os.path.join(folders[table], path) for table, path in places], object)
    return FileSource(features, rows.labels, rows.weights, files=files, must_exist=must_exist)


def _conditioned(task: Task, rows: Rows) -> Task:
    """A regression that starts from the training targets' mean, in units of their deviation."""
    if not isinstance(task, Regression) or task.num_values > 1:
        return task
    targets = rows.labels.astype(np.float64)
    if not targets.std():
        raise ValueError(f"All training targets are {targets[0]:g}: nothing can be learned.")
    return dataclasses.replace(task, offset=float(targets.mean()), scale=float(targets.std()))
