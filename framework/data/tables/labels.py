"""The label's column, or columns: the task that they speak for, and the labels themselves."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from framework.data.tables.parsing import parse_numbers
from framework.data.tables.scanning import BOOLEAN, DISTINCT, NUMERIC, ColumnScan
from framework.data.tables.values import boolean_of, is_missing, number_of, text_of
from framework.registry import did_you_mean
from framework.tasks.classification import BinaryClassification, Classification, MultiLabelClassification
from framework.tasks.regression import Regression
from framework.tasks.task import Task

TASKS = ("classification", "binary", "multi_label", "regression")
# More different integers than this are as likely amounts as classes.
_MOST_CLASSES = 50


@dataclasses.dataclass(frozen=True)
class Labels:
    """How labels are read.

    Attributes:
        titles: The columns.
        task: What they stand for.
        missing: Words that stand for a missing number or boolean.
        class_of: `{text: class id}` where a label is a class.
    """

    titles: tuple[str, ...]
    task: Task
    missing: tuple[str, ...]
    class_of: Mapping[str, int] | None = None

    def parse(self, columns: Mapping[str, Sequence[Any]]) -> tuple[np.ndarray, dict[int, tuple[str, str]]]:
        """Labels `[rows]` or `[rows, columns]` of a block; (kind, reason) of those that are none, by their place."""
        arrays = []
        faults: dict[int, tuple[str, str]] = {}
        for title in self.titles:
            array, missing, wrong = self._parse(columns[title])
            arrays.append(array)
            faults |= {place: ("wrong label", f"column {title!r}: {reason}") for place, reason in wrong.items()}
            faults |= dict.fromkeys(missing, ("missing label", f"column {title!r} has none"))
        labels = arrays[0] if self.task.label.shape == () else np.stack(arrays, axis=1)
        return labels.astype(self.task.label.dtype), faults

    def _parse(self, values: Sequence[Any]) -> tuple[np.ndarray, list[int], dict[int, str]]:
        """Values, where there are none, and why others are wrong."""
        if isinstance(self.task, Regression):
            numbers, wrong = parse_numbers(values, self.missing)
            gone = np.isnan(numbers) & ~np.isin(np.arange(len(numbers)), list(wrong))
            return numbers, np.flatnonzero(gone).tolist(), wrong
        ids, missing, wrong = np.zeros(len(values), np.int64), [], {}
        for place, value in enumerate(values):
            number = boolean_of(value) if self.class_of is None else self.class_of.get(class_name(value))
            if number is not None and not is_missing(value):
                ids[place] = number
            elif is_missing(value) or value in self.missing:
                missing.append(place)
            else:
                wrong[place] = f"{value!r:.100} isn't {self._expected(value)}"
        return ids, missing, wrong

    def _expected(self, value: Any) -> str:
        return "0 or 1" if self.class_of is None else expected_class(class_name(value), list(self.class_of))


def class_name(value: Any) -> str:
    """The name of a class, however its label is written: 3, 3.0 and "3" are one."""
    if isinstance(value, bool):
        return str(value).lower()
    return text_of(value) or repr(value)


def expected_class(name: str, known: Sequence[str]) -> str:
    """What should stand where a class of that name does, which isn't known: for messages."""
    shown = ", ".join(map(repr, known[:10])) + (", ..." if len(known) > 10 else "")
    near = did_you_mean(name, known)
    return f"one of the classes {shown}" + (f".{near}" if near else "")


def read_labels(
    titles: Sequence[str], scans: Mapping[str, ColumnScan], task: Task | str | None, missing: Sequence[str]
) -> Labels:
    """What the labels are.

    Args:
        titles: The columns; several make one label each of a multi-label classification, or one target each of a
            regression.
        scans: Of the training table.
        task: One of `TASKS`, a task, or `None` to tell it from the values.
        missing: Words that stand for a missing number or boolean.

    Raises:
        ValueError: A column has no values, one alone, or such as don't fit the task; or they may be classes as well as
            amounts, and nobody said which.
        TypeError: `task` is something else, or a task that a table has no labels for.
    """
    titles, missing = tuple(titles), tuple(missing)
    kinds = {}
    for title in titles:
        scan = scans[title]
        if not scan.known:
            raise ValueError(f"The label's column {title!r} has no value in any row.")
        if scan.is_constant and not isinstance(task, Task):
            raise ValueError(f"The label's column {title!r} is {scan.examples[0]!r} in every row.")
        try:
            kinds[title] = scan.kind()
        except ValueError as error:
            raise ValueError(f"The label's column {title!r} {error}.") from error
    if task is None:
        task = _told_from(titles, scans, kinds)
    if isinstance(task, str) and task not in TASKS:
        raise ValueError(f"task must be one of {', '.join(map(repr, TASKS))}, got {task!r}.{did_you_mean(task, TASKS)}")
    if not isinstance(task, (str, Task)):
        raise TypeError(f"task must be one of {', '.join(map(repr, TASKS))}, or a task, got {task!r}.")
    if task == "regression":
        return Labels(titles, Regression(len(titles)), missing)
    if task == "multi_label":
        return Labels(titles, MultiLabelClassification(label_names=titles), missing)
    if task in ("classification", "binary") and len(titles) > 1:
        raise ValueError(f"{task!r} has one label, got the columns {list(titles)}. Expected 'multi_label'?")
    if isinstance(task, str):
        return _with_classes(titles[0], scans[titles[0]], task, missing)
    return _of_task(titles, task, missing)


def _told_from(titles: Sequence[str], scans: Mapping[str, ColumnScan], kinds: Mapping[str, str]) -> str:
    if len(titles) > 1:
        if all(scans[title].distinct <= {"0", "1", 0, 1} for title in titles) or set(kinds.values()) == {BOOLEAN}:
            return "multi_label"
        if set(kinds.values()) == {NUMERIC}:
            return "regression"
        raise ValueError(
            f"The label's columns {list(titles)} are {kinds}: expected 0 and 1 in all of them for a multi-label "
            "classification, or numbers for a regression. Say task='multi_label' or task='regression'."
        )
    (title,) = titles
    scan = scans[title]
    if kinds[title] == BOOLEAN:
        return "binary"
    if kinds[title] != NUMERIC:
        return "classification"
    if not scan.is_whole:
        return "regression"
    if len(scan.distinct) > _MOST_CLASSES:
        raise ValueError(
            f"The label's column {title!r} has {len(scan.distinct)} different integers: are they classes or amounts? "
            "Say task='classification' or task='regression'."
        )
    return "classification"


def _with_classes(title: str, scan: ColumnScan, task: str, missing: tuple[str, ...]) -> Labels:
    """Classes named by what stands in the column, in sorted order."""
    if len(scan.distinct) >= DISTINCT:
        raise ValueError(f"The label's column {title!r} has more than {DISTINCT:,} different values; are they classes?")
    kind = scan.kind()
    if kind == BOOLEAN:
        made = BinaryClassification if task == "binary" else Classification
        return Labels((title,), made(class_names=("false", "true")), missing)
    if kind == NUMERIC:
        numbers = {value: number for value in scan.distinct if (number := number_of(value)) is not None}
        names = [class_name(value) for value in sorted(numbers, key=lambda value: numbers[value])]
    else:
        # A word such as "NA" may well be a class among others.
        names = sorted(map(class_name, scan.distinct | scan.words))
        missing = ()
    names = list(dict.fromkeys(names))
    if len(names) < 2 or (task == "binary" and len(names) != 2):
        expected = "two classes" if task == "binary" else "at least two classes"
        raise ValueError(f"The label's column {title!r} has the values {names[:10]}; task={task!r} needs {expected}.")
    if task == "binary" and None not in map(boolean_of, names):
        names.sort(key=lambda name: boolean_of(name) or 0.0)  # yes is what is asked for
    made = BinaryClassification if task == "binary" else Classification
    return Labels((title,), made(class_names=names), missing, {name: number for number, name in enumerate(names)})


def _of_task(titles: tuple[str, ...], task: Task, missing: tuple[str, ...]) -> Labels:
    """Labels as a task that was given takes them."""
    names = getattr(task, "class_names", None)
    if isinstance(task, Classification):
        names = names or [str(number) for number in range(task.num_classes)]
    if isinstance(task, (Classification, BinaryClassification)):
        known = {str(name): number for number, name in enumerate(names)} if names else None
        return Labels(titles, task, missing, known)
    if not isinstance(task, (Regression, MultiLabelClassification)):
        raise TypeError(
            f"The labels of a table can't be those of {type(task).__name__}. Write a pipeline of your own, or use "
            "framework.pipeline_from_arrays."
        )
    if task.units != len(titles):
        raise ValueError(f"{type(task).__name__} has {task.units} labels, label= names the columns {list(titles)}.")
    return Labels(titles, task, missing)
