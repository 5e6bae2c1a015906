"""Sums of floating-point numbers without rounding, and so without an order.

A float is a whole number of units of a power of two. Numbers are cut into digits of `_BITS` bits at *fixed* places, and
each place has a sum of whole numbers of its own, which is exact: it doesn't depend on how the numbers were divided into
batches or among workers, and partial sums add up. Only the final result is rounded, once.

The cutting is that of Rump, Ogita and Oishi 2008, "Accurate Floating-Point Summation Part I" (extraction of high-order
parts); fixed places are the idea of Kulisch's long accumulator, and of Demmel and Nguyen 2015, "Parallel Reproducible
Summation".
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

# A block of up to 2**16 digits of 26 bits is summed in float64 without rounding, and 2**36 digits in int64.
_BITS = 26
_MOST_ROWS = 1 << 16
_BLOCK = 1 << 15  # numbers that stay in the processor's cache
_SPLIT = 2.0**27 + 1.0


def blocks(rows: np.ndarray) -> Iterator[np.ndarray]:
    """`[n, ...]` in pieces of which several fit into a processor's cache."""
    size = max(_BLOCK // max(int(np.prod(rows.shape[1:])), 1), 1)
    for first in range(0, len(rows), size):
        yield rows[first : first + size]


class ExactSum:
    """The sum over all rows added, for each of the other axes.

    Args:
        shape: Of one row.
    """

    def __init__(self, shape: tuple[int, ...] = ()):
        self.shape = shape
        self.digits: dict[int, np.ndarray] = {}

    def add(self, values: np.ndarray) -> None:
        """Adds numbers float64 `[n, *shape]` below 1e300, a block of up to 2**16 rows."""
        if len(values) > _MOST_ROWS:
            raise ValueError(f"Got {len(values)} rows at once, expected at most {_MOST_ROWS}.")
        while (largest := float(np.abs(values).max(initial=0.0))) > 0.0:
            place = (math.frexp(largest)[1] - 1) // _BITS
            # In two steps, either of which is a float. Exact: what is left has fewer bits.
            down, up = 2.0 ** (-_BITS // 2 * place), 2.0 ** (_BITS // 2 * place)
            digits = np.rint(values * down * down)
            self._add_digits(place, _sum_rows(digits))
            values = values - digits * up * up

    def _add_digits(self, place: int, digits: np.ndarray) -> None:
        self.digits[place] = self.digits.get(place, np.zeros(self.shape, np.int64)) + digits

    def merge(self, other: ExactSum) -> None:
        """Adds another one's rows."""
        for place, digits in other.digits.items():
            self._add_digits(place, digits)

    def units(self) -> tuple[np.ndarray, int]:
        """The sums as whole numbers, Python integers in an object array `[*shape]`, and their unit's power of two."""
        lowest = min(self.digits, default=0)
        total = np.zeros(self.shape, object)
        for place, digits in self.digits.items():
            total = total + digits.astype(object) * (1 << _BITS * (place - lowest))
        return np.asarray(total, object), _BITS * lowest


def square(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The squares of float64, and their rounding errors, which are floats themselves (Dekker 1971).

    Of 0 and numbers from 1e-140 to 1e140, where nothing overflows and no error is too small.
    """
    squares = np.square(values)
    scaled = values * _SPLIT
    high = scaled - (scaled - values)
    low = values - high
    return squares, ((high * high - squares) + 2.0 * high * low) + low * low


def _sum_rows(digits: np.ndarray) -> np.ndarray:
    """int64 `[*shape]`."""
    if digits.ndim == 1:
        return digits.sum().astype(np.int64)
    # A product with ones adds rows fast, however short they are.
    total = np.ones(len(digits)) @ digits.reshape(len(digits), -1)
    return total.reshape(digits.shape[1:]).astype(np.int64)
