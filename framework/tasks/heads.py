"""Several tasks on one model."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from framework.features import Feature, check_names
from framework.tasks.objective import Objective
from framework.tasks.task import Task


@dataclasses.dataclass(frozen=True)
class Heads(Task):
    """A dict of tasks, trained on the weighted sum of their losses.

    The builder returns a dict of outputs with the same keys, labels are a dict with the same keys, and predictions
    are named `<head>_<prediction>`. In the logs, `loss` and all metrics count every example once; `<head>_loss` is
    Keras' own mean over batches, in which a smaller last one counts as much as the others.

    Attributes:
        tasks: `{head: task}`.
        weights: `{head: weight of its loss}`; heads left out weigh 1.
        monitor: The objective; by default the total `val_loss`.

    Raises:
        TypeError: `tasks` isn't a dict of tasks.
        ValueError: A head's name can't be that of an output, or a weight belongs to no head.
    """

    tasks: Mapping[str, Task]
    weights: Mapping[str, float] = dataclasses.field(default_factory=dict)
    monitor: Objective = Objective("val_loss", "min")  # noqa: RUF009  frozen

    def __post_init__(self):
        if not (
            isinstance(self.tasks, Mapping)
            and self.tasks
            and all(isinstance(task, Task) for task in self.tasks.values())
        ):
            raise TypeError(f"Heads needs a dict of names to tasks, got {self.tasks!r}.")
        check_names(self.tasks, "Heads")
        unknown = set(self.weights) - set(self.tasks)
        if unknown:
            raise ValueError(f"Weights for heads that don't exist: {sorted(unknown)}. Heads: {sorted(self.tasks)}.")
        object.__setattr__(self, "tasks", dict(self.tasks))
        object.__setattr__(self, "weights", {head: float(self.weights.get(head, 1.0)) for head in self.tasks})

    @property
    def label(self) -> dict[str, Feature]:
        return {head: task.label for head, task in self.tasks.items()}

    @property
    def units(self) -> dict[str, int]:
        return {head: task.units for head, task in self.tasks.items()}

    def loss(self) -> dict[str, Any]:
        return {head: task.loss() for head, task in self.tasks.items()}

    def metrics(self) -> dict[str, Any]:
        return {head: task.metrics() for head, task in self.tasks.items()}

    @property
    def objective(self) -> Objective:
        return self.monitor

    def logits(self, x: keras.KerasTensor, *, name: str = "") -> dict[str, keras.KerasTensor]:
        return {head: task.logits(x, name=f"{name}{head}") for head, task in self.tasks.items()}

    def predictions(self, outputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {
            f"{head}_{name}": value
            for head, task in self.tasks.items()
            for name, value in task.predictions(outputs[head]).items()
        }

    def top_k(self, predictions: Mapping[str, tf.Tensor], k: int) -> dict[str, tf.Tensor]:
        return {
            f"{head}_{name}": value
            for head, task in self._with_classes(k).items()
            for name, value in task.top_k(
                {name.removeprefix(f"{head}_"): p for name, p in predictions.items() if name.startswith(f"{head}_")}, k
            ).items()
        }

    def check_top_k(self, k: int) -> None:
        if not self._with_classes(k):
            super().check_top_k(k)

    def _with_classes(self, k: int) -> dict[str, Task]:
        """The heads that have as many classes."""
        found = {}
        for head, task in self.tasks.items():
            with contextlib.suppress(ValueError):
                task.check_top_k(k)
                found[head] = task
        return found

    def check_outputs(self, outputs: Any) -> dict[str, keras.KerasTensor]:
        if not isinstance(outputs, Mapping) or set(outputs) != set(self.tasks):
            got = sorted(outputs) if isinstance(outputs, Mapping) else type(outputs).__name__
            raise ValueError(
                f"The builder must return a dict with the heads {sorted(self.tasks)}, got {got}. "
                "task.logits(x) makes all of them."
            )
        return {head: task.check_outputs(outputs[head]) for head, task in self.tasks.items()}

    def check_labels(self, labels: Any, where: str) -> None:
        if not isinstance(labels, Mapping) or set(labels) != set(self.tasks):
            got = sorted(labels) if isinstance(labels, Mapping) else type(labels).__name__
            raise ValueError(f"Labels in {where} must be a dict with the heads {sorted(self.tasks)}, got {got}.")
        for head, task in self.tasks.items():
            task.check_labels(labels[head], f"{where}, head {head!r}")

    def describe(self) -> dict[str, Any]:
        heads = {head: task.describe() for head, task in self.tasks.items()}
        return {"type": "Heads", "tasks": heads, "weights": self.weights}
