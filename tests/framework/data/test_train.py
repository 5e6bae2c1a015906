import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from framework import tasks
from framework.data import random
from framework.data.pipeline import Pipeline
from framework.data.sources import ArraySource, DatasetSource
from framework.data.train import Position, steps_per_epoch, train_dataset
from framework.features import Feature


class Noisy(Pipeline):
    """Each example is its index; augmentation adds a number from 0 to 1 that depends on the seeds alone."""

    features = {"x": Feature((), "float32")}
    task = tasks.Regression()

    def __init__(self, count, kind="arrays", weights=None, shuffle_buffer=10_000):
        indices = np.arange(count)
        arrays = {"x": indices.astype(np.float32)}, indices.astype(np.float32), weights
        if kind == "arrays":
            self._source = ArraySource(*arrays)
        else:
            # A filter hides the length, as records and generators do.
            elements = tf.data.Dataset.from_tensor_slices(arrays if weights is not None else arrays[:2])
            self._source = DatasetSource(elements.filter(lambda *_: True), shuffle_buffer=shuffle_buffer)

    def source(self, phase):
        return self._source

    def augment(self, features, labels, seeds):
        return {"x": features["x"] + random.uniform(seeds)}, labels

    def preprocess(self, features):
        return {"x": 2.0 * features["x"]}


def read(pipeline, steps, **settings):
    """(index, augmentation) of each example, batch by batch."""
    batches = []
    for inputs, labels, *_ in train_dataset(pipeline, **settings).take(steps):
        index = labels.numpy().astype(int)
        noise = inputs["x"].numpy() / 2.0 - index
        assert ((noise >= 0) & (noise <= 1)).all()
        batches.append(list(zip(index.tolist(), inputs["x"].numpy().tolist(), strict=True)))
    return batches


def order(batches):
    return [index for batch in batches for index, _ in batch]


KINDS = pytest.mark.parametrize("kind", ["arrays", "stream"])


@KINDS
@settings(deadline=None, max_examples=8)  # each traces two datasets
@given(
    count=st.integers(1, 20),
    batch_size=st.integers(1, 8),
    seed=st.integers(-(2**40), 2**40),
    epoch=st.integers(0, 2),
    data=st.data(),
)
def test_starting_anywhere_gives_exactly_the_rest(kind, count, batch_size, seed, epoch, data):
    pipeline = Noisy(count, kind)
    steps = steps_per_epoch(pipeline.source("train"), batch_size)
    step = data.draw(st.integers(0, steps - 1), label="step")
    whole = read(pipeline, 4 * steps, batch_size=batch_size, seed=seed)
    done = epoch * steps + step
    rest = read(pipeline, 4 * steps - done, batch_size=batch_size, seed=seed, start=Position(epoch, step))
    assert rest == whole[done:]
    for first in range(0, 4 * steps, steps):
        assert sorted(order(whole[first : first + steps])) == list(range(count))
        assert [len(batch) for batch in whole[first : first + steps]] == [
            min(batch_size, count - begin) for begin in range(0, count, batch_size)
        ]


@KINDS
def test_starting_late_in_a_long_run(kind):
    pipeline = Noisy(20, kind)
    late = read(pipeline, 6, batch_size=8, seed=1, start=Position(1000, 2))
    assert [len(batch) for batch in late] == [4, 8, 8, 4, 8, 8]
    assert late == read(pipeline, 8, batch_size=8, seed=1, start=Position(1000))[2:]


@KINDS
def test_orders_differ_between_epochs_and_seeds(kind):
    pipeline = Noisy(30, kind)
    orders = {}
    for seed in (0, 1, 2):
        batches = read(pipeline, 3 * 3, batch_size=10, seed=seed)
        orders |= {(seed, epoch): tuple(order(batches[3 * epoch : 3 * epoch + 3])) for epoch in range(3)}
    assert len(set(orders.values())) == 9
    assert tuple(range(30)) not in orders.values()


@KINDS
def test_nothing_but_the_seed_decides(kind):
    pipeline = Noisy(20, kind)
    read_again = []
    for global_seed in (None, 1, 2):
        if global_seed is not None:
            tf.random.set_seed(global_seed)
            np.random.seed(global_seed)  # noqa: NPY002  the global generator is what is tested
        read_again.append(read(pipeline, 5, batch_size=8, seed=3))
    assert read_again[0] == read_again[1] == read_again[2]


@KINDS
def test_the_caller_s_own_random_numbers_are_left_alone(kind):
    tf.random.set_seed(5)
    expected = [float(tf.random.uniform([])) for _ in range(2)]
    tf.random.set_seed(5)
    first = float(tf.random.uniform([]))
    read(Noisy(20, kind), 5, batch_size=8, seed=3)
    assert [first, float(tf.random.uniform([]))] == expected


@KINDS
def test_augmentation_is_keyed_by_seed_epoch_and_index(kind):
    pipeline = Noisy(12, kind)

    def augmented(seed, batch_size):
        steps = steps_per_epoch(pipeline.source("train"), batch_size)
        batches = read(pipeline, 2 * steps, batch_size=batch_size, seed=seed)
        return [dict(pair for batch in half for pair in batch) for half in (batches[:steps], batches[steps:])]

    first, second = augmented(seed=3, batch_size=4)
    assert augmented(seed=3, batch_size=5) == [first, second]
    assert not set(first.values()) & set(second.values())
    assert not set(first.values()) & set(augmented(seed=4, batch_size=4)[0].values())
    assert len({value - 2 * index for index, value in first.items()}) == 12


@KINDS
def test_batches_have_a_known_size_where_it_is_constant(kind):
    def shape(batch_size):
        inputs, labels = train_dataset(Noisy(12, kind), batch_size=batch_size, seed=0).element_spec
        assert inputs["x"].shape == labels.shape
        return labels.shape[0]

    assert shape(4) == 4
    assert shape(5) is None
    assert shape(12) == 12


@KINDS
def test_weights_and_labels_go_with_their_examples(kind):
    weights = np.linspace(0.0, 1.1, 12).astype(np.float32)

    class Inverted(Noisy):
        def augment(self, features, labels, seeds):
            return features, -labels

    dataset = train_dataset(Inverted(12, kind, weights), batch_size=5, seed=0)
    for inputs, labels, weight in dataset.take(6):
        np.testing.assert_array_equal(inputs["x"], -2.0 * labels)
        np.testing.assert_array_equal(weight, weights[-labels.numpy().astype(int)])


def test_several_heads():
    class TwoHeads(Noisy):
        def __init__(self):
            labels = {"a": np.arange(6.0), "b": np.arange(12.0).reshape(6, 2)}
            self._source = ArraySource({"x": np.arange(6, dtype=np.float32)}, labels)

    for _, labels in train_dataset(TwoHeads(), batch_size=4, seed=0).take(4):
        np.testing.assert_array_equal(labels["b"][:, 0], 2.0 * labels["a"])


@pytest.mark.parametrize("buffer", [1, 4])
def test_a_stream_is_shuffled_within_its_buffer(buffer):
    epochs = read(Noisy(40, "stream", shuffle_buffer=buffer), 2, batch_size=40, seed=0)
    for epoch in epochs:
        # What comes at a place can't come from beyond the buffer.
        assert all(index <= place + buffer - 1 for place, index in enumerate(order([epoch])))
    assert (order(epochs[:1]) == list(range(40))) == (buffer == 1)


def test_a_stream_shorter_than_told_is_an_error_before_the_epoch_ends():
    pipeline = Noisy(20, "stream")
    endless = tf.data.Dataset.from_tensor_slices(({"x": np.zeros(20, np.float32)}, np.zeros(20, np.float32)))
    pipeline._source = DatasetSource(endless.filter(lambda *_: True), num_examples=30)
    with pytest.raises(
        tf.errors.FailedPreconditionError, match="expected to contain 30 elements but contained only 20"
    ):
        list(train_dataset(pipeline, batch_size=8, seed=0).take(4))


@pytest.mark.parametrize("returned", [lambda features, labels: features, lambda features, labels: None])
def test_what_augment_returns_is_checked(returned):
    class Wrong(Noisy):
        def augment(self, features, labels, seeds):
            return returned(features, labels)

    with pytest.raises(TypeError, match=r"Wrong\.augment must return \(features, labels\), got (dict|NoneType)"):
        train_dataset(Wrong(4), batch_size=2, seed=0)


def test_augment_may_change_its_dict():
    class Greedy(Noisy):
        def augment(self, features, labels, seeds):
            features["x"] = features.pop("x") + 1.0
            return features, labels

    for kind in ("arrays", "stream"):
        for inputs, labels in train_dataset(Greedy(5, kind), batch_size=2, seed=0).take(6):
            np.testing.assert_array_equal(inputs["x"], 2.0 * (labels + 1.0))


def test_steps_and_positions():
    assert [steps_per_epoch(Noisy(10).source("train"), size) for size in (1, 3, 5, 10, 11)] == [10, 4, 2, 1, 1]
    assert Position() == Position(0, 0)
    assert Position(1, 0) > Position(0, 9)


def test_a_split_is_needed():
    class OnlyTest(Noisy):
        def source(self, phase):
            return super().source(phase) if phase == "test" else None

    with pytest.raises(ValueError, match="The pipeline OnlyTest has no train split"):
        train_dataset(OnlyTest(5), batch_size=2, seed=0)
