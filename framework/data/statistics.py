"""What a pipeline learns from its training split, and from nothing else.

`Pipeline.learn(train)` returns plain arrays by name; they are computed once, kept in the run directory, and reach
`preprocess` as `self.statistics`, so that evaluation, serving and the export all use the same numbers.

    def learn(self, train):
        return statistics.collect(train, {"age": Moments(), "colour": Vocabulary(1000), "labels": ClassCounts(10)})

`collect` feeds all accumulators in one pass. Their results are the same to the last bit however examples come in
batches, and wherever parts of them were counted: workers that have seen a part each merge their `Collector`s.
"""

from __future__ import annotations

import pathlib
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import keras
import numpy as np
import tensorflow as tf

from framework import files
from framework.data.accumulators import (
    Accumulator,
    ClassCounts,
    MissingShare,
    Moments,
    Ranges,
    balancing_weights,
)
from framework.data.counting import Quantiles, Vocabulary, lengths
from framework.data.sources import Example
from framework.registry import did_you_mean

__all__ = [
    "Accumulator",
    "ClassCounts",
    "Collector",
    "MissingShare",
    "Moments",
    "Quantiles",
    "Ranges",
    "Statistics",
    "UnknownStatisticError",
    "Vocabulary",
    "balancing_weights",
    "collect",
    "lengths",
    "moments",
    "progress",
    "vocabulary",
]

Batch = TypeVar("Batch")


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
                self._lookups[key] = layer(
                    vocabulary=vocabulary.tolist(),
                    num_oov_indices=num_oov_indices,
                    # Not Keras' own, "[UNK]" and -1: a vocabulary may have them, and Keras would take them for this.
                    oov_token="\0" if text else int(np.iinfo(np.int64).min),
                )
        return self._lookups[key]

    @property
    def resources(self) -> list[keras.layers.Layer]:
        """What an export has to track so that its graph can be loaded."""
        return list(self._lookups.values())

    def save(self, path: pathlib.Path) -> None:
        """Writes an `.npz` file atomically."""
        # As np.savez does it, which can't take an array that is called "file".
        with files.replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
            for name, array in self._arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                    np.lib.format.write_array(entry, array, allow_pickle=False)

    @classmethod
    def load(cls, path: pathlib.Path) -> Statistics:
        with np.load(path, allow_pickle=False) as arrays:
            return cls(dict(arrays))


class Collector:
    """Accumulators of several features, fed with whole batches.

    Args:
        accumulators: `{name: accumulator}`, or several of them in a list. The name is that of a feature, `"labels"`,
            `"labels/<head>"` or `"weights"`.
    """

    def __init__(self, accumulators: Mapping[str, Accumulator | Sequence[Accumulator]]):
        self.accumulators = {
            name: [given] if isinstance(given, Accumulator) else list(given) for name, given in accumulators.items()
        }

    def update(self, example: Example) -> None:
        """Adds a batch.

        Raises:
            ValueError: It has no such feature, or the labels have no such head.
        """
        for name, accumulators in self.accumulators.items():
            values = np.asarray(_tensor(example, name))
            if values.dtype.name == "bfloat16":  # not a number to NumPy
                values = values.astype(np.float32)
            for accumulator in accumulators:
                accumulator.update(values)

    def merge(self, other: Collector) -> None:
        """Adds what another one with the same accumulators has seen."""
        for name, accumulators in self.accumulators.items():
            for own, others in zip(accumulators, other.accumulators[name], strict=True):
                own.merge(others)

    def result(self) -> dict[str, np.ndarray]:
        """What `Statistics` takes: `"age/mean"` where an accumulator names its results, `"colour"` where it doesn't.

        Raises:
            ValueError: Two accumulators of a feature have a result of the same name.
        """
        results: dict[str, np.ndarray] = {}
        for name, accumulators in self.accumulators.items():
            for accumulator in accumulators:
                learned = accumulator.result()
                named = (
                    {f"{name}/{part}": value for part, value in learned.items()} if isinstance(learned, dict) else {}
                )
                for key, value in (named or {name: learned}).items():
                    if key in results:
                        raise ValueError(f"Two accumulators make the statistic {key!r}. Give one of them a name=.")
                    results[key] = value
        return results


def collect(
    train: Iterable[Example],
    accumulators: Mapping[str, Accumulator | Sequence[Accumulator]],
    *,
    total: int | None = None,
    verbose: bool | None = None,
) -> dict[str, np.ndarray]:
    """Learns everything in one pass over the training examples; what it returns is what `learn` may return.

    Args:
        train: Batched training examples, as `Pipeline.learn` is given.
        accumulators: As `Collector` takes them.
        total: Batches, where the dataset doesn't know.
        verbose: Whether there is a progress bar; by default on a terminal.
    """
    collector = Collector(accumulators)
    for example in progress(train, "Learning statistics", total=total, verbose=verbose):
        collector.update(example)
    return collector.result()


def progress(
    batches: Iterable[Batch], title: str, *, total: int | None = None, verbose: bool | None = None
) -> Iterator[Batch]:
    """The batches one by one, with a progress bar under a title; for arguments see `collect`."""
    if verbose is None:
        verbose = sys.stdout.isatty()
    if total is None and isinstance(batches, tf.data.Dataset):
        cardinality = int(batches.cardinality())
        total = cardinality if cardinality >= 0 else None
    if verbose:
        print(title)
    bar = keras.utils.Progbar(total, verbose=int(verbose), unit_name="batch")
    for example in batches:
        yield example
        bar.add(1)


def moments(batches: Iterable[Example], names: Iterable[str]) -> dict[str, np.ndarray]:
    """Mean and standard deviation of numeric features over the examples, for `Statistics.standardize`.

    Args:
        batches: Batched training examples, as `Pipeline.learn` is given.
        names: The features, each `[batch, ...]`.

    Returns:
        `{"<name>/mean": ..., "<name>/deviation": ...}`, float32 of the feature's own shape; see `Moments`.
    """
    return collect(batches, {name: Moments() for name in names})


def vocabulary(batches: Iterable[Example], name: str, *, max_size: int | None = None) -> np.ndarray:
    """The values of a text or integer feature, most frequent first (ties in sorted order).

    Args:
        batches: Batched training examples, as `Pipeline.learn` is given.
        name: The feature.
        max_size: How many to keep; the rest is out of vocabulary.
    """
    return collect(batches, {name: Vocabulary(max_size)})[name]


def _tensor(example: Example, name: str) -> Any:
    """A feature, or labels or weights by the name that accumulators give them."""
    tensors = dict(example.features)
    if isinstance(example.labels, Mapping):
        tensors |= {f"labels/{head}": labels for head, labels in example.labels.items()}
    else:
        tensors.setdefault("labels", example.labels)
    if example.weights is not None:
        tensors.setdefault("weights", example.weights)
    if name not in tensors:
        raise ValueError(
            f"There is no feature {name!r} to learn from.{did_you_mean(name, tensors)} There are {sorted(tensors)}."
        )
    return tensors[name]
