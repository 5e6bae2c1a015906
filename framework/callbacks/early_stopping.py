"""Early stopping that NaN can't fool."""

from __future__ import annotations

import math

import keras

from framework.tasks.objective import Objective


class EarlyStopping(keras.callbacks.EarlyStopping):
    """Keras' early stopping on an `Objective`.

    Keras takes a NaN in the first epoch for the best value, which nothing then beats. Here NaN is the worst value.

    Args:
        objective: What is monitored and in which direction.
        patience: Epochs without improvement after which training stops.
        min_delta: Smallest change that counts as an improvement.
        start_from_epoch: Epochs at the beginning in which nothing is counted.
    """

    def __init__(self, objective: Objective, *, patience: int, min_delta: float = 0.0, start_from_epoch: int = 0):
        super().__init__(
            monitor=objective.monitor,
            mode=objective.mode,
            patience=patience,
            min_delta=min_delta,
            start_from_epoch=start_from_epoch,
        )
        self._worst = math.inf if objective.mode == "min" else -math.inf

    def on_epoch_end(self, epoch, logs=None):
        value = (logs or {}).get(self.monitor)
        if value is not None and math.isnan(value):
            logs = {**logs, self.monitor: self._worst}
        super().on_epoch_end(epoch, logs)
