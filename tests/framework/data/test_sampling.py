import collections
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import framework
from framework import tasks
from framework.data import random
from framework.data.pipeline import Pipeline
from framework.data.ready_made import ReadyMadePipeline
from framework.data.sampling import Balanced, Concatenation, Mixture, Resampled, Subset, Weighted, class_weights
from framework.data.sources import ArraySource, DatasetSource
from framework.data.train import Position, steps_per_epoch, train_dataset
from framework.features import Feature


def source(count, first=0, classes=None):
    """Examples whose feature is their index, counted from `first`."""
    labels = np.zeros(count, np.int64) if classes is None else np.asarray(classes)
    return ArraySource({"x": np.arange(first, first + count)}, labels)


def skewed(count, seed=0):
    """Class ids of which some are rare."""
    return np.minimum(np.random.default_rng(seed).geometric(0.4, count) - 1, 4)


def orders(sampled, epochs, seed=0, batch_size=4):
    """The order of each epoch, from a graph, as training has it."""
    order = tf.function(lambda epoch: sampled.epoch_order(tf.constant(seed, tf.int64), epoch, batch_size))
    return [order(tf.constant(epoch, tf.int64)).numpy() for epoch in range(epochs)]


KINDS = {
    "subset": lambda: Subset(source(60), np.arange(59, 0, -3)),
    "balanced": lambda: Balanced(source(23, classes=skewed(23))),
    "resampled": lambda: Resampled(source(23), np.arange(23.0)),
    "weighted": lambda: Weighted(Balanced(source(23, classes=skewed(23))), np.ones(23)),
    "mixture": lambda: Mixture({"a": (source(9), 3), "b": (source(14, 9), 1)}, num_examples=20),
    "nested": lambda: Mixture(
        {"a": (Balanced(source(30, classes=skewed(30))), 0.5), "b": (Resampled(source(5, 30), [1, 0, 2, 3, 9]), 0.5)}
    ),
}
EVERY = pytest.mark.parametrize("kind", KINDS)


class Noisy(Pipeline):
    """Augmentation adds a number from 0 to 1 that depends on the seeds alone."""

    features = {"x": Feature((), "int64")}
    task = tasks.Classification(5)

    def __init__(self, source):
        self._source = source

    def source(self, phase):
        return self._source

    def augment(self, features, labels, seeds):
        return {"x": features["x"], "noise": random.uniform(seeds)}, labels


def read(pipeline, steps, **settings):
    return [
        list(zip(inputs["x"].numpy().tolist(), inputs["noise"].numpy().tolist(), strict=True))
        for inputs, *_ in train_dataset(pipeline, **settings).take(steps)
    ]


@EVERY
@settings(deadline=None, max_examples=3)  # each traces two datasets
@given(batch_size=st.integers(1, 9), seed=st.integers(0, 2**40), epoch=st.integers(0, 2), data=st.data())
def test_starting_anywhere_gives_exactly_the_rest(kind, batch_size, seed, epoch, data):
    pipeline = Noisy(KINDS[kind]())
    steps = steps_per_epoch(pipeline.source("train"), batch_size)
    step = data.draw(st.integers(0, steps - 1), label="step")
    whole = read(pipeline, 4 * steps, batch_size=batch_size, seed=seed)
    done = epoch * steps + step
    rest = read(pipeline, 4 * steps - done, batch_size=batch_size, seed=seed, start=Position(epoch, step))
    assert rest == whole[done:]


@EVERY
def test_order_is_a_function_of_seed_and_epoch(kind):
    sampled = KINDS[kind]()
    first = orders(sampled, 3, seed=5)
    assert all(len(order) == sampled.epoch_examples for order in first)
    for order, again, other in zip(first, orders(KINDS[kind](), 3, seed=5), orders(sampled, 3, seed=6), strict=True):
        np.testing.assert_array_equal(order, again)
        assert order.tolist() != other.tolist()
    assert len({tuple(order) for order in first}) == 3


@EVERY
def test_repetitions_in_an_epoch_are_augmented_differently(kind):
    sampled = KINDS[kind]()
    for order in orders(sampled, 5):
        assert len(set(order.tolist())) == len(order)
    steps = steps_per_epoch(sampled, 4)
    noise = [noise for batch in read(Noisy(sampled), steps, batch_size=4, seed=1) for _, noise in batch]
    assert len(set(noise)) == len(noise)


@EVERY
def test_evaluation_and_statistics_see_every_example_once(kind):
    sampled = KINDS[kind]()
    seen = [int(x) for example in sampled.batches(7) for x in example.features["x"]]
    assert len(seen) == sampled.num_examples == len(set(seen))
    assert seen == [int(sampled.gather(tf.constant([i], tf.int64)).features["x"][0]) for i in range(len(seen))]
    # A repetition is the example itself.
    last = tf.constant([len(seen) - 1 + 3 * sampled.num_examples], tf.int64)
    if kind != "subset":
        assert int(sampled.gather(last).features["x"][0]) == seen[-1]
        assert sampled.place(int(last[0])) == sampled.place(len(seen) - 1)


@settings(deadline=None, max_examples=10)
@given(sizes=st.lists(st.integers(1, 25), min_size=1, max_size=6), seed=st.integers(0, 2**40))
def test_balanced_classes_come_equally_often_and_so_do_their_members(sizes, seed):
    classes = np.random.default_rng(seed % 1000).permutation(np.repeat(np.arange(len(sizes)), sizes))
    epochs = 12
    drawn = [order % len(classes) for order in orders(Balanced(source(len(classes), classes=classes)), epochs, seed)]
    for order in drawn:
        counts = np.bincount(classes[order], minlength=len(sizes))
        assert counts.max() - counts.min() <= 1
    total = np.bincount(classes[np.concatenate(drawn)], minlength=len(sizes))
    assert total.max() - total.min() <= 1  # who has one more goes round
    times = np.bincount(np.concatenate(drawn), minlength=len(classes))
    for group in range(len(sizes)):
        assert np.ptp(times[classes == group]) <= 1


def test_rounds_of_a_class_are_permutations_in_different_orders():
    classes = np.repeat([0, 1], [6, 18])
    drawn = np.concatenate(orders(Balanced(source(24, classes=classes)), 3))
    rounds = collections.defaultdict(list)
    for index in drawn:
        if index % 24 < 6:
            rounds[index // 24].append(index % 24)
    assert [sorted(members) for _, members in sorted(rounds.items())] == [list(range(6))] * 6
    assert len({tuple(members) for members in rounds.values()}) > 1


def test_classes_to_balance_may_have_names_or_be_others_than_the_labels():
    named = Balanced(source(6), ["a", "b", "b", "b", "b", "b"])
    assert (np.concatenate(orders(named, 4)) % 6 == 0).sum() == 12
    with pytest.raises(ValueError, match=r"one class for each of 6 examples, got labels of shape \(3,\)"):
        Balanced(source(6), [1, 2, 3])


@settings(deadline=None, max_examples=10)
@given(
    weights=st.lists(st.floats(0.0, 100.0).map(lambda w: round(w, 3)), min_size=1, max_size=40).filter(any),
    seed=st.integers(0, 2**40),
)
def test_examples_come_in_proportion_to_their_weights(weights, seed):
    due = np.asarray(weights) / sum(weights) * len(weights)
    for order in orders(Resampled(source(len(weights)), weights), 5, seed):
        times = np.bincount(order % len(weights), minlength=len(weights))
        assert (np.abs(times - due) < 1 + 1e-6).all()
        assert (times[np.asarray(weights) == 0] == 0).all()


def test_examples_come_in_proportion_to_their_weights_on_average():
    weights = np.random.default_rng(0).random(50) ** 3
    epochs = 600
    times = np.bincount(np.concatenate(orders(Resampled(source(50), weights), epochs)) % 50, minlength=50)
    due = weights / weights.sum() * 50
    # The number of times in an epoch is one of two neighbours: a standard deviation of at most 1/2.
    assert np.abs(times / epochs - due).max() < 4.5 * 0.5 / np.sqrt(epochs)


@settings(deadline=None, max_examples=6)
@given(
    sizes=st.lists(st.integers(1, 20), min_size=1, max_size=4),
    data=st.data(),
    num_examples=st.one_of(st.none(), st.integers(50, 90)),
)
def test_a_mixture_has_its_rates_exactly_in_every_epoch(sizes, data, num_examples):
    rates = data.draw(st.lists(st.integers(1, 5), min_size=len(sizes), max_size=len(sizes)))
    starts = np.cumsum([0, *sizes])
    sources = {f"s{n}": (source(size, starts[n]), rates[n]) for n, size in enumerate(sizes)}
    total = num_examples or starts[-1]
    if min(rates) / sum(rates) * total < 1:
        return
    mixture = Mixture(sources, num_examples)
    assert mixture.epoch_examples == total
    drawn = [order % starts[-1] for order in orders(mixture, 6)]
    for order in drawn:
        counts = np.histogram(order, bins=starts)[0]
        assert counts.tolist() == list(mixture.quotas.values())
        assert np.abs(counts - np.asarray(rates) / sum(rates) * total).max() < 1
    times = np.bincount(np.concatenate(drawn), minlength=starts[-1])
    for first, end in itertools.pairwise(starts):
        assert np.ptp(times[first:end]) <= 1  # round and round


def test_sources_of_a_mixture_keep_their_own_order():
    rare = np.repeat([0, 1], [27, 3])
    mixture = Mixture({"even": (Balanced(source(30, classes=rare)), 1), "other": (source(30, 30), 1)})
    drawn = np.concatenate(orders(mixture, 4)) % 60
    assert np.bincount(rare[drawn[drawn < 30]]).tolist() == [60, 60]


def test_two_equal_sources_are_drawn_independently():
    mixture = Mixture({"a": (source(40), 1), "b": (source(40, 40), 1)}, num_examples=40)
    (order,) = orders(mixture, 1)
    a, b = ({index % 40 for index in order % 80 if (index >= 40) == second} for second in (False, True))
    assert a != b


def test_the_length_of_an_epoch_is_the_mixture_s():
    mixture = Mixture({"a": (source(9), 3), "b": (source(14, 9), 1)}, num_examples=20)
    assert (mixture.num_examples, mixture.epoch_examples, steps_per_epoch(mixture, 8)) == (23, 20, 3)
    assert [len(batch) for batch in read(Noisy(mixture), 6, batch_size=8, seed=0)] == [8, 8, 4, 8, 8, 4]


@pytest.mark.parametrize(
    ("rates", "num_examples", "match"),
    [
        ((1.0, 0.0), None, r"positive rates, got \{'a': 1\.0, 'b': 0\.0\}"),
        ((1.0, -1.0), None, "positive rates"),
        ((1.0, float("nan")), None, "positive rates"),
        ((0.99, 0.01), 10, r"With 10 examples an epoch the rates .* give \{'a': 10, 'b': 0\}: raise num_examples"),
    ],
)
def test_wrong_rates_are_named(rates, num_examples, match):
    with pytest.raises(ValueError, match=match):
        Mixture({"a": (source(4), rates[0]), "b": (source(4), rates[1])}, num_examples)


def test_bad_examples_can_be_left_out():
    classes = np.repeat([0, 1], [8, 4])
    for sampled, expected in (
        (Balanced(source(12, classes=classes)), "Balanced"),
        (Resampled(source(12), np.arange(1.0, 13)), "Resampled"),
        (Mixture({"a": (source(4), 1), "b": (source(8, 4), 1)}), "Mixture"),
        (Mixture({"a": (source(4), 1), "b": (source(8, 4), 1)}, num_examples=40), "Mixture"),
    ):
        rest = sampled.without([0, 11])
        assert type(rest).__name__ == expected
        assert rest.num_examples == 10
        assert rest.epoch_examples == (40 if sampled.epoch_examples == 40 else 10)
        seen = {int(x) for order in orders(rest, 30) for x in rest.gather(tf.constant(order)).features["x"]}
        assert seen == set(range(1, 11))


def test_fingerprints_know_how_examples_are_drawn():
    classes = np.arange(6) % 2
    made = [
        source(6),
        Balanced(source(6), classes),
        Balanced(source(6), classes[::-1]),
        Resampled(source(6), [1, 1, 1, 1, 1, 2]),
        Resampled(source(6), [1, 1, 1, 1, 2, 1]),
        Concatenation([source(6)]),
        Mixture({"a": (source(6), 1)}),
        Mixture({"a": (source(6), 1)}, num_examples=12),
        Mixture({"a": (source(6), 1), "b": (source(6), 1)}),
        Mixture({"a": (source(6), 1), "b": (source(6), 2)}),
    ]
    assert len({sampled.fingerprint() for sampled in made}) == len(made)
    assert Balanced(source(6), classes).fingerprint() == made[1].fingerprint()


def test_streams_can_t_be_sampled():
    stream = DatasetSource(tf.data.Dataset.from_tensor_slices(({"x": [1, 2]}, [0, 1])))
    for made in (
        lambda: Balanced(stream),
        lambda: Resampled(stream, [1, 1]),
        lambda: Mixture({"a": (stream, 1.0)}),
    ):
        with pytest.raises(TypeError, match="needs sources with random access, got the stream DatasetSource"):
            made()


def test_class_weights_make_classes_count_alike():
    labels = np.asarray([0, 0, 0, 2])
    weights = class_weights(labels, num_classes=4)
    np.testing.assert_allclose(weights, [2 / 3, 0, 2, 0])
    assert weights[labels].mean() == pytest.approx(1.0)
    assert class_weights(labels).shape == (3,)


def test_a_model_is_trained_on_sampled_sources(tmp_path):
    def tiny(inputs, task):
        return keras.layers.Dense(task.units)(keras.layers.Rescaling(0.01)(inputs["x"][:, None]))

    def preprocess(features):
        return {"x": tf.cast(features["x"], tf.float32)}

    classes = skewed(30)
    balanced = Weighted(Balanced(source(30, classes=classes)), np.ones(30))
    mixture = Mixture({"a": (balanced, 0.7), "b": (Weighted(source(9), np.ones(9)), 1)}, num_examples=50)
    pipeline = ReadyMadePipeline({"train": mixture}, tasks.Classification(5), preprocess)
    run = framework.fit(tiny, pipeline, run_dir=tmp_path, epochs=2, batch_size=16, verbose=0)
    assert len(run.history["loss"]) == 2
    assert run.best.step in (4, 8)  # 50 examples an epoch
    predicted = run.predict({"x": np.r_[0:30, 0:9]})["class_id"]
    assert run.evaluate("train")["accuracy"] == pytest.approx((predicted == np.r_[classes, [0] * 9]).mean())
