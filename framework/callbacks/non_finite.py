"""Stops when the loss isn't a number any more."""

from __future__ import annotations

import math

import keras


class NonFiniteLossError(ArithmeticError):
    """The training loss became NaN or infinite.

    Attributes:
        epoch: Counted from 0.
        step: The step of the epoch after which it was seen, counted from 0.
    """

    def __init__(self, message: str, *, epoch: int, step: int):
        super().__init__(message)
        self.epoch = epoch
        self.step = step


class StopOnNonFinite(keras.callbacks.Callback):
    """Raises `NonFiniteLossError` at the step (or call of several steps) after which the loss isn't finite.

    Args:
        advice: Appended to the message: where the last good state lies.
    """

    def __init__(self, advice: str = ""):
        super().__init__()
        self._advice = advice
        self._epoch = 0

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        loss = (logs or {}).get("loss")
        if loss is not None and not math.isfinite(loss):
            raise NonFiniteLossError(
                f"The loss is {loss} at epoch {self._epoch}, step {batch} (counted from 0). Try a smaller learning "
                f"rate, gradient clipping (Optimization(clip_norm=1.0)), or look for bad values in the data. "
                f"{self._advice}".rstrip(),
                epoch=self._epoch,
                step=batch,
            )
