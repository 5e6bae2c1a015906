"""Which logged value decides what is best, and in which direction."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal

from framework.registry import did_you_mean

_MAXIMIZED = ("accuracy", "acc", "auc", "precision", "recall", "f1", "iou", "r2", "cosine_similarity")
_MINIMIZED = ("loss", "error", "mse", "mae", "rmse", "mape", "crossentropy", "perplexity")


@dataclasses.dataclass(frozen=True)
class Objective:
    """A key of Keras' epoch logs and whether more or less of it is better.

    Attributes:
        monitor: A name in the logs, such as `"val_accuracy"`.
        mode: `"max"` or `"min"`.
    """

    monitor: str
    mode: Literal["min", "max"]

    def __post_init__(self):
        if self.mode not in ("min", "max"):
            raise ValueError(f"Objective mode must be 'min' or 'max', got {self.mode!r}.")

    @classmethod
    def of(cls, value: Objective | str) -> Objective:
        """An objective as given, or one for a name whose direction goes without saying.

        Raises:
            ValueError: The name doesn't tell the direction.
        """
        if isinstance(value, Objective):
            return value
        words = value.removeprefix("val_").lower()
        if any(word in words for word in _MINIMIZED):
            return cls(value, "min")
        if any(word in words for word in _MAXIMIZED):
            return cls(value, "max")
        raise ValueError(f"Is more or less of {value!r} better? Say Objective({value!r}, 'max') or 'min'.")

    def read(self, logs: Mapping[str, Any]) -> float:
        """The monitored value of an epoch.

        Raises:
            LookupError: It isn't in the logs; the message lists what is.
        """
        if self.monitor not in logs:
            raise LookupError(
                f"The monitored value {self.monitor!r} isn't in the logs.{did_you_mean(self.monitor, logs)} "
                f"Got {', '.join(sorted(logs)) or 'nothing'}. Names with val_ need validation data."
            )
        return float(logs[self.monitor])

    def improved(self, value: float, best: float | None) -> bool:
        """Whether `value` is strictly better than `best`. NaN never is, and never stands in the way."""
        if math.isnan(value):
            return False
        if best is None or math.isnan(best):
            return True
        return value > best if self.mode == "max" else value < best
