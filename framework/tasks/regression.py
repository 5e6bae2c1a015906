"""One or more real values."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from framework.features import Feature
from framework.tasks.objective import Objective
from framework.tasks.task import Task, first_bad


@dataclasses.dataclass(frozen=True)
class Regression(Task):
    """Real-valued targets float32 `[batch]`, or `[batch, num_values]` when there are several.

    Loss: mean squared error, in the targets' units squared.

    Attributes:
        num_values: Targets of an example.
        offset: Where `task.logits` starts from; the training targets' mean is a good choice.
        scale: What one unit of the last layer stands for; the training targets' standard deviation is a good choice.
            Both only condition the optimization: loss, metrics and predictions stay in the targets' units.
    """

    num_values: int = 1
    offset: float = 0.0
    scale: float = 1.0

    def __post_init__(self):
        if self.num_values < 1:
            raise ValueError(f"num_values must be at least 1, got {self.num_values}.")
        if not (np.isfinite(self.offset) and np.isfinite(self.scale) and self.scale > 0):
            raise ValueError(f"offset must be finite and scale positive, got {self.offset} and {self.scale}.")

    @property
    def label(self) -> Feature:
        return Feature(() if self.num_values == 1 else (self.num_values,), "float32")

    @property
    def units(self) -> int:
        return self.num_values

    def loss(self) -> keras.losses.Loss:
        return keras.losses.MeanSquaredError()

    def metrics(self) -> list[keras.metrics.Metric]:
        return [keras.metrics.RootMeanSquaredError(name="rmse"), keras.metrics.MeanAbsoluteError(name="mae")]

    @property
    def objective(self) -> Objective:
        return Objective("val_rmse", "min")

    def logits(self, x: keras.KerasTensor, *, name: str = "logits") -> keras.KerasTensor:
        if (self.offset, self.scale) == (0.0, 1.0):
            return super().logits(x, name=name)
        standardized = super().logits(x, name=f"{name}_standardized")
        return keras.layers.Rescaling(self.scale, self.offset, dtype="float32", name=name)(standardized)

    def predictions(self, outputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """`value` float32 `[batch]`, or `[batch, num_values]`, in the targets' units."""
        outputs = tf.cast(outputs, tf.float32)
        return {"value": tf.squeeze(outputs, -1) if self.num_values == 1 else outputs}

    def check_labels(self, labels: Any, where: str) -> None:
        labels = np.asarray(labels)
        super().check_labels(labels, where)
        if labels.dtype.kind not in "iufb":
            raise ValueError(f"Targets in {where} have dtype {labels.dtype}, expected numbers.")
        bad = first_bad(labels, np.isfinite(labels))
        if bad:
            raise ValueError(f"Target of example {bad[0]} in {where} is {bad[1]}. Drop or fill such examples.")
