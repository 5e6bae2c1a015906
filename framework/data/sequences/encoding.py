"""What is learned of sequences from the training split, and what the model gets of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from framework.data.accumulators import Accumulator, Moments
from framework.data.counting import Quantiles, Vocabulary
from framework.data.records.sequence_schema import LENGTH
from framework.data.sequences.masking import masked_steps
from framework.data.sequences.protos import is_sequence
from framework.data.sources import Example
from framework.data.statistics import Collector, Statistics, progress
from framework.data.tables.columns import Column
from framework.data.tables.encoding import Encoding
from framework.data.tables.scanning import BOOLEAN, CATEGORICAL, IMAGE, NUMERIC
from framework.features import Feature
from framework.registry import did_you_mean

MASK = "mask"
# Of the training split's lengths, for people to look at: from the shortest to the longest.
_SHARES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)
_PERCENTILES, _LONGEST = "percentiles", "longest"


@dataclasses.dataclass(frozen=True)
class SequenceEncoding:
    """How features of sequences become a model's inputs.

    Numbers are standardized, those of a sequence channel by channel. Categories that come step by step become ids
    int64, the most frequent one 1 and unknown ones 0; those of the whole sequence are one-hot. What lies after an
    example's end is zero, and `mask` says where that is.

    Attributes:
        features: The raw features, among them the length.
        types: `{feature: "categorical" | "numeric"}`; by default single integers and texts are categories, and all else
            is numbers.
        max_length: Steps after which an example is cut: a number, or the share in (0, 1) of the training examples that
            are to stay whole.
        keep: Which steps of a longer example: the `"first"` or the `"last"`.
        max_categories: Of a feature: the most frequent ones.

    Raises:
        ValueError: `types` names no feature or no kind, text would be a number, or `max_length` isn't positive.
    """

    features: Mapping[str, Feature]
    types: Mapping[str, str] = dataclasses.field(default_factory=dict)
    max_length: int | float | None = None
    keep: Literal["first", "last"] = "first"
    max_categories: int = 1000

    def __post_init__(self):
        if MASK in self.features:
            raise ValueError(f"{MASK!r} is what says where an example's steps are. Give that feature another name.")
        for name, kind in self.types.items():
            if name not in self.features or name == LENGTH:
                raise ValueError(f"types= names no feature: {name!r}.{did_you_mean(name, self.features)}")
            kinds = _kinds(self.features[name])
            if kind not in kinds:
                expected = " or ".join(map(repr, kinds)) or "nothing"
                raise ValueError(f"types= has {kind!r} for {name!r}, {self.features[name]}; expected {expected}.")
        limit = self.max_length
        if limit is not None and not (limit >= 1 if isinstance(limit, int) else 0 < limit < 1):
            raise ValueError(f"max_length is a number of steps or a share in (0, 1), got {limit!r}.")
        if self.keep not in ("first", "last"):
            raise ValueError(f"keep must be 'first' or 'last', got {self.keep!r}.")

    def kind(self, name: str) -> str:
        """What a feature is taken for."""
        feature = self.features[name]
        if feature.is_encoded:
            return IMAGE
        if feature.dtype == "bool" and not is_sequence(feature):
            return BOOLEAN
        axes = feature.shape[1:] if is_sequence(feature) else feature.shape
        is_category = CATEGORICAL in _kinds(feature) and (not axes or feature.dtype == "string")
        return self.types.get(name, CATEGORICAL if is_category else NUMERIC)

    def learn(self, train: Iterable[Example]) -> dict[str, np.ndarray]:
        """Statistics of the training examples, in one pass: `"length/p95"` and the like among them."""
        collector = Collector(self._accumulators())
        for example in progress(train, "Learning statistics"):
            collector.update(Example(self._present(example.features), None))
        learned = collector.result()
        lengths = learned.pop(f"{LENGTH}/{_PERCENTILES}")
        return learned | {f"{LENGTH}/p{100 * share:g}": value for share, value in zip(_SHARES, lengths, strict=True)}

    def _accumulators(self) -> dict[str, list[Accumulator]]:
        shares = [] if self.max_length is None or isinstance(self.max_length, int) else [self.max_length]
        found: dict[str, list[Accumulator]] = {LENGTH: [Quantiles(_SHARES, name=_PERCENTILES)]}
        found[LENGTH] += [Quantiles(shares, name=_LONGEST)] if shares else []
        for name, feature in self.features.items():
            if is_sequence(feature):
                found[name] = [Vocabulary(self.max_categories) if self.kind(name) == CATEGORICAL else Moments()]
        return found | self._whole.accumulators(self._columns)

    def _present(self, features: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Feature lists without their padding: `[steps of all examples, ...]`."""
        arrays = {name: np.asarray(value) for name, value in features.items()}
        for name, feature in self.features.items():
            if is_sequence(feature):
                there = np.arange(arrays[name].shape[1]) < arrays[LENGTH][:, np.newaxis]
                arrays[name] = arrays[name][there]
        return arrays

    @property
    def _whole(self) -> Encoding:
        return Encoding(max_categories=self.max_categories)

    @property
    def _columns(self) -> list[Column]:
        """What is known of the features of whole sequences, as that of a table's columns."""
        return [
            Column(name, name, self.kind(name), feature, 0, name in self.types)
            for name, feature in self.features.items()
            if not is_sequence(feature) and name != LENGTH
        ]

    def longest(self, statistics: Statistics) -> int | None:
        """The steps after which an example is cut, if any is."""
        if self.max_length is None or isinstance(self.max_length, int):
            return self.max_length
        learned = statistics.get(f"{LENGTH}/{_LONGEST}")
        return None if learned is None else max(1, int(learned[0]))

    def encode(self, features: Mapping[str, tf.Tensor], statistics: Statistics) -> dict[str, tf.Tensor]:
        """The model's inputs, `{name: [batch, ...]}`, and `mask` bool `[batch, time]`."""
        steps = {
            name: self._encode_steps(name, features[name], statistics)
            for name, feature in self.features.items()
            if is_sequence(feature)
        }
        steps, mask = masked_steps(steps, features[LENGTH], max_length=self.longest(statistics), keep=self.keep)
        whole = {}
        for column in self._columns:
            value = features[column.name]
            value = tf.cast(value, tf.float32) if column.kind == NUMERIC else value
            whole[column.name] = self._whole.encode(column, value, statistics)
        return {**steps, MASK: mask, **whole}

    def _encode_steps(self, name: str, values: tf.Tensor, statistics: Statistics) -> tf.Tensor:
        if self.kind(name) == CATEGORICAL:
            return statistics.lookup(name)(values)
        standard = statistics.standardize(name, values)
        return tf.where(tf.math.is_nan(standard), tf.zeros_like(standard), standard)


def _kinds(feature: Feature) -> tuple[str, ...]:
    """What `types` may say of a feature."""
    if feature.is_encoded:
        return ()
    if feature.dtype == "string":
        return (CATEGORICAL,)
    return (NUMERIC, CATEGORICAL) if tf.as_dtype(feature.dtype).is_integer else (NUMERIC,)
