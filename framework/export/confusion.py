"""Which classes are taken for which, counted from what a signature answers."""

from __future__ import annotations

import collections
from collections.abc import Mapping
from typing import Any

import numpy as np

from framework.tasks.classification import BinaryClassification, Classification
from framework.tasks.heads import Heads
from framework.tasks.task import Task

Arrays = Mapping[str, np.ndarray]

_CLASS_ID = "class_id"
# Beyond, the matrix is no longer something to read; only the most frequent confusions are kept.
_MAX_CLASSES = 50
_NUM_WORST = 20


class Confusions:
    """Confusion matrices of a task's classifications, batch by batch; every example counts once.

    Args:
        task: Its heads, or the task itself, as far as they choose one class for each example.
    """

    def __init__(self, task: Task):
        self._names = {head: _class_names(part) for head, part in _classifications(task).items()}
        self._counts: dict[str, collections.Counter] = {head: collections.Counter() for head in self._names}

    def update(self, labels: Any, answers: Arrays) -> None:
        """Adds a batch: labels as the task has them, and answers `{name: [batch, ...]}`."""
        for head, counts in self._counts.items():
            predicted = answers.get(f"{head}_{_CLASS_ID}" if head else _CLASS_ID)
            expected = np.asarray(labels[head] if head else labels)
            if predicted is not None and expected.shape == predicted.shape:
                counts.update(zip(expected.tolist(), predicted.tolist(), strict=True))

    @property
    def values(self) -> dict[str, dict[str, Any]]:
        """`{head: {"class_names": ..., "matrix": rows are true classes}}`; the only head is called "".

        With many classes there is `"worst"` instead of the matrix: `[true, predicted, how often]`, most frequent first.
        """
        return {head: self._describe(head) for head, counts in self._counts.items() if counts}

    def _describe(self, head: str) -> dict[str, Any]:
        counts, names = self._counts[head], self._names[head]
        if len(names) <= _MAX_CLASSES:
            classes = range(len(names))
            return {"class_names": names, "matrix": [[counts[true, guess] for guess in classes] for true in classes]}
        wrong = [(true, guess, count) for (true, guess), count in sorted(counts.items()) if true != guess]
        worst = sorted(wrong, key=lambda entry: -entry[2])[:_NUM_WORST]
        return {
            "classes": len(names),
            "correct": sum(count for (true, guess), count in counts.items() if true == guess),
            "of": counts.total(),
            "worst": [[names[true], names[guess], count] for true, guess, count in worst],
        }


def _classifications(task: Task) -> dict[str, Classification | BinaryClassification]:
    parts = task.tasks if isinstance(task, Heads) else {"": task}
    return {head: part for head, part in parts.items() if isinstance(part, (Classification, BinaryClassification))}


def _class_names(task: Classification | BinaryClassification) -> list[str]:
    if task.class_names is not None:
        return list(task.class_names)
    return [str(index) for index in range(2 if isinstance(task, BinaryClassification) else task.num_classes)]
