"""Which examples a training epoch has, where it isn't every one once.

* `Balanced`: every class equally often;
* `Resampled`: examples in proportion to weights (`framework.data.combining.Weighted` puts weights into the loss);
* `Mixture`: several sources by rates.

    def source(self, phase):
        return Balanced(self.splits[phase]) if phase == "train" else self.splits[phase]

They change the order of training alone: `batches`, from which statistics are learned and which evaluation reads, has
every example once. An epoch's order is a function of (seed, epoch), so that a run resumes by a jump. The members of a
class, and the examples of a source in a mixture, are drawn in permutations that go on from one epoch to the next: what
an epoch leaves out comes in the following ones, and in the long run all are seen equally often.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from framework.data import random
from framework.data.accumulators import balancing_weights
from framework.data.combining import (
    Concatenation,
    Weighted,
    Wrapped,
    check_weights,
    constant,
    digest,
)
from framework.data.proportions import apportion
from framework.data.sources import Example, Source, Subset
from framework.data.splits import read_labels

__all__ = ["Balanced", "Concatenation", "Mixture", "Resampled", "Subset", "Weighted", "class_weights"]


class Balanced(Wrapped):
    """Epochs as long as the source in which every class comes equally often.

    Where the number of examples isn't a multiple of the number of classes, some have one example more; which ones
    goes round from epoch to epoch.

    Args:
        source: With random access.
        labels: Class ids or names `[examples]`; by default the labels of the source, which are read in a pass over it
            unless they lie in memory.

    Raises:
        TypeError: The source is a stream.
        ValueError: There isn't one label for each example.
    """

    def __init__(self, source: Source, labels: Any = None):
        super().__init__(source)
        labels = np.asarray(read_labels(source) if labels is None else labels)
        if labels.shape != (source.num_examples,):
            raise ValueError(
                f"Balanced needs one class for each of {source.num_examples} examples, got labels of shape "
                f"{labels.shape}. Pass labels= with the classes to balance."
            )
        self.labels = labels
        _, classes, sizes = np.unique(labels, return_inverse=True, return_counts=True)
        self._classes = classes
        self._members = constant(np.argsort(classes, kind="stable").astype(np.int64))
        self._sizes = constant(sizes.astype(np.int64))

    def epoch_order(self, seed: tf.Tensor, epoch: tf.Tensor, batch_size: int) -> tf.Tensor:
        num_classes = int(self._sizes.shape[0])
        quota, more = divmod(self.num_examples, num_classes)
        before, after = (
            # How often each class was drawn before an epoch; those with one more went round `more` at a time.
            e * quota + (e * more + tf.range(num_classes - 1, -1, -1, tf.int64)) // num_classes
            for e in (epoch, epoch + 1)
        )
        members, rounds = _take_turns(self._members, self._sizes, before, after, seed)
        return _shuffled(members + self.num_examples * rounds, seed, epoch)

    def without(self, indices: Sequence[int]) -> Source:
        return Balanced(self.source.without(indices), np.delete(self.labels, indices))

    @property
    def arguments(self) -> list[Any]:
        return [self._classes]


class Resampled(Wrapped):
    """Epochs as long as the source into which every example comes in proportion to a weight.

    By systematic sampling (Madow and Madow 1944, "On the Theory of Systematic Sampling"): one that is due 2.3 times
    comes twice or three times, and 2.3 times on average; one of weight 0 never.

    Args:
        source: With random access.
        weights: float `[examples]`, not negative.

    Raises:
        TypeError: The source is a stream.
        ValueError: There isn't one weight for each example, one is negative or not finite, or all are 0.
    """

    def __init__(self, source: Source, weights: Any):
        super().__init__(source)
        self.weights = check_weights(weights, source.num_examples)
        # In whole parts of an example, since a sum of floats depends on how it is divided among threads.
        self._parts = 2 ** min(30, 52 - source.num_examples.bit_length())
        lengths = np.rint(self.weights / math.fsum(self.weights) * (source.num_examples * self._parts)).astype(np.int64)
        lengths[np.argmax(lengths)] += source.num_examples * self._parts - lengths.sum()
        self._lengths = constant(lengths)
        self._most = int(lengths.max()) // self._parts + 2

    def epoch_order(self, seed: tf.Tensor, epoch: tf.Tensor, batch_size: int) -> tf.Tensor:
        # Laid end to end, in another order each time, and picked wherever a whole number lies.
        laid = super().epoch_order(seed, epoch, batch_size)
        offset = random.integers(random.fold_in(random.example_seeds(seed, epoch, [0]), "offset"), [], 0, self._parts)
        ends = (tf.cumsum(tf.gather(self._lengths, laid)) + tf.cast(offset, tf.int64)) // self._parts
        counts = ends - tf.concat([[0], ends[:-1]], axis=0)
        which, again = _repeated(counts)
        drawn = tf.gather(laid, which)
        return _shuffled(drawn + self.num_examples * (epoch * self._most + again), seed, epoch)

    def without(self, indices: Sequence[int]) -> Source:
        return Resampled(self.source.without(indices), np.delete(self.weights, indices))

    @property
    def arguments(self) -> list[Any]:
        return [self.weights]


class Mixture(Source):
    """Several sources of one form, mixed by rates that are exact in every epoch.

    Args:
        sources: `{name: (source, rate)}`; rates are positive and in proportion to one another. Each source is drawn in
            its own order (so it may be a `Balanced` one), round and round.
        num_examples: Of an epoch; by default as many as there are in all sources together.

    Raises:
        TypeError: One is a stream.
        ValueError: A rate isn't positive, gives a source no example in an epoch, or the sources' specs differ.
    """

    def __init__(self, sources: Mapping[str, tuple[Source, float]], num_examples: int | None = None):
        rates = {name: float(rate) for name, (_, rate) in sources.items()}
        if not rates or not all(0 < rate < float("inf") for rate in rates.values()):
            raise ValueError(f"A mixture needs sources with positive rates, got {rates}.")
        self.rates = rates
        self._all = Concatenation([source for source, _ in sources.values()])
        self.num_examples = self._all.num_examples
        self.spec = self._all.spec
        self._epoch_examples = self.num_examples if num_examples is None else num_examples
        self.quotas = dict(zip(rates, apportion(self._epoch_examples, list(rates.values())).tolist(), strict=True))
        if min(self.quotas.values()) < 1:
            raise ValueError(
                f"With {self._epoch_examples} examples an epoch the rates {rates} give {self.quotas}: raise "
                "num_examples, or leave out the sources that get none."
            )

    @property
    def random_access(self) -> bool:
        return True

    @property
    def epoch_examples(self) -> int:
        return self._epoch_examples

    def epoch_order(self, seed: tf.Tensor, epoch: tf.Tensor, batch_size: int) -> tf.Tensor:
        drawn = []
        for number, (source, quota) in enumerate(zip(self._all.sources, self.quotas.values(), strict=True)):
            # Otherwise two sources of one length would be drawn in one order.
            own = random.fold_in(random.example_seeds(seed, number, [0]), "mixture")[0, 0]
            length = source.epoch_examples
            first, last = epoch * quota, (epoch + 1) * quota
            rounds = tf.range(first // length, (last - 1) // length + 1)
            orders = tf.map_fn(functools.partial(source.epoch_order, own, batch_size=batch_size), rounds)
            begin = first - rounds[0] * length
            indices = tf.reshape(orders, [-1])[begin : begin + quota]
            # An index comes at most once in a round, and its own repetitions only grow from one round to the next.
            again = (first + tf.range(quota, dtype=tf.int64)) // length + indices // source.num_examples
            drawn.append(int(self._all.starts[number]) + indices % source.num_examples + self.num_examples * again)
        return _shuffled(tf.concat(drawn, axis=0), seed, epoch)

    def gather(self, indices: tf.Tensor) -> Example:
        return self._all.gather(indices % self.num_examples)

    def place(self, index: int) -> str:
        return self._all.place(index % self.num_examples)

    def without(self, indices: Sequence[int]) -> Source:
        rest = self._all.sources_without(indices)
        sources = dict(zip(self.rates, zip(rest, self.rates.values(), strict=True), strict=True))
        return Mixture(sources, None if self._epoch_examples == self.num_examples else self._epoch_examples)

    def fingerprint(self) -> str:
        return digest(self, self._all.sources)

    @property
    def arguments(self) -> list[Any]:
        """What else than its sources this was made of, for the fingerprint."""
        return [self.quotas]


def class_weights(labels: Any, num_classes: int | None = None) -> np.ndarray:
    """Weights float32 `[classes]` with which all classes count alike, and an example 1 on average.

    Args:
        labels: Class ids int `[examples]`.
        num_classes: By default one more than the largest label. Classes without examples weigh 0.
    """
    return balancing_weights(np.bincount(np.asarray(labels), minlength=num_classes or 0))


def _take_turns(
    members: tf.Tensor, sizes: tf.Tensor, before: tf.Tensor, after: tf.Tensor, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """What comes of drawing from groups, each of which goes round and round in a new permutation every time.

    Args:
        members: int64 `[examples]`, group after group.
        sizes: int64 `[groups]`.
        before: int64 `[groups]`, how often a group was drawn from before; this is where its turn begins.
        after: int64 `[groups]`, where it ends.
        seed: int64 `[]`.

    Returns:
        int64 `[draws]` members, group after group, and in which round of its group each one was drawn.
    """
    # Every round in which a group is now, whole.
    first = before // sizes
    group, later = _repeated(tf.where(after > before, (after - 1) // sizes + 1 - first, 0))
    round_number = tf.gather(first, group) + later
    which, place = _repeated(tf.gather(sizes, group))
    group, round_number = tf.gather(group, which), tf.gather(round_number, which)
    member = tf.gather(members, tf.gather(tf.cumsum(sizes, exclusive=True), group) + place)
    # Sorted by random numbers within each, they are permutations.
    seeds = random.fold_in(random.example_seeds(seed, round_number, member), "turns")
    key = tf.cast(random.integers(seeds, [], -(2**31), 2**31), tf.int64)
    member = tf.gather(member, tf.argsort(which * 2**32 + key))
    drawn = round_number * tf.gather(sizes, group) + place
    now = tf.logical_and(drawn >= tf.gather(before, group), drawn < tf.gather(after, group))
    return tf.boolean_mask(member, now), tf.boolean_mask(round_number, now)


def _repeated(counts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Each place of int64 `[n]` as often as it says, and how often it came before: int64 `[sum]` both.

    `tf.repeat` needs memory for the largest count at every place.
    """
    ends = tf.cumsum(counts)
    numbers = tf.range(tf.reduce_sum(counts))
    which = tf.searchsorted(ends, numbers, side="right", out_type=tf.int64)
    return which, numbers - tf.gather(ends - counts, which)


def _shuffled(indices: tf.Tensor, seed: tf.Tensor, epoch: tf.Tensor) -> tf.Tensor:
    # Not (seed, epoch), of which the source's own permutation is made.
    return tf.random.experimental.stateless_shuffle(indices, tf.stack([seed, -1 - epoch]))
