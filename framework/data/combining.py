"""Sources made of other sources: one after the other, and with a weight for each example."""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from framework.data.sources import Example, Source


class Wrapped(Source):
    """The examples of another source; subclasses change what they come with, or their order in training.

    Args:
        source: With random access.

    Raises:
        TypeError: It is a stream.
    """

    def __init__(self, source: Source):
        check_random_access(source, type(self).__name__)
        self.source = source
        self.num_examples = source.num_examples
        self.spec = source.spec

    @property
    def random_access(self) -> bool:
        return True

    @property
    def stored(self) -> Source:
        stored = self.source.stored
        return self if stored is self.source else stored

    def gather(self, indices: tf.Tensor) -> Example:
        return self.source.gather(indices % self.num_examples)

    def place(self, index: int) -> str:
        return self.source.place(index % self.num_examples)

    def fingerprint(self) -> str:
        return digest(self, [self.source])

    @property
    def arguments(self) -> list[Any]:
        """What else than the source this was made of, for the fingerprint: arrays, and plain values."""
        return []


class Weighted(Wrapped):
    """The same examples, each with a weight in the loss (and in Keras' weighted metrics).

    To see examples more often instead, use `framework.data.sampling.Resampled`.

    Args:
        source: With random access. Weights that it has already are multiplied with these.
        weights: float `[examples]`, not negative; `class_weights(labels)[labels]` makes classes count alike.

    Raises:
        ValueError: There isn't one weight for each example, or one is negative or not finite.
    """

    def __init__(self, source: Source, weights: Any):
        super().__init__(source)
        self.weights = check_weights(weights, source.num_examples).astype(np.float32)
        self._tensor = constant(self.weights)
        self.spec = source.spec._replace(weights=tf.TensorSpec((None,), tf.float32))

    @property
    def epoch_examples(self) -> int:
        return self.source.epoch_examples

    def epoch_order(self, seed: tf.Tensor, epoch: tf.Tensor, batch_size: int) -> tf.Tensor:
        return self.source.epoch_order(seed, epoch, batch_size)

    def gather(self, indices: tf.Tensor) -> Example:
        example = super().gather(indices)
        weights = tf.gather(self._tensor, indices % self.num_examples)
        return example._replace(weights=weights if self.source.spec.weights is None else weights * example.weights)

    def without(self, indices: Sequence[int]) -> Source:
        return Weighted(self.source.without(indices), np.delete(self.weights, indices))

    @property
    def arguments(self) -> list[Any]:
        return [self.weights]


class Concatenation(Source):
    """Several sources of one form, one after the other.

    Args:
        sources: With random access, and with the same features and labels. Where lengths vary, a batch is padded with
            zeros (or empty text) to its longest.

    Raises:
        TypeError: One is a stream.
        ValueError: There are none, or their specs differ.
    """

    def __init__(self, sources: Sequence[Source]):
        if not sources:
            raise ValueError("A concatenation needs at least one source.")
        for source in sources:
            check_random_access(source, type(self).__name__)
        self.sources = list(sources)
        self.spec = _shared_spec([source.spec for source in sources])
        self.ends = np.cumsum([source.num_examples for source in sources])
        self.starts = self.ends - [source.num_examples for source in sources]
        self.num_examples = int(self.ends[-1])

    @property
    def random_access(self) -> bool:
        return True

    @property
    def stored(self) -> Source:
        stored = [source.stored for source in self.sources]
        return self if all(map(operator.is_, stored, self.sources)) else Concatenation(stored)

    def gather(self, indices: tf.Tensor) -> Example:
        number = tf.searchsorted(tf.constant(self.ends, tf.int64), indices, side="right")
        rows, parts = [], []
        for which, (source, start) in enumerate(zip(self.sources, self.starts.tolist(), strict=True)):
            row = tf.reshape(tf.where(number == which), [-1])
            count = tf.size(row)
            # A source need not be able to gather nothing: then it is asked for an example that is cut off again.
            own = tf.concat([tf.gather(indices, row) - start, tf.zeros([tf.cast(count == 0, tf.int32)], tf.int64)], 0)
            rows.append(tf.cast(row, tf.int32))
            parts.append(tf.nest.map_structure(_first_of(count), source.gather(own)))
        return _merged(parts, rows, self.spec, indices.shape[0])

    def place(self, index: int) -> str:
        which = int(np.searchsorted(self.ends, index, side="right"))
        return self.sources[which].place(index - int(self.starts[which]))

    def without(self, indices: Sequence[int]) -> Source:
        return Concatenation(self.sources_without(indices))

    def sources_without(self, indices: Sequence[int]) -> list[Source]:
        """The sources, each without those of its examples that are at these indices of the whole."""
        skipped = np.asarray(indices, np.int64)
        parts = []
        for source, start, end in zip(self.sources, self.starts, self.ends, strict=True):
            own = skipped[(skipped >= start) & (skipped < end)] - start
            parts.append(source.without(own.tolist()) if len(own) else source)
        return parts

    def fingerprint(self) -> str:
        return digest(self, self.sources)


def check_random_access(source: Source, what: str) -> None:
    """Checks that a source isn't a stream.

    Raises:
        TypeError: It is.
    """
    if not source.random_access:
        raise TypeError(
            f"{what} needs sources with random access, got the stream {type(source).__name__}. "
            "Write it to records first, or read it into arrays."
        )


def check_weights(weights: Any, num_examples: int) -> np.ndarray:
    """Weights as float64 `[examples]`.

    Raises:
        ValueError: There isn't one for each example, one is negative or not finite, or all are 0.
    """
    weights = np.asarray(weights, np.float64)
    if weights.shape != (num_examples,):
        raise ValueError(f"Weights must be one number for each of {num_examples} examples, got shape {weights.shape}.")
    bad = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(bad):
        raise ValueError(f"Weights must be finite and not negative, that of example {bad[0]} is {weights[bad[0]]}.")
    if not weights.any():
        raise ValueError("All weights are 0; nothing would be learned.")
    return weights


def constant(array: np.ndarray) -> tf.Tensor:
    """A tensor outside of any graph, which would hold a copy of it."""
    with tf.init_scope(), tf.device("CPU"):
        return tf.constant(array)


def digest(made: Any, sources: Sequence[Source]) -> str:
    """A fingerprint of what was made of sources and `made.arguments`."""
    digest = hashlib.blake2b(type(made).__name__.encode(), digest_size=16)
    for source in sources:
        digest.update(source.fingerprint().encode())
    for argument in getattr(made, "arguments", ()):
        digest.update(argument.tobytes() if isinstance(argument, np.ndarray) else repr(argument).encode())
    return digest.hexdigest()


def _shared_spec(specs: Sequence[Example]) -> Example:
    """The spec of what may come from any of several sources: an axis that differs is `None`."""

    def widest(one: Any, other: Any) -> Any:
        if one is None and other is None:
            return None
        if one.dtype != other.dtype or one.shape.rank != other.shape.rank:
            raise ValueError
        return tf.TensorSpec(one.shape.most_specific_compatible_shape(other.shape), one.dtype)

    shared = specs[0]
    for number, spec in enumerate(specs[1:], 1):
        try:
            shared = tf.nest.map_structure(widest, shared, spec)
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(
                f"Sources that are put together must have the same features, labels and weights. Number {number} has "
                f"{spec}, those before it {shared}."
            ) from error
    return shared


def _first_of(count: tf.Tensor) -> Any:
    return lambda tensor: None if tensor is None else tensor[:count]


def _merged(parts: Sequence[Example], rows: Sequence[tf.Tensor], spec: Example, count: int | None) -> Example:
    """One batch of the parts' rows."""

    def merge(spec: Any, *tensors: Any) -> Any:
        if spec is None:
            return None
        if None in spec.shape[1:].as_list():
            longest = tf.reduce_max(tf.stack([tf.shape(tensor)[1:] for tensor in tensors]), axis=0)
            tensors = tuple(_padded(tensor, longest) for tensor in tensors)
        merged = tf.dynamic_stitch(list(rows), list(tensors))
        return tf.ensure_shape(merged, [count, *spec.shape[1:]])

    return tf.nest.map_structure(merge, spec, *parts)


def _padded(tensor: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    after = tf.concat([[0], size - tf.shape(tensor)[1:]], axis=0)
    return tf.pad(tensor, tf.stack([tf.zeros_like(after), after], axis=1))
