"""What a pipeline learns from its training split, and from nothing else.

`Pipeline.learn(train)` returns plain arrays by name; they are computed once, kept in the run directory, and reach
`preprocess` as `self.statistics`, so that evaluation, serving and the export all use the same numbers.
"""

from __future__ import annotations

import collections
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from framework import files
from framework.data.sources import Example
from framework.registry import did_you_mean


class UnknownStatisticError(KeyError):
    """A statistic that hasn't been learned. A `KeyError`, as a mapping raises it, with a message one can read."""

    def __str__(self) -> str:
        return str(self.args[0])


class Statistics(Mapping[str, np.ndarray]):
    """Named arrays learned from the training split, and the lookup tables made of them.

    Args:
        arrays: `{name: array-like}` of numbers or text.
    """

    def __init__(self, arrays: Mapping[str, Any] | None = None):
        self._arrays = {name: np.asarray(value) for name, value in (arrays or {}).items()}
        for name, array in self._arrays.items():
            if array.dtype.kind not in "fiubU":
                raise TypeError(f"The statistic {name!r} must be numbers or text, got an array of {array.dtype}.")
        self._lookups: dict[tuple[str, int], keras.layers.StringLookup | keras.layers.IntegerLookup] = {}

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._arrays:
            raise UnknownStatisticError(
                f"The statistic {name!r} hasn't been learned.{did_you_mean(name, self._arrays)} "
                f"Known: {', '.join(sorted(self._arrays)) or 'none'}. Return it from the pipeline's learn(train)."
            )
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def standardize(self, name: str, values: tf.Tensor) -> tf.Tensor:
        """`(values - mean) / deviation` in float32, with the `moments` learned for `name`."""
        return (tf.cast(values, tf.float32) - self[f"{name}/mean"]) / self[f"{name}/deviation"]

    def lookup(self, name: str, *, num_oov_indices: int = 1) -> keras.layers.Layer:
        """A Keras lookup layer over the vocabulary `name`: values -> indices, unknown ones first.

        The same layer each time, so that its table is created once and is part of the export.
        """
        key = (name, num_oov_indices)
        if key not in self._lookups:
            vocabulary = self[name]
            text = vocabulary.dtype.kind == "U"
            layer = keras.layers.StringLookup if text else keras.layers.IntegerLookup
            with tf.init_scope():
                self._lookups[key] = layer(vocabulary=vocabulary.tolist(), num_oov_indices=num_oov_indices)
        return self._lookups[key]

    @property
    def resources(self) -> list[keras.layers.Layer]:
        """What an export has to track so that its graph can be loaded."""
        return list(self._lookups.values())

    def save(self, path: pathlib.Path) -> None:
        """Writes an `.npz` file atomically."""
        with files.replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **self._arrays)  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: pathlib.Path) -> Statistics:
        with np.load(path, allow_pickle=False) as arrays:
            return cls(dict(arrays))


def moments(batches: Iterable[Example], names: Iterable[str]) -> dict[str, np.ndarray]:
    """Mean and standard deviation of numeric features over the examples, for `Statistics.standardize`.

    A single pass in float64 by pairwise updates (Chan, Golub and LeVeque 1979, "Updating Formulae and a Pairwise
    Algorithm for Computing Sample Variances", equations 2.1). A constant feature gets the deviation 1.

    Args:
        batches: Batched training examples, as `Pipeline.learn` is given.
        names: The features, each `[batch, ...]`.

    Returns:
        `{"<name>/mean": ..., "<name>/deviation": ...}`, float32 of the feature's own shape.
    """
    names = list(names)
    count = 0
    means: dict[str, Any] = dict.fromkeys(names, 0.0)
    squares: dict[str, Any] = dict.fromkeys(names, 0.0)
    for example in batches:
        added = len(example.features[names[0]])
        total = count + added
        for name in names:
            values = np.asarray(example.features[name], np.float64)
            batch_mean = values.mean(axis=0)
            delta = batch_mean - means[name]
            squares[name] += ((values - batch_mean) ** 2).sum(axis=0) + delta**2 * (count * added / total)
            means[name] += delta * (added / total)
        count = total
    learned = {}
    for name in names:
        deviation = np.sqrt(squares[name] / max(count, 1))
        learned[f"{name}/mean"] = np.asarray(means[name], np.float32)
        learned[f"{name}/deviation"] = np.asarray(np.where(deviation > 0, deviation, 1.0), np.float32)
    return learned


def vocabulary(batches: Iterable[Example], name: str, *, max_size: int | None = None) -> np.ndarray:
    """The values of a text or integer feature, most frequent first (ties in sorted order).

    Args:
        batches: Batched training examples, as `Pipeline.learn` is given.
        name: The feature.
        max_size: How many to keep; the rest is out of vocabulary.
    """
    counts: collections.Counter = collections.Counter()
    for example in batches:
        counts.update(np.asarray(example.features[name]).ravel().tolist())
    ranked = sorted(counts, key=lambda value: (-counts[value], value))[:max_size]
    return np.asarray([value.decode() if isinstance(value, bytes) else value for value in ranked])
