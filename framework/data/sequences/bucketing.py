"""Batches of examples of like length, in an order that still is a seeded permutation.

A batch is as long as its longest example; the rest is padding, which is computed like anything else.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from framework.data.sources import Example, Source


def length_buckets(lengths: np.ndarray, spread: float) -> np.ndarray:
    """Numbers lengths so that those with the same number differ by at most the factor `1 + spread`; int64, ascending.

    Args:
        lengths: Integers `[examples]`, at least 0.
        spread: Positive.
    """
    return np.floor(np.log(np.maximum(lengths, 1)) / np.log1p(spread)).astype(np.int64)


def bucketed_order(buckets: tf.Tensor, seed: tf.Tensor, epoch: tf.Tensor, batch_size: int) -> tf.Tensor:
    """A permutation int64 `[examples]` whose batches hold examples of one bucket, or of neighbouring ones.

    Which examples of a bucket come together and the order of batches are random, a function of (seed, epoch). The batch
    that isn't full, at the end, is a random one too: no length is there more often than others.

    Args:
        buckets: int64 `[examples]`, such as `length_buckets`.
        seed: int64 `[]`.
        epoch: int64 `[]`.
        batch_size: Of a batch.
    """
    count = tf.size(buckets, tf.int64)
    key = tf.stack([tf.cast(seed, tf.int64), tf.cast(epoch, tf.int64)])
    shuffle = tf.random.experimental.stateless_shuffle
    fold_in = tf.random.experimental.stateless_fold_in
    shuffled = shuffle(tf.range(count), key)
    by_bucket = tf.gather(shuffled, tf.argsort(tf.gather(buckets, shuffled), stable=True))
    full, rest = count // batch_size, count % batch_size
    # The short batch is taken out before one of the full ones, or after the last.
    before = batch_size * tf.random.stateless_uniform([], fold_in(key, 1), 0, full + 1, tf.int64)
    others = tf.concat([by_bucket[:before], by_bucket[before + rest :]], axis=0)
    batches = shuffle(tf.reshape(others, [full, batch_size]), fold_in(key, 2))
    return tf.concat([tf.reshape(batches, [-1]), by_bucket[before : before + rest]], axis=0)


def padding_share(lengths: np.ndarray, order: np.ndarray, batch_size: int) -> float:
    """The share of steps that are padding, when batches are cut from `order` and padded to their longest example."""
    ordered = np.asarray(lengths)[order]
    firsts = np.arange(0, len(ordered), batch_size)
    sizes = np.diff(np.append(firsts, len(ordered)))
    return float(1.0 - ordered.sum() / max(1, (np.maximum.reduceat(ordered, firsts) * sizes).sum()))


class BucketedSource(Source):
    """Another source with random access, trained on in batches of examples of like length.

    Args:
        source: Whose examples these are.
        lengths: Steps of each of them, integers `[examples]`.
        spread: By what share lengths may differ within a bucket, and so about the largest share of a batch that is
            padding. Smaller ones pad less, and leave fewer examples to choose a batch from.

    Raises:
        ValueError: `source` is a stream, there isn't one length for each example, or `spread` isn't positive.
    """

    def __init__(self, source: Source, lengths: np.ndarray, *, spread: float = 0.1):
        lengths = np.asarray(lengths)
        if not source.random_access:
            raise ValueError(f"Bucketing needs random access, {type(source).__name__} is a stream.")
        if lengths.shape != (source.num_examples,):
            raise ValueError(f"Expected a length for each of {source.num_examples} examples, got {lengths.shape}.")
        if not spread > 0:
            raise ValueError(f"spread is by what share lengths of a bucket may differ, more than 0; got {spread}.")
        self.source, self.lengths, self.spread = source, lengths, spread
        self.num_examples, self.spec = source.num_examples, source.spec
        # Outside of any graph, which would hold a copy of it.
        with tf.init_scope(), tf.device("CPU"):
            self._buckets = tf.constant(length_buckets(lengths, spread))

    @property
    def random_access(self) -> bool:
        return True

    def gather(self, indices: tf.Tensor) -> Example:
        return self.source.gather(indices)

    def epoch_order(self, seed: tf.Tensor, epoch: tf.Tensor, batch_size: int) -> tf.Tensor:
        return bucketed_order(self._buckets, seed, epoch, batch_size)

    def padding(self, batch_size: int) -> tuple[float, float]:
        """The shares of a training epoch's steps that are padding: shuffled without buckets, and with them."""
        zero = tf.constant(0, tf.int64)
        plain, bucketed = super().epoch_order(zero, zero, batch_size), self.epoch_order(zero, zero, batch_size)
        return (
            padding_share(self.lengths, plain.numpy(), batch_size),
            padding_share(self.lengths, bucketed.numpy(), batch_size),
        )

    def without(self, indices: Sequence[int]) -> BucketedSource:
        kept = np.delete(self.lengths, np.asarray(indices, np.int64))
        return BucketedSource(self.source.without(indices), kept, spread=self.spread)

    def place(self, index: int) -> str:
        return self.source.place(index)

    def fingerprint(self) -> str:
        return self.source.fingerprint()
