"""A converted model isn't published when it is too much worse at the task."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Literal

from framework.export.formats.errors import FormatRefused
from framework.export.formats.running import FormatRunner


@dataclasses.dataclass(frozen=True)
class Gate:
    """How good a format has to be.

    Attributes:
        metric: A name, for messages and tables.
        mode: Whether more or less of it is better.
        score: Computes it. It is given a `FormatRunner`, whose `signature` says which inputs it takes.
        max_drop: How much worse it may get, as a share of the SavedModel's value: 0.01 lets an accuracy of 0.90 become
            0.891, and an error of 50 become 50.5.
    """

    metric: str
    mode: Literal["min", "max"]
    score: Callable[[FormatRunner], float]
    max_drop: float = 0.01

    def __post_init__(self):
        if self.mode not in ("min", "max"):
            raise ValueError(f"Gate mode must be 'min' or 'max', got {self.mode!r}.")
        if not self.max_drop >= 0:
            raise ValueError(f"Gate max_drop is a share and can't be negative, got {self.max_drop}.")

    def check(self, name: str, before: float, after: float) -> None:
        """Compares two values of the metric.

        Raises:
            FormatRefused: `after` is too much worse, or one of them is no number.
        """
        drop = before - after if self.mode == "max" else after - before
        if not drop <= self.max_drop * abs(before):  # neither when one is no number
            raise FormatRefused(name, self.metric, before, after, self.max_drop)
