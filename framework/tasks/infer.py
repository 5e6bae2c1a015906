"""The task that labels speak for, for those who don't want to name it."""

from __future__ import annotations

import numpy as np

from framework.tasks.classification import BinaryClassification, Classification, MultiLabelClassification
from framework.tasks.regression import Regression
from framework.tasks.task import Task

_MAX_CLASSES = 10_000


def infer_task(labels: np.ndarray) -> Task:
    """Classification for integers, two-valued for booleans, multi-label for a 0/1 matrix, regression for floats.

    Args:
        labels: `[examples]` or `[examples, values]`, of the training split.

    Raises:
        ValueError: There are none, integer labels that look like no class ids (negative, or 10,000 and more), or rows
            of floats of which one is 1 and the others 0: one-hot classes, which would be taken for amounts.
        TypeError: Labels of another kind.
    """
    labels = np.asarray(labels)
    if not labels.size:
        raise ValueError(f"There are no labels to tell the task from: got an array of shape {labels.shape}.")
    kind = labels.dtype.kind
    if labels.ndim == 2 and kind in "iub" and np.isin(labels, (0, 1)).all():
        return MultiLabelClassification(labels.shape[1])
    if kind == "b":
        return BinaryClassification()
    if kind in "iu" and labels.ndim == 1:
        if labels.min() < 0 or labels.max() >= _MAX_CLASSES:
            raise ValueError(
                f"Integer labels from {labels.min()} to {labels.max()} don't look like class ids. Give task= "
                "(Regression() for counts or amounts, Classification(num_classes) otherwise)."
            )
        return Classification(max(int(labels.max()) + 1, 2))
    if kind == "f" and labels.ndim == 2 and labels.shape[1] > 1 and _is_one_hot(labels):
        raise ValueError(
            f"Labels of shape {labels.shape} look like one-hot classes. Give their ids instead, labels.argmax(axis=1), "
            f"or task= (Regression({labels.shape[1]}) for amounts)."
        )
    if kind == "f":
        return Regression(1 if labels.ndim == 1 else labels.shape[1])
    raise TypeError(f"No task fits labels of dtype {labels.dtype} and shape {labels.shape}. Give task=.")


def _is_one_hot(rows: np.ndarray) -> bool:
    return bool(np.isin(rows, (0, 1)).all() and (rows.sum(axis=1) == 1).all())
