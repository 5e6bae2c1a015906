import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from framework import tasks
from framework.data.combining import Concatenation, Weighted
from framework.data.ready_made import ReadyMadePipeline
from framework.data.sources import ArraySource, DatasetSource, Source, Subset
from framework.data.train import train_dataset


def source(count, first=0, **features):
    index = np.arange(first, first + count)
    return ArraySource({"index": index, **features}, index % 3)


def indices(*values):
    return tf.constant(values, tf.int64)


def stream():
    return DatasetSource(tf.data.Dataset.from_tensor_slices(({"x": [1, 2]}, [0, 1])))


class Places(Source):
    """Knows where its examples lie, and can't gather none of them."""

    random_access = True

    def __init__(self, name, source):
        self.name, self._source = name, source
        self.spec, self.num_examples = source.spec, source.num_examples

    def gather(self, indices):
        with tf.control_dependencies([tf.debugging.assert_positive(tf.size(indices))]):
            return self._source.gather(tf.identity(indices))

    def place(self, index):
        return f"{self.name}:{index}"


@settings(deadline=None, max_examples=30)
@given(
    counts=st.lists(st.integers(1, 12), min_size=1, max_size=4),
    batch=st.lists(st.integers(0, 10**6), max_size=20),
    in_graph=st.booleans(),
)
def test_a_concatenation_is_its_parts_one_after_the_other(counts, batch, in_graph):
    starts = np.cumsum([0, *counts])
    parts = [Places(f"part {n}", source(count, starts[n])) for n, count in enumerate(counts)]
    whole = Concatenation(parts)
    assert whole.num_examples == starts[-1]
    wanted = np.asarray(batch, np.int64) % starts[-1]
    gather = tf.function(whole.gather) if in_graph else whole.gather
    example = gather(tf.constant(wanted))
    np.testing.assert_array_equal(example.features["index"], wanted)
    np.testing.assert_array_equal(example.labels, wanted % 3)
    assert example.weights is None
    for index in wanted[:3].tolist():
        part = int(np.searchsorted(starts, index, side="right")) - 1
        assert whole.place(index) == f"part {part}:{index - starts[part]}"


def test_batches_of_a_concatenation_keep_their_static_size_and_are_padded():
    short = source(3, words=[["a", "b"]] * 3, steps=np.ones((3, 2, 2), np.float32))
    long = source(2, 3, words=[["c", "d", "e"]] * 2, steps=np.ones((2, 4, 2), np.float32))
    whole = Concatenation([short, long])
    assert {name: spec.shape.as_list() for name, spec in whole.spec.features.items()} == {
        "index": [None],
        "words": [None, None],
        "steps": [None, None, 2],
    }
    example = whole.gather(indices(4, 0))
    assert example.features["words"].numpy().tolist() == [[b"c", b"d", b"e"], [b"a", b"b", b""]]
    assert example.features["steps"].numpy()[1].tolist() == [[1, 1], [1, 1], [0, 0], [0, 0]]
    assert whole.gather(indices(1, 0)).features["words"].shape == (2, 3)  # the part without a row has a say, too
    dataset = tf.data.Dataset.from_tensors(indices(0, 4)).map(whole.gather)
    assert dataset.element_spec.features["steps"].shape.as_list() == [2, None, 2]


def test_parts_must_be_of_one_form():
    for other in (
        ArraySource({"other": np.arange(3)}, np.arange(3)),
        ArraySource({"index": np.arange(3.0)}, np.arange(3)),
        ArraySource({"index": np.ones((3, 2), np.int64)}, np.arange(3)),
        ArraySource({"index": np.arange(3)}, {"head": np.arange(3)}),
        ArraySource({"index": np.arange(3)}, np.arange(3), np.ones(3)),
    ):
        with pytest.raises(ValueError, match=r"the same features, labels and weights\. Number 1 has"):
            Concatenation([source(2), other])
    with pytest.raises(ValueError, match="at least one source"):
        Concatenation([])
    for made in (lambda: Concatenation([stream()]), lambda: Weighted(stream(), [1.0, 1.0])):
        with pytest.raises(TypeError, match="needs sources with random access, got the stream DatasetSource"):
            made()


def test_examples_can_be_left_out_of_a_concatenation():
    rest = Concatenation([source(3), source(3, 3), source(3, 6)]).without([0, 7, 8])
    assert [int(index) for batch in rest.batches(2) for index in batch.features["index"]] == [1, 2, 3, 4, 5, 6]


def test_weights_come_with_the_examples_and_reach_keras():
    weights = np.linspace(0.0, 2.0, 10)
    weighted = Weighted(source(10), weights)
    assert weighted.spec.weights == tf.TensorSpec((None,), tf.float32)
    np.testing.assert_array_equal(weighted.gather(indices(3, 9)).weights, weights[[3, 9]].astype(np.float32))
    np.testing.assert_array_equal(
        np.concatenate([example.weights for example in weighted.batches(4)]), weights.astype(np.float32)
    )
    pipeline = ReadyMadePipeline({"train": weighted}, tasks.Classification(3))
    for inputs, _, fed in train_dataset(pipeline, batch_size=4, seed=0).take(5):
        np.testing.assert_array_equal(fed, weights.astype(np.float32)[inputs["index"].numpy()])


def test_weights_multiply_and_follow_their_examples():
    twice = Weighted(Weighted(source(4), [1, 2, 3, 4]), [1, 10, 100, 0])
    np.testing.assert_array_equal(twice.gather(indices(0, 1, 2, 3)).weights, [1, 20, 300, 0])
    rest = twice.without([1])
    np.testing.assert_array_equal(rest.gather(indices(0, 1, 2)).weights, [1, 300, 0])
    np.testing.assert_array_equal(Subset(twice, [2, 0]).gather(indices(0, 1)).weights, [300, 1])


@pytest.mark.parametrize(
    ("weights", "match"),
    [
        ([1.0, 2.0], r"one number for each of 3 examples, got shape \(2,\)"),
        ([1.0, -2.0, 0.0], r"finite and not negative, that of example 1 is -2\.0"),
        ([1.0, 2.0, np.nan], "finite and not negative, that of example 2 is nan"),
        ([0.0, 0.0, 0.0], "All weights are 0"),
    ],
)
def test_wrong_weights_are_named(weights, match):
    with pytest.raises(ValueError, match=match):
        Weighted(source(3), weights)


def test_fingerprints_know_parts_and_weights():
    made = [
        source(4),
        Weighted(source(4), [1, 1, 1, 2]),
        Weighted(source(4), [1, 1, 2, 1]),
        Weighted(source(4, 1), [1, 1, 1, 2]),
        Concatenation([source(4)]),
        Concatenation([source(2), source(2, 2)]),
        Concatenation([source(2, 2), source(2)]),
    ]
    assert len({one.fingerprint() for one in made}) == len(made)
    assert made[1].fingerprint() == Weighted(source(4), [1, 1, 1, 2]).fingerprint()
