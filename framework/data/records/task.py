"""The task of a data set: made of its description, or told from what its label is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from framework import tasks
from framework.features import Feature
from framework.registry import did_you_mean
from framework.tasks.task import Task


def parse_task(description: Mapping[str, Any]) -> Task:
    """A task of this framework from what `Task.describe` says of it: its type and fields.

    >>> parse_task({"type": "Classification", "class_names": ["cat", "dog"]}).num_classes
    2

    Raises:
        ValueError: There is no such task, or it has no such fields.
    """
    fields = dict(description)
    name = str(fields.pop("type", None))
    kind = getattr(tasks, name, None)
    if not (isinstance(kind, type) and issubclass(kind, Task)):
        known = [name for name in tasks.__all__ if isinstance(getattr(tasks, name), type)]
        raise ValueError(
            f"There is no task {name!r} in framework.tasks.{did_you_mean(name, known)} A task of your own is given as "
            "an object."
        )
    if isinstance(fields.get("tasks"), Mapping):
        fields["tasks"] = {head: parse_task(task) for head, task in fields["tasks"].items()}
    try:
        return kind(**fields)
    except TypeError as error:
        raise ValueError(f"The task {name} can't be made of {fields}: {error}.") from error


def task_of_label(
    label: Feature | Mapping[str, Feature],
    *,
    num_classes: int | None = None,
    class_names: Sequence[str] | None = None,
) -> Task:
    """The task that a label speaks for, without a look at the examples.

    Classification for a whole number, multi-label classification for several of them, yes or no for a boolean,
    regression for floating-point numbers. Text is the name of a class.

    Args:
        label: What it is.
        num_classes: Of a whole number.
        class_names: The classes' names, or those of several labels.

    Raises:
        ValueError: The label alone doesn't tell.
    """
    how = "Give task=, such as {'type': 'Regression'}."
    if isinstance(label, Mapping):
        raise ValueError(f"With the labels {sorted(label)} the task is a Heads of one task each. {how}")
    if label.dtype == "string" and not label.shape and class_names is not None:
        return tasks.Classification(num_classes, class_names=class_names)  # type: ignore[arg-type]
    if label.dtype == "string" and not label.shape:
        raise ValueError("No task is told by a label string without the names of its classes. Give class_names=.")
    if label.dtype.startswith(("float", "bfloat")) and len(label.shape) <= 1:
        if num_classes is not None or class_names is not None:
            raise ValueError(f"num_classes= and class_names= are of classes, the label is {label.dtype}. {how}")
        return tasks.Regression(1 if not label.shape else label.shape[0])  # type: ignore[arg-type]
    if label.dtype == "bool" and not label.shape:
        return tasks.BinaryClassification(class_names=class_names)
    if "int" in label.dtype and len(label.shape) == 1:
        return tasks.MultiLabelClassification(label.shape[0], label_names=class_names)  # type: ignore[arg-type]
    if "int" in label.dtype and not label.shape:
        if num_classes is None and class_names is None:
            raise ValueError(f"How many classes are there? Give num_classes= or class_names=. Otherwise: {how}")
        return tasks.Classification(num_classes, class_names=class_names)  # type: ignore[arg-type]
    raise ValueError(f"No task is told by a label {label.dtype}{label.shape}. {how}")
