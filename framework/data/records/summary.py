"""What examples look like, in numbers that can be added up: range, mean and deviation, how many of each class."""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from framework.data.records.schema import Schema
from framework.data.sources import Example

# More different labels than this are no classes.
_MOST_CLASSES = 10_000


@dataclasses.dataclass(frozen=True)
class Numbers:
    """Finite numbers: how many, from where to where, and how they are spread.

    Attributes:
        count: How many.
        least: The smallest, 0 where there are none.
        largest: The largest.
        mean: Their mean.
        deviation: Their standard deviation.
    """

    count: int = 0
    least: float = 0.0
    largest: float = 0.0
    mean: float = 0.0
    deviation: float = 0.0

    @classmethod
    def of(cls, values: np.ndarray) -> Numbers:
        """Of an array of any shape."""
        values = np.asarray(values, np.float64).ravel()
        values = values[np.isfinite(values)]
        if not values.size:
            return cls()
        least, largest = float(values.min()), float(values.max())
        # By a power of two, which changes no bit: squares of large numbers are more than a float can hold.
        scale = math.ldexp(1.0, math.frexp(max(-least, largest))[1] - 1)
        return cls(values.size, least, largest, *(scale * float(f(values / scale)) for f in (np.mean, np.std)))

    def __add__(self, other: Numbers) -> Numbers:
        """Of both together (Chan, Golub and LeVeque 1979, equations 2.1)."""
        if not (self.count and other.count):
            return self if self.count else other
        count = self.count + other.count
        delta = other.mean - self.mean
        return Numbers(
            count,
            min(self.least, other.least),
            max(self.largest, other.largest),
            self.mean + delta * other.count / count,
            math.hypot(
                self.deviation * math.sqrt(self.count / count),
                other.deviation * math.sqrt(other.count / count),
                delta * math.sqrt(self.count * other.count) / count,
            ),
        )


@dataclasses.dataclass(frozen=True)
class Summary:
    """What the examples of a split look like.

    Attributes:
        numbers: `{feature, label or weight: Numbers}`; of text and encoded media the numbers of bytes.
        classes: `{label: {class id: examples}}` of whole-numbered labels; none where they are too many to be classes.
    """

    numbers: Mapping[str, Numbers] = dataclasses.field(default_factory=dict)
    classes: Mapping[str, Mapping[int, int]] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, schema: Schema, batches: Sequence[Example]) -> Summary:
        """Of batches of stored features, as arrays."""
        numbers, classes = {}, {}
        columns = [schema.columns(batch) for batch in batches]
        for title, field in schema.titled():
            values = np.concatenate([np.ravel(column[title]) for column in columns])
            numbers[title] = Numbers.of(_numeric(values))
            if title.startswith("label") and not field.feature.shape and values.dtype.kind in "iub":
                ids, counts = np.unique(values.astype(np.int64), return_counts=True)
                classes[title] = dict(zip(ids.tolist(), counts.tolist(), strict=True))
        return cls(numbers, classes)

    def __add__(self, other: Summary) -> Summary:
        nothing = Numbers()
        numbers = {
            title: self.numbers.get(title, nothing) + other.numbers.get(title, nothing)
            for title in dict.fromkeys([*self.numbers, *other.numbers])
        }
        classes = {}
        for title in dict.fromkeys([*self.classes, *other.classes]):
            counts = [summary.classes[title] for summary in (self, other) if title in summary.classes]
            added = sum(map(collections.Counter, counts), collections.Counter())
            classes[title] = dict(sorted(added.items())) if all(counts) and len(added) <= _MOST_CLASSES else {}
        return Summary(numbers, classes)

    def describe(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "numbers": {title: dataclasses.asdict(numbers) for title, numbers in self.numbers.items()},
            "classes": {title: {str(i): n for i, n in counts.items()} for title, counts in self.classes.items()},
        }

    @classmethod
    def parse(cls, description: Mapping[str, Any]) -> Summary:
        """The opposite of `describe`."""
        return cls(
            {title: Numbers(**numbers) for title, numbers in description["numbers"].items()},
            {title: {int(i): n for i, n in counts.items()} for title, counts in description["classes"].items()},
        )


def _numeric(values: np.ndarray) -> np.ndarray:
    """The values, or the lengths in bytes of what is text."""
    return np.array([len(tf.compat.as_bytes(item)) for item in values]) if values.dtype == object else values
