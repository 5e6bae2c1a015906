"""What is learned of each kind of column from the training split, and what the model gets of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from framework.data.accumulators import Accumulator, MissingShare, Moments
from framework.data.counting import Vocabulary
from framework.data.sources import Example
from framework.data.statistics import Statistics, collect
from framework.data.tables import dates
from framework.data.tables.columns import Column
from framework.data.tables.scanning import CATEGORICAL, DATE, IMAGE, NUMERIC, TEXT
from framework.data.tables.texts import Tokens


@dataclasses.dataclass(frozen=True)
class Encoding:
    """How columns become a model's inputs.

    Numbers and dates are standardized; where one is missing it is the mean, 0, and where any was missing in training
    there is a further value, 1 if this one is. Categories that weren't seen in training are all zeros, or id 0.

    Attributes:
        categories: `"one_hot"` is float32 `[batch, categories]`, which every model takes for what it is; `"ids"` int64
            `[batch]` for models with embeddings.
        max_categories: Of a column: the most frequent ones. Others are as if they weren't known.
        tokens: How texts become ids.
    """

    categories: Literal["one_hot", "ids"] = "one_hot"
    max_categories: int = 1000
    tokens: Tokens = Tokens()  # noqa: RUF009  frozen

    def __post_init__(self):
        if self.categories not in ("one_hot", "ids"):
            raise ValueError(f"categories must be 'one_hot' or 'ids', got {self.categories!r}.")
        if self.max_categories < 1:
            raise ValueError(f"max_categories must be at least 1, got {self.max_categories}.")

    def learn(self, batches: Iterable[Example], columns: Sequence[Column]) -> dict[str, np.ndarray]:
        """The statistics that `encode` needs, in one pass; in none where nothing is to be learned.

        Args:
            batches: The training examples, as they are stored.
            columns: The features.

        Raises:
            ValueError: There is no token in any text of a column.
        """
        accumulators = self.accumulators(columns)
        learned = collect(batches, accumulators) if accumulators else {}
        for column in columns:
            if column.kind == TEXT and not len(learned[column.name]):
                raise ValueError(
                    f"No token is in the training texts of {column.title!r}: leave it out, or standardize less."
                )
        return learned

    def accumulators(self, columns: Sequence[Column]) -> dict[str, list[Accumulator]]:
        """What is learned of each feature, for a pass that others share."""
        return {column.name: found for column in columns if (found := self._accumulators(column))}

    def _accumulators(self, column: Column) -> list[Accumulator]:
        if column.kind == NUMERIC or column.feature.dtype == "float32":
            return [Moments(), MissingShare()]
        if column.kind == DATE:
            return [Dates(column.name), MissingShare()]
        if column.kind == CATEGORICAL:
            return [Vocabulary(self.max_categories)]
        return self.tokens.accumulators() if column.kind == TEXT else []

    def encode(self, column: Column, values: tf.Tensor, statistics: Statistics) -> tf.Tensor:
        """The model's input for one column.

        Args:
            column: Which.
            values: Raw `[batch, ...]`.
            statistics: What was learned.
        """
        name = column.name
        if column.kind == IMAGE:
            return tf.cast(values, tf.float32) / 255.0
        if column.kind == TEXT:
            return self.tokens.ids(name, values, statistics)
        if column.kind == CATEGORICAL:
            ids = statistics.lookup(name)(values)
            # One less, so that the unknown category, 0, is beyond the end, where one_hot has zeros throughout.
            return ids if self.categories == "ids" else tf.one_hot(ids - 1, len(statistics[name]))
        if column.kind == DATE:
            days = dates.days_since_epoch(values, name)
            mean, deviation, has_time = (statistics[f"{name}/{part}"] for part in ("mean", "deviation", "has_time"))
            parts = dates.features_of(days, mean=mean, deviation=deviation, has_time=bool(has_time))
            return _with_missing(parts, tf.math.is_nan(days), statistics[f"{name}/missing"])
        if values.dtype == tf.bool:
            return tf.cast(values, tf.float32)
        is_missing = tf.math.is_nan(values)
        standard = tf.where(is_missing, tf.zeros_like(values), statistics.standardize(name, values))
        return _with_missing(standard, is_missing, statistics[f"{name}/missing"])


class Dates(Accumulator):
    """Mean and deviation of dates in days since 1970, and whether any has a time of the day.

    Args:
        name: Of the feature.
    """

    def __init__(self, name: str):
        self._name = name
        self._moments = Moments()
        self._has_time = False

    def update(self, values: np.ndarray) -> None:
        days = dates.days_since_epoch(tf.constant(values), self._name).numpy()
        self._moments.update(days)
        self._has_time |= bool(np.any(days[~np.isnan(days)] % 1))

    def merge(self, other: Dates) -> None:
        self._moments.merge(other._moments)
        self._has_time |= other._has_time

    def result(self) -> Mapping[str, Any]:
        """`mean` and `deviation` float32 in days, `has_time` bool."""
        return {**self._moments.result(), "has_time": np.asarray(self._has_time)}


def _with_missing(values: tf.Tensor, is_missing: tf.Tensor, share: np.ndarray) -> tf.Tensor:
    """With a further value for each that may be missing, on the last axis, where any was missing in training."""
    if not share:
        return values
    flags = tf.cast(is_missing, tf.float32)
    if flags.shape.rank == 1:
        flags = flags[:, tf.newaxis]
        values = values if values.shape.rank == 2 else values[:, tf.newaxis]
    return tf.concat([values, flags], axis=-1)
