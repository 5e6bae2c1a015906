import itertools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from framework.data.sequences.bucketing import BucketedSource, bucketed_order, length_buckets, padding_share
from framework.data.sources import ArraySource, DatasetSource
from framework.data.train import Position, train_dataset
from framework.testing import toy_sequences

LENGTHS = np.clip(np.random.default_rng(0).lognormal(4.0, 0.8, 3000), 1, 1000).astype(np.int64)

_order = tf.function(
    bucketed_order,
    input_signature=[
        tf.TensorSpec((None,), tf.int64),
        *(tf.TensorSpec((), tf.int64),) * 2,
        tf.TensorSpec((), tf.int64),
    ],
)


def order(buckets, seed=0, epoch=0, batch_size=32):
    return _order(*(tf.constant(value, tf.int64) for value in (buckets, seed, epoch, batch_size))).numpy()


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=60),
    st.integers(1, 70),
    st.integers(0, 2**40),
    st.integers(0, 1000),
)
def test_every_epoch_is_a_permutation_that_seed_and_epoch_decide(buckets, batch_size, seed, epoch):
    found = order(buckets, seed, epoch, batch_size)
    assert sorted(found) == list(range(len(buckets)))
    np.testing.assert_array_equal(found, order(buckets, seed, epoch, batch_size))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=80), st.integers(1, 16), st.integers(0, 100))
def test_a_batch_holds_neighbours_by_length(buckets, batch_size, epoch):
    """All batches put side by side by their least bucket ascend: none jumps over an example that it could have had."""
    found = np.array(buckets)[order(buckets, 0, epoch, batch_size)]
    batches = sorted(
        (sorted(found[first : first + batch_size].tolist()) for first in range(0, len(found), batch_size)),
        key=lambda batch: (batch[0], batch[-1]),
    )
    assert list(itertools.chain(*batches)) == sorted(buckets)


def test_orders_differ_and_batches_too():
    buckets = length_buckets(LENGTHS, 0.1)
    first, second, other = order(buckets), order(buckets, epoch=1), order(buckets, seed=1)
    assert (first != second).mean() > 0.9
    assert (first != other).mean() > 0.9
    assert (order(buckets, seed=1, epoch=0) != order(buckets, seed=0, epoch=1)).mean() > 0.9
    mates = [
        {frozenset(batch) for batch in found[: len(found) // 32 * 32].reshape(-1, 32).tolist()}
        for found in (first, second)
    ]
    assert not mates[0] & mates[1]


def test_batches_come_in_a_random_order():
    buckets = length_buckets(LENGTHS, 0.1)
    means = np.array(
        [LENGTHS[order(buckets, epoch=epoch)][: 93 * 32].reshape(93, 32).mean(axis=1) for epoch in range(20)]
    )
    ranks = means.argsort(axis=1).argsort(axis=1)
    places = np.broadcast_to(np.arange(93), ranks.shape)
    assert abs(np.corrcoef(ranks.ravel(), places.ravel())[0, 1]) < 0.1


def test_the_batch_that_is_not_full_has_no_length_of_its_own():
    buckets = np.repeat([0, 1, 2, 3, 4], 20)
    last = [buckets[order(buckets, epoch=epoch, batch_size=24)[-4:]].tolist() for epoch in range(300)]
    # Before the first full batch, the second, ... or after the last: 0, 24, 48, 72 or 96 examples further on.
    places = [last.count([bucket] * 4) / 300 for bucket in range(5)]
    np.testing.assert_allclose(places, 0.2, atol=0.1)


@pytest.mark.parametrize("spread", [0.05, 0.1, 0.3])
def test_lengths_of_a_bucket_differ_by_no_more_than_the_spread(spread):
    lengths = np.arange(0, 5000)
    buckets = length_buckets(lengths, spread)
    assert (np.diff(buckets) >= 0).all()
    for bucket in np.unique(buckets):
        inside = np.maximum(lengths[buckets == bucket], 1)
        assert inside.max() <= inside.min() * (1 + spread) + 1e-9


def test_there_is_far_less_padding():
    shuffled = np.random.default_rng(1).permutation(3000)
    without = padding_share(LENGTHS, shuffled, 32)
    bucketed = padding_share(LENGTHS, order(length_buckets(LENGTHS, 0.1)), 32)
    assert without > 0.7
    assert bucketed < 0.1


def test_the_share_of_padding():
    assert padding_share([1, 3, 2, 2, 5], [0, 1, 2, 3, 4], 2) == 1 - 13 / (6 + 4 + 5)
    assert padding_share([4, 4], [1, 0], 2) == 0.0
    assert padding_share([0, 0], [0, 1], 2) == 1.0


def bucketed(**settings):
    source = toy_sequences().source("train")
    return BucketedSource(source, source.arrays.features["length"], **settings)


def test_a_bucketed_source_is_what_it_was_in_another_order():
    source = bucketed()
    assert (source.num_examples, source.spec) == (source.source.num_examples, source.source.spec)
    assert source.fingerprint() == source.source.fingerprint()
    assert source.place(3) == "example 3"
    np.testing.assert_array_equal(source.gather([2]).labels, source.source.gather([2]).labels)
    fewer = source.without([0, 5])
    assert fewer.num_examples == source.num_examples - 2
    np.testing.assert_array_equal(fewer.lengths, np.delete(source.lengths, [0, 5]))
    np.testing.assert_array_equal(fewer.gather([0]).labels, source.gather([1]).labels)


def test_resume_at_any_step_gives_the_same_rest():
    class Bucketed(type(toy_sequences())):
        def source(self, phase):
            return bucketed()

    pipeline = Bucketed()
    steps = 5
    whole = [batch[0]["steps"].numpy() for batch in train_dataset(pipeline, batch_size=32, seed=3).take(2 * steps)]
    assert len({batch.shape[1] for batch in whole}) > 2
    for start in (Position(0, 2), Position(1), Position(1, 4)):
        rest = train_dataset(pipeline, batch_size=32, seed=3, start=start)
        first = start.epoch * steps + start.step
        for expected, batch in zip(whole[first:], rest, strict=False):
            np.testing.assert_array_equal(batch[0]["steps"], expected)


def test_what_can_not_be_bucketed_is_refused():
    arrays = ArraySource({"x": np.zeros(4)}, np.zeros(4))
    stream = DatasetSource(tf.data.Dataset.from_tensor_slices((np.zeros(4), np.zeros(4))))
    with pytest.raises(ValueError, match="DatasetSource is a stream"):
        BucketedSource(stream, np.ones(4))
    with pytest.raises(ValueError, match=r"a length for each of 4 examples, got \(3,\)"):
        BucketedSource(arrays, np.ones(3))
    with pytest.raises(ValueError, match="more than 0; got 0"):
        BucketedSource(arrays, np.ones(4), spread=0)
