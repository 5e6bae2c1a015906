"""What is learned of a feature in one pass: each of these sees batches, and can be joined with others of its kind.

Results don't depend on how examples were divided into batches or among workers, nor on their order, to the last bit:
counts are whole numbers, sums are exact (`framework.data.exact_sums`) and histograms have fixed bins. The one exception
is said at `Vocabulary`. Memory doesn't grow with the number of examples. Here are those that compute; those that count
are in `framework.data.counting`, and all of them have their public names in `framework.data.statistics`.
"""

from __future__ import annotations

import abc
from typing import Any, Literal

import numpy as np

from framework.data.exact_sums import ExactSum, blocks, square

Per = Literal["element", "channel", "feature"]

_LARGEST = float(np.finfo(np.float32).max)


class Accumulator(abc.ABC):
    """Something that is learned of one feature, or of the labels."""

    @abc.abstractmethod
    def update(self, values: np.ndarray) -> None:
        """Adds a batch `[batch, ...]`; text is an object array of bytes, as TensorFlow gives it."""

    @abc.abstractmethod
    def merge(self, other: Any) -> None:
        """Adds what another one of the same kind and arguments has seen."""

    @abc.abstractmethod
    def result(self) -> Any:
        """What was learned: an array, or several by name."""


class Moments(Accumulator):
    """Mean and standard deviation, correctly rounded from exact sums, for `Statistics.standardize`.

    Missing values don't count: NaN, infinities, and what a float32 can't hold. Where there is no value at all the mean
    is 0, and where all are the same the deviation is 1.

    Args:
        per: `"element"` has a mean of the feature's own shape, `"channel"` one for each place on its last axis (the
            colours of an image), `"feature"` a single one.
    """

    def __init__(self, per: Per = "element"):
        self.per = check_per(per)
        self._count: Any = 0
        self._sums: list[ExactSum] = []

    def update(self, values: np.ndarray) -> None:
        rows = rows_of(values, self.per)
        if not self._sums:
            self._sums = [ExactSum(rows.shape[1:]), ExactSum(rows.shape[1:])]
        # Squares of narrower numbers have no rounding error.
        is_narrow = rows.dtype.itemsize < (8 if rows.dtype.kind == "f" else 4)
        for block in blocks(rows):
            numbers = block.astype(np.float64)
            present = np.abs(numbers) <= _LARGEST
            if present.all():
                self._count = self._count + len(numbers)
            else:
                self._count = self._count + np.count_nonzero(present, axis=0)
                numbers = np.where(present, numbers, 0.0)
            self._sums[0].add(numbers)
            for part in [np.square(numbers)] if is_narrow else square(numbers):
                self._sums[1].add(part)

    def merge(self, other: Moments) -> None:
        if not other._sums:
            return
        if not self._sums:
            self._sums = [ExactSum(total.shape) for total in other._sums]
        self._count = self._count + other._count
        for own, others in zip(self._sums, other._sums, strict=True):
            own.merge(others)

    def result(self) -> dict[str, np.ndarray]:
        """`mean` and `deviation` float32, of the shape that `per` says."""
        mean, deviation = self.exact()
        return {"mean": mean.astype(np.float32), "deviation": np.where(deviation > 0, deviation, 1).astype(np.float32)}

    def exact(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation, float64; the latter is 0 where all values are the same."""
        if not self._sums:
            return np.zeros(()), np.zeros(())
        (total, power), (squares, square_power) = (summed.units() for summed in self._sums)
        count = np.maximum(np.broadcast_to(self._count, total.shape), 1).astype(object)
        # n * (sum of squares) - (sum)**2 is n**2 times the variance. In Python's integers, whose quotient is rounded
        # correctly however large they are.
        unit = min(square_power, 2 * power)
        spread = count * squares * (1 << square_power - unit) - total * total * (1 << 2 * power - unit)
        return _quotient(total, count, power), np.sqrt(_quotient(spread, count * count, unit))


class Ranges(Accumulator):
    """Smallest and largest value; NaN doesn't count.

    Args:
        per: As in `Moments`.
    """

    def __init__(self, per: Per = "element"):
        self.per = check_per(per)
        self._low: Any = None
        self._high: Any = None

    def update(self, values: np.ndarray) -> None:
        rows = rows_of(values, self.per)
        if len(rows):
            self._join(np.fmin.reduce(rows, axis=0), np.fmax.reduce(rows, axis=0))

    def merge(self, other: Ranges) -> None:
        if other._low is not None:
            self._join(other._low, other._high)

    def _join(self, low: np.ndarray, high: np.ndarray) -> None:
        self._low = low if self._low is None else np.fmin(self._low, low)
        self._high = high if self._high is None else np.fmax(self._high, high)

    def result(self) -> dict[str, np.ndarray]:
        """`min` and `max`, of the values' own dtype; NaN where there was no value."""
        if self._low is None:
            return {"min": np.asarray(np.nan), "max": np.asarray(np.nan)}
        # Of 0.0 and -0.0 either may be the smaller one: the order of the values would decide.
        low, high = (extreme + 0.0 if extreme.dtype.kind == "f" else extreme for extreme in (self._low, self._high))
        return {"min": np.asarray(low), "max": np.asarray(high)}


class MissingShare(Accumulator):
    """Share of the values that are missing: NaN, or empty text."""

    def __init__(self) -> None:
        self.missing = 0
        self.count = 0

    def update(self, values: np.ndarray) -> None:
        self.count += values.size
        if values.dtype.kind == "f":
            self.missing += int(np.count_nonzero(np.isnan(values)))
        elif values.dtype.kind in "OSU":
            self.missing += sum(not value for value in values.ravel().tolist())

    def merge(self, other: MissingShare) -> None:
        self.count += other.count
        self.missing += other.missing

    def result(self) -> dict[str, np.ndarray]:
        """`missing` float64 `[]`."""
        return {"missing": np.asarray(self.missing / max(self.count, 1))}


class ClassCounts(Accumulator):
    """How often each class comes, and the weights with which all classes count alike.

    Args:
        num_classes: Labels are class ids `[batch]` in [0, num_classes), or 0 and 1 `[batch, num_classes]`.
    """

    def __init__(self, num_classes: int):
        self.num_classes = num_classes
        self._counts = np.zeros(num_classes, np.int64)

    def update(self, values: np.ndarray) -> None:
        if values.ndim == 2:
            self._counts += np.count_nonzero(values, axis=0)
            return
        counts = np.bincount(values.astype(np.int64), minlength=self.num_classes)
        if len(counts) > self.num_classes:
            raise ValueError(f"There is a label {len(counts) - 1}; class ids are in [0, {self.num_classes}).")
        self._counts += counts

    def merge(self, other: ClassCounts) -> None:
        self._counts += other._counts

    def result(self) -> dict[str, np.ndarray]:
        """`counts` int64 and `weights` float32 `[num_classes]`."""
        return {"counts": self._counts.copy(), "weights": balancing_weights(self._counts)}


def balancing_weights(counts: np.ndarray) -> np.ndarray:
    """Weights float32 `[classes]` with which all classes count alike, and an example 1 on average.

    Args:
        counts: Examples of each class, int `[classes]`. A class without any weighs 0.
    """
    present = np.asarray(counts) > 0
    weights = np.sum(counts) / (np.maximum(counts, 1) * max(np.count_nonzero(present), 1))
    return np.where(present, weights, 0.0).astype(np.float32)


def check_per(per: Per) -> Per:
    """Returns `per`.

    Raises:
        ValueError: It is something else.
    """
    if per not in ("element", "channel", "feature"):
        raise ValueError(f"per must be 'element', 'channel' or 'feature', got {per!r}.")
    return per


def rows_of(values: np.ndarray, per: Per) -> np.ndarray:
    """`[n, *shape]`: the rows over which something is reduced.

    Raises:
        TypeError: The values aren't numbers.
    """
    if values.dtype.kind not in "fiub":
        raise TypeError(f"Expected numbers or booleans, got an array of {values.dtype}.")
    if per == "element":
        return values
    return values.reshape(-1) if per == "feature" or values.ndim < 2 else values.reshape(-1, values.shape[-1])


def _quotient(numerators: np.ndarray, denominators: np.ndarray, power: int) -> np.ndarray:
    """Correctly rounded `numerators / denominators * 2**power`, float64, of arrays of Python integers."""
    scale = 1 << abs(power)
    quotients = numerators * scale / denominators if power >= 0 else numerators / (denominators * scale)
    return np.asarray(quotients, np.float64)
