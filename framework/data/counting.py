"""Accumulators that count: vocabularies, and histograms for quantiles."""

from __future__ import annotations

import collections
import fractions
import math
from collections.abc import Callable, Collection, Iterable
from typing import Any

import numpy as np
from absl import logging

from framework.data.accumulators import Accumulator, Ranges
from framework.data.exact_sums import blocks

# Of a float64's 52 fraction bits those that tell two bins of a histogram apart: numbers within 1/1024 of one another
# may share one, and integers below 2,048 have one each.
_BIN_BITS = 10
_MOST_BINS = 1 << 20  # counted by an array of all; beyond that by sorting


class Vocabulary(Accumulator):
    """The values of a text or integer feature, most frequent first (ties in sorted order).

    Exact as long as there are at most `capacity` different values. Beyond, the rarest are forgotten (Misra and Gries
    1982, merged as in Agarwal et al. 2012, "Mergeable Summaries"): memory stays what it is, a count may be too low by
    at most `error`, and what is rare may depend on the order of the examples. That is logged.

    Args:
        max_size: How many to keep; the rest is out of vocabulary.
        min_count: Leaves out what is rarer.
        tokens: Makes the values to be counted of a batch, as an array, a tensor or a ragged one: for text such as
            `lambda text: tf.strings.split(tf.strings.lower(text))`. Use the same function in `preprocess`.
        ignore: Values that aren't counted, such as `[""]` where missing text and padding are empty.
        capacity: How many different values are kept track of.
    """

    def __init__(
        self,
        max_size: int | None = None,
        *,
        min_count: int = 1,
        tokens: Callable[[Any], Any] | None = None,
        ignore: Collection[str | int] = (),
        capacity: int = 1_000_000,
    ):
        if max_size is not None and not 0 < max_size <= capacity:
            raise ValueError(f"max_size must be in [1, capacity={capacity}], got {max_size}.")
        self.max_size = max_size
        self.min_count = min_count
        self.capacity = capacity
        self.error = 0
        self._tokens = tokens
        self._ignore = [value.encode() if isinstance(value, str) else value for value in ignore]
        self._counts: collections.Counter[Any] = collections.Counter()

    def update(self, values: np.ndarray) -> None:
        if self._tokens is not None:
            tokens = self._tokens(values)
            values = np.asarray(getattr(tokens, "flat_values", tokens))
        counts: collections.Counter[Any]
        if values.dtype.kind in "iub":
            present, repeated = distinct(values.ravel())
            counts = collections.Counter(dict(zip(present.tolist(), repeated.tolist(), strict=True)))
        else:
            counts = collections.Counter(values.ravel().tolist())
            for text in [value for value in counts if isinstance(value, str)]:
                counts[text.encode()] += counts.pop(text)
        for value in self._ignore:
            counts.pop(value, None)
        self._counts.update(counts)
        self._forget()

    def merge(self, other: Vocabulary) -> None:
        self._counts.update(other._counts)
        self.error += other.error
        self._forget()

    def _forget(self) -> None:
        if len(self._counts) <= self.capacity:
            return
        # Half of them at a time, so that it is seldom.
        limit = sorted(self._counts.values(), reverse=True)[self.capacity // 2]
        self._counts = collections.Counter({v: count - limit for v, count in self._counts.items() if count > limit})
        self.error += limit

    @property
    def counts(self) -> list[tuple[Any, int]]:
        """(value, how often) of all that was kept, as `result` has them in order."""
        return sorted(self._counts.items(), key=lambda item: (-item[1], item[0]))

    def result(self) -> np.ndarray:
        """int64 or text `[values]`. Bytes that aren't UTF-8 are no text, and so out of vocabulary; that is logged."""
        if self.error:
            logging.warning(
                "There were more than %d different values: the rarest were forgotten, and counts may be too low by %d.",
                self.capacity,
                self.error,
            )
        frequent = [value for value, count in self.counts if count >= self.min_count]
        texts = [_decoded(value) if isinstance(value, bytes) else value for value in frequent]
        known = [text for text in texts if text is not None]
        if len(known) < len(texts):
            logging.warning(
                "%d values, such as %r, aren't UTF-8: they are out of vocabulary.",
                len(texts) - len(known),
                frequent[texts.index(None)],
            )
        return np.asarray(known[: self.max_size])


class Quantiles(Accumulator):
    """Values below which a share of all values lies, of the whole feature: exact, or up to 1/1024 too near to 0.

    Integers below 2,048 are exact, and so are the smallest and the largest value. Missing values (NaN) don't count. A
    histogram with bins of a fixed relative width, as that of Masson, Rim and Lee 2019, "DDSketch", made of a float's
    own bits instead of logarithms.

    Args:
        shares: Such as `(0.05, 0.5, 0.95)`.
        of: Makes numbers of a batch first: `of=lengths` for the lengths of texts or of padded sequences.
        name: What the result is called.
    """

    def __init__(self, shares: Iterable[float], *, of: Callable[[Any], Any] | None = None, name: str = "quantiles"):
        self.name = name
        self.shares = tuple(shares)
        if not self.shares or not all(0 <= share <= 1 for share in self.shares):
            raise ValueError(f"Quantiles are shares in [0, 1], such as (0.05, 0.5, 0.95); got {self.shares}.")
        self._of = of
        self._bins: collections.Counter[int] = collections.Counter()
        self._range = Ranges("feature")

    def update(self, values: np.ndarray) -> None:
        numbers = np.asarray(values if self._of is None else self._of(values)).ravel()
        if numbers.dtype.kind == "f":
            numbers = numbers[~np.isnan(numbers)]
        self._range.update(numbers)
        if numbers.dtype.kind != "f" and numbers.dtype.itemsize <= 2:  # few values: counted before bins are found
            for block in blocks(numbers):
                present, counts = distinct(block)
                self._add(_bins_of(present), counts)
        elif len(numbers):
            self._add(*distinct(np.concatenate([_bins_of(block) for block in blocks(numbers)])))

    def _add(self, bins: np.ndarray, counts: np.ndarray) -> None:
        for number, count in zip(bins.tolist(), counts.tolist(), strict=True):
            self._bins[number] += count

    def merge(self, other: Quantiles) -> None:
        self._bins.update(other._bins)
        self._range.merge(other._range)

    def result(self) -> dict[str, np.ndarray]:
        """The quantiles float64 `[shares]`; NaN where there was no value."""
        if not self._bins:
            return {self.name: np.full(len(self.shares), np.nan)}
        bins = sorted(self._bins)
        ends = np.cumsum([self._bins[number] for number in bins])
        extremes = self._range.result()
        low, high = float(extremes["min"]), float(extremes["max"])
        # The smallest value at or below which there are at least this many.
        ranks = [math.ceil(fractions.Fraction(share).limit_denominator(10**6) * int(ends[-1])) for share in self.shares]
        found = _values_of(np.asarray(bins)[np.searchsorted(ends, ranks)])
        found = np.where(np.asarray(ranks) >= ends[-1], high, np.where(np.asarray(ranks) <= 1, low, found))
        return {self.name: np.clip(found, low, high)}


def _decoded(value: bytes) -> str | None:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None


def lengths(values: Any) -> np.ndarray:
    """How long each example is, int64 `[batch]`.

    Args:
        values: Texts `[batch]`, whose length is in bytes; or padded sequences `[batch, time, ...]`, whose length is in
            steps up to the last one that isn't padding (zeros, or empty text).
    """
    values = np.asarray(values)
    if values.ndim == 1:
        return np.fromiter((len(value) for value in values.tolist()), np.int64, len(values))
    used = values != (b"" if values.dtype.kind in "OSU" else 0)
    used = used.any(axis=tuple(range(2, values.ndim)))
    return np.where(used, np.arange(1, used.shape[1] + 1), 0).max(axis=1, initial=0)


def distinct(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different ones of integers `[n]`, ascending as int64, and how often each comes."""
    if not len(values):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    low, high = int(values.min()), int(values.max())
    if high - low >= _MOST_BINS:
        return np.unique(values.astype(np.int64), return_counts=True)
    if low < 0 or high >= _MOST_BINS:
        values = values.astype(np.int64) - low
    else:
        low = 0
    counts = np.bincount(values)
    present = np.flatnonzero(counts)
    return present + low, counts[present]


def _bins_of(numbers: np.ndarray) -> np.ndarray:
    """int64 bins in the order of the numbers: the leading bits of a float64, with its sign."""
    bits = np.abs(numbers.astype(np.float64)).view(np.int64) >> (52 - _BIN_BITS)
    return np.where(numbers < 0, -bits, bits)


def _values_of(bins: np.ndarray) -> np.ndarray:
    """The number of each bin that is nearest to 0."""
    return np.sign(bins) * (np.abs(bins) << (52 - _BIN_BITS)).view(np.float64)
