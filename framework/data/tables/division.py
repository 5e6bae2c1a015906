"""Which rows of a table are for training, validation and test."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping

import numpy as np

from framework.data.phases import PHASES, TEST, TRAIN, VALIDATION
from framework.data.proportions import spread_order
from framework.data.shares import Share
from framework.data.splits import group_split, k_fold, stratified_split, time_split
from framework.data.tables.rows import Rows
from framework.tasks.classification import BinaryClassification, Classification
from framework.tasks.task import Task


@dataclasses.dataclass(frozen=True)
class Division:
    """How rows are divided.

    Attributes:
        validation: A share of the rows to split off; 0 where there is another table for it, or none.
        test: The same.
        folds: Into how many parts what isn't for the test is divided, for a cross-validation.
        fold: Which one is for validation, instead of a share; counted from 0.
        sample: The part of a split that is used, such as `"train[:10%]"`.
        seed: Decides what is random in all of this.
    """

    validation: float = 0.0
    test: float = 0.0
    folds: int | None = None
    fold: int = 0
    sample: str | None = None
    seed: int = 0

    def __post_init__(self):
        for phase, share in ((VALIDATION, self.validation), (TEST, self.test)):
            if not 0 <= share < 1:
                raise ValueError(f"The share of the {phase} split must be in [0, 1), got {share}; 0 means no split.")
        if self.validation + self.test >= 1:
            raise ValueError(f"validation={self.validation} and test={self.test} leave nothing to train on.")
        if self.folds is None and self.fold:
            raise ValueError(f"fold={self.fold} says nothing without folds=, their number.")

    def divide(
        self, classes: np.ndarray, *, groups: np.ndarray | None = None, times: np.ndarray | None = None
    ) -> dict[str, np.ndarray]:
        """Indices of rows by phase, int64 and ascending.

        Args:
            classes: Class ids `[rows]`, each of which is divided by the shares; zeros where there are no classes.
            groups: `[rows]`: no group is in two splits.
            times: `[rows]`: the oldest rows are trained on, the newest tested.

        Raises:
            ValueError: They can't be divided like that.
        """
        if times is not None and (groups is not None or self.folds is not None):
            raise ValueError("Rows are divided by time=, or at random with group= or folds=; got both.")
        validation = 0.0 if self.folds is not None else self.validation
        shares = {TRAIN: 1.0 - validation - self.test, VALIDATION: validation, TEST: self.test}
        shares = {phase: share for phase, share in shares.items() if share}
        if times is not None:
            parts = time_split(times, shares)
        elif groups is not None:
            parts = group_split(groups, shares, labels=classes, seed=self.seed)
        else:
            parts = stratified_split(classes, shares, seed=self.seed)
        if self.folds is not None:
            rest = parts[TRAIN]
            own = None if groups is None else groups[rest]
            folded = k_fold(classes[rest], self.folds, self.fold, groups=own, seed=self.seed)
            parts |= {phase: rest[indices] for phase, indices in folded.items()}
        return {phase: self.sampled(phase, parts[phase], classes) for phase in PHASES if phase in parts}

    def sampled(self, phase: str, indices: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """What of a split is used.

        Args:
            phase: The split's.
            indices: Its rows.
            classes: Of all rows.

        Raises:
            ValueError: `sample` isn't a share, or selects nothing.
        """
        share = Share.parse(self.sample) if self.sample is not None else None
        if share is None or (share.phase or TRAIN) != phase:
            return indices
        start, stop = share.bounds(len(indices))
        return indices[np.sort(spread_order(classes[indices], seed=self.seed)[start:stop])]


def check_sample(sample: str | None, phases: Collection[str]) -> None:
    """Checks that a part is asked of a split that there is.

    Raises:
        ValueError: It isn't.
    """
    phase = (Share.parse(sample).phase or TRAIN) if sample is not None else TRAIN
    if phase not in phases:
        raise ValueError(f"sample={sample!r} is a part of the split {phase!r}; there are {list(phases)}.")


def divide_rows(rows: Mapping[str, Rows], division: Division, task: Task) -> dict[str, Rows]:
    """Rows by phase.

    Args:
        rows: Those of `"train"` are divided; others stay what they are.
        division: How.
        task: Every class is divided by the shares.

    Raises:
        ValueError: They can't be divided like that, or there is one example of a class.
    """
    whole = rows[TRAIN]
    classes = {phase: _classes(part, task) for phase, part in rows.items()}
    divided = division.divide(classes[TRAIN], groups=whole.groups, times=whole.times)
    if len(divided) > 1:
        _check_class_sizes(classes[TRAIN], task)
    parts = {phase: whole.take(indices) for phase, indices in divided.items()}
    for phase in rows.keys() - {TRAIN}:
        parts[phase] = rows[phase].take(division.sampled(phase, np.arange(len(rows[phase])), classes[phase]))
    check_sample(division.sample, parts)
    return {phase: parts[phase] for phase in PHASES if phase in parts}


def _classes(rows: Rows, task: Task) -> np.ndarray:
    """Class ids `[rows]`; zeros where there are no classes."""
    is_class = isinstance(task, (Classification, BinaryClassification))
    return rows.labels if is_class else np.zeros(len(rows), np.int64)


def _check_class_sizes(classes: np.ndarray, task: Task) -> None:
    numbers, counts = np.unique(classes, return_counts=True)
    names = getattr(task, "class_names", None) or range(int(numbers.max()) + 1)
    single = [names[number] for number in numbers[counts == 1]]
    if single:
        raise ValueError(
            f"There is one example each of the classes {single[:10]}, which can't be in training and validation both. "
            "Leave them out, put them together with others, or give validation and test in tables of their own."
        )
