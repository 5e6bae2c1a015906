import numpy as np
import pytest
import tensorflow as tf

from framework.data.bad_examples import BadExampleError
from framework.data.fetching import FetchingSource
from framework.data.sources import Example


class Rows(FetchingSource):
    """Row i is i, as a number and as text."""

    def __init__(self, weighted=False, bad=()):
        self.num_examples = 10
        self.bad = bad
        weights = tf.TensorSpec((None,), tf.float32) if weighted else None
        features = {"number": tf.TensorSpec((None, 2), tf.uint8), "text": tf.TensorSpec((None,), tf.string)}
        labels = {"b": tf.TensorSpec((None,), tf.int64), "a": tf.TensorSpec((None,), tf.float32)}
        self.spec = Example(features, labels, weights)

    def fetch(self, indices):
        found = sorted(set(indices.tolist()) & set(self.bad))
        if found:
            raise BadExampleError(f"row {found[0]} is bad")
        features = {"text": np.array([f"ü{index}" for index in indices]), "number": np.stack([indices, indices + 1], 1)}
        weights = indices / 2.0 if self.spec.weights is not None else None
        return Example(features, {"a": indices + 0.5, "b": indices}, weights)

    def fingerprint(self):
        return "rows"


@pytest.mark.parametrize("weighted", [False, True])
def test_gather_eagerly_and_in_a_dataset(weighted):
    source = Rows(weighted)
    eager = source.gather(tf.constant([7, 2], tf.int64))
    (mapped,) = tf.data.Dataset.from_tensors(tf.constant([7, 2], tf.int64)).map(source.gather)
    for example in (eager, Example(*mapped)):
        np.testing.assert_array_equal(example.features["number"], [[7, 8], [2, 3]])
        assert example.features["number"].dtype == tf.uint8
        assert [text.decode() for text in example.features["text"].numpy()] == ["ü7", "ü2"]
        np.testing.assert_array_equal(example.labels["a"], [7.5, 2.5])
        assert (example.labels["a"].dtype, example.labels["b"].dtype) == (tf.float32, tf.int64)
    assert (eager.weights is None) == (not weighted)
    if weighted:
        np.testing.assert_array_equal(eager.weights, [3.5, 1.0])


def test_shapes_are_known_in_a_dataset():
    source = Rows()
    mapped = tf.data.Dataset.range(10).batch(5, drop_remainder=True).map(source.gather)
    assert mapped.element_spec.features["number"].shape == (5, 2)
    mapped = tf.data.Dataset.range(10).batch(4).map(source.gather)
    assert mapped.element_spec.features["number"].shape.as_list() == [None, 2]
    assert [len(example.labels["b"]) for example in source.batches(4)] == [4, 4, 2]


def test_a_bad_row_is_said():
    source = Rows(bad=[3])
    with pytest.raises(BadExampleError, match="row 3 is bad"):
        source.gather(tf.constant([1, 3], tf.int64))
    with pytest.raises(tf.errors.OpError, match="BadExampleError: row 3 is bad"):
        list(source.batches(5))


def test_what_is_fetched_must_have_the_declared_structure():
    class Wrong(Rows):
        def fetch(self, indices):
            return Example({"number": indices}, super().fetch(indices).labels)

    with pytest.raises(ValueError, match="structure"):
        Wrong().gather(tf.constant([1], tf.int64))
