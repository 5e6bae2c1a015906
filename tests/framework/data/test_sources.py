import numpy as np
import pytest
import tensorflow as tf

from framework.data.sources import ArraySource, DatasetSource, Example, Source, feature_specs
from framework.features import Feature

FEATURES = {
    "image": np.arange(10 * 4, dtype=np.uint8).reshape(10, 2, 2),
    "text": np.array([f"ü{index}" for index in range(10)]),
    "flag": np.arange(10) % 2 == 0,
}
LABELS = np.arange(10) % 3
WEIGHTS = np.linspace(0.0, 1.0, 10)


def arrays(weights=None):
    return ArraySource(FEATURES, LABELS, weights)


def stream(weights=None, **settings):
    elements = (FEATURES, LABELS) if weights is None else (FEATURES, LABELS, weights)
    return DatasetSource(tf.data.Dataset.from_tensor_slices(elements), **settings)


def plain(example):
    """Every tensor as a list."""
    return tf.nest.map_structure(lambda value: np.asarray(value).tolist(), tuple(example))


@pytest.mark.parametrize("make", [arrays, stream])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_what_a_source_says_of_itself(make, weights):
    source = make(weights)
    assert source.num_examples == 10
    assert source.spec.features == {
        "image": tf.TensorSpec((None, 2, 2), tf.uint8),
        "text": tf.TensorSpec((None,), tf.string),
        "flag": tf.TensorSpec((None,), tf.bool),
    }
    assert source.spec.labels == tf.TensorSpec((None,), tf.int64)
    assert source.spec.weights == (None if weights is None else tf.TensorSpec((None,), tf.float32))
    assert feature_specs(source) == {
        "image": Feature((2, 2), "uint8"),
        "text": Feature((), "string"),
        "flag": Feature((), "bool"),
    }
    assert source.random_access == (make is arrays)


@pytest.mark.parametrize("make", [arrays, stream])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("batch_size", [1, 4, 10, 64])
def test_batches_have_every_example_once_in_order(make, weights, batch_size):
    batches = make(weights).batches(batch_size)
    assert int(batches.cardinality()) == -(-10 // batch_size)
    examples = list(batches)
    assert all(isinstance(example, Example) for example in examples)
    assert [len(example.labels) for example in examples] == [
        min(batch_size, 10 - first) for first in range(0, 10, batch_size)
    ]
    for name, values in FEATURES.items():
        got = np.concatenate([example.features[name] for example in examples])
        assert got.tolist() == (np.char.encode(values).tolist() if name == "text" else values.tolist())
    assert np.concatenate([example.labels for example in examples]).tolist() == LABELS.tolist()
    if weights is None:
        assert not any(hasattr(example.weights, "shape") for example in examples)
    else:
        np.testing.assert_allclose(np.concatenate([example.weights for example in examples]), WEIGHTS, rtol=1e-6)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_gather_inside_and_outside_of_a_dataset(weights):
    source = arrays(weights)
    outside = source.gather(tf.constant([7, 0, 7], tf.int64))
    (inside,) = tf.data.Dataset.from_tensors(tf.constant([7, 0, 7], tf.int64)).map(source.gather)
    assert plain(outside)[:2] == plain(inside)[:2]
    assert outside.features["image"].numpy().tolist() == FEATURES["image"][[7, 0, 7]].tolist()
    assert outside.labels.numpy().tolist() == LABELS[[7, 0, 7]].tolist()
    if weights is not None:
        np.testing.assert_allclose(inside.weights, WEIGHTS[[7, 0, 7]], rtol=1e-6)


def test_labels_of_several_heads():
    labels = {"a": LABELS, "b": np.ones((10, 2), np.float32)}
    for source in (
        ArraySource(FEATURES, labels),
        DatasetSource(tf.data.Dataset.from_tensor_slices((FEATURES, labels))),
    ):
        assert source.spec.labels == {"a": tf.TensorSpec((None,), tf.int64), "b": tf.TensorSpec((None, 2), tf.float32)}
        (batch,) = source.batches(10)
        assert batch.labels["a"].numpy().tolist() == LABELS.tolist()


def test_subset():
    part = arrays(WEIGHTS).subset(np.array([2, 9]))
    assert part.num_examples == 2
    assert part.arrays.labels.tolist() == LABELS[[2, 9]].tolist()
    assert part.arrays.features["text"].tolist() == ["ü2", "ü9"]
    np.testing.assert_allclose(part.arrays.weights, WEIGHTS[[2, 9]])


def test_bytes_keep_the_zeros_at_their_ends():
    encoded = [b"\x89PNG\x00\x00", b"\x00"]
    source = ArraySource({"png": encoded}, [0, 1])
    assert source.gather(tf.constant([0, 1])).features["png"].numpy().tolist() == encoded


def test_each_kind_of_source_has_one_way_of_reading():
    with pytest.raises(NotImplementedError, match="ArraySource is random access"):
        arrays().stream()
    with pytest.raises(NotImplementedError, match="DatasetSource is a stream"):
        stream().gather(tf.constant([0]))


@pytest.mark.parametrize(
    ("features", "labels", "weights", "message"),
    [
        ({"x": [1.0, 2.0]}, [1], None, r"same number of examples on their first axis, got .*'labels': 1"),
        ({"x": [1.0], "y": [1.0, 2.0]}, [1], None, r"\"feature 'y'\": 2"),
        ({"x": [1.0]}, [1], [1.0, 1.0], r"'weights': 2"),
        ({"x": [1.0]}, {"a": [1], "b": [1, 2]}, None, r"\"labels 'b'\": 2"),
        ({"x": np.zeros((0, 3))}, np.zeros(0), None, "at least one feature and one example"),
        ({}, [1], None, "at least one feature and one example"),
        ({"x": 3.0}, [1], None, r"feature 'x' must have the examples on its first axis, got the single value"),
    ],
)
def test_arrays_that_don_t_fit_are_refused(features, labels, weights, message):
    with pytest.raises(ValueError, match=message):
        ArraySource(features, labels, weights)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["a", None], r"feature 'x' holds Python objects such as None \(NoneType\); .*Fill missing values"),
        (np.array([1, "a"], object), r"such as 1 \(int\)"),
        (np.array(["2020-01-01", "2020-01-02"], "datetime64[D]"), r"has dtype datetime64\[D\]; expected numbers"),
        ([1j, 2j], "has dtype complex128"),
    ],
)
def test_arrays_of_another_kind_are_refused(values, message):
    with pytest.raises(TypeError, match=message):
        ArraySource({"x": values}, [0, 1])


@pytest.mark.parametrize("make", [arrays, stream])
def test_the_fingerprint_is_that_of_the_data(make):
    assert make().fingerprint() == make().fingerprint()
    assert make().fingerprint() != make(WEIGHTS).fingerprint()


def test_the_fingerprint_changes_with_every_value_name_and_type():
    def changed(name, index, value):
        features = {key: array.copy() for key, array in FEATURES.items()}
        features[name][index] = value
        return ArraySource(features, LABELS)

    variants = [
        arrays(),
        changed("image", (3, 1, 1), 0),
        changed("text", 9, "u9"),
        changed("flag", 0, False),
        ArraySource(FEATURES, np.roll(LABELS, 1)),
        ArraySource(FEATURES, LABELS.astype(np.int32)),
        ArraySource({"picture": FEATURES["image"]}, LABELS),
        ArraySource({"image": FEATURES["image"].reshape(10, 4)}, LABELS),
        arrays(WEIGHTS),
        arrays(WEIGHTS[::-1]),
    ]
    assert len({source.fingerprint() for source in variants}) == len(variants)


def filtered(dataset):
    """The same examples, of which tf.data doesn't know the number any more."""
    return dataset.filter(lambda *element: True)


def test_a_dataset_of_unknown_length_is_counted_or_told():
    dataset = filtered(tf.data.Dataset.from_tensor_slices((FEATURES, LABELS)))
    assert int(dataset.cardinality()) == tf.data.UNKNOWN_CARDINALITY
    assert DatasetSource(dataset).num_examples == 10
    told = DatasetSource(dataset, num_examples=6)
    assert told.num_examples == 6
    assert [len(example.labels) for example in told.batches(4)] == [4, 2]


def test_a_dataset_of_batches_is_regrouped():
    dataset = tf.data.Dataset.from_tensor_slices((FEATURES, LABELS, WEIGHTS)).batch(3)
    source = DatasetSource(dataset, batched=True)
    assert source.num_examples == 10
    assert source.spec.features["image"].shape == (None, 2, 2)
    assert [len(example.labels) for example in source.batches(4)] == [4, 4, 2]


def test_an_endless_dataset_needs_a_length():
    endless = tf.data.Dataset.from_tensor_slices((FEATURES, LABELS)).repeat()
    with pytest.raises(ValueError, match=r"The dataset is endless\. Say how many examples .* with num_examples="):
        DatasetSource(endless)
    assert sum(len(example.labels) for example in DatasetSource(endless, num_examples=25).batches(4)) == 25


def test_one_tensor_is_a_feature_named_features():
    source = DatasetSource(tf.data.Dataset.from_tensor_slices((np.ones((3, 2)), [0, 1, 0])))
    assert source.spec.features == {"features": tf.TensorSpec((None, 2), tf.float64)}


def test_a_dataset_shorter_than_told_is_an_error():
    known = tf.data.Dataset.from_tensor_slices((FEATURES, LABELS))
    with pytest.raises(ValueError, match="num_examples is 11, but the dataset has 10"):
        DatasetSource(known, num_examples=11)
    source = DatasetSource(filtered(known), num_examples=11)
    with pytest.raises(
        tf.errors.FailedPreconditionError, match="expected to contain 11 elements but contained only 10"
    ):
        list(source.batches(4))


@pytest.mark.parametrize("empty", [lambda dataset: dataset.take(0), lambda dataset: dataset.filter(lambda *_: False)])
def test_an_empty_dataset_is_refused(empty):
    with pytest.raises(ValueError, match="The dataset is empty"):
        DatasetSource(empty(tf.data.Dataset.from_tensor_slices((FEATURES, LABELS))))


def of_unknown_rank():
    return tf.data.Dataset.from_generator(lambda: iter([]), output_types=(tf.float32, tf.int64))


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (FEATURES, r"Expected a tf\.data\.Dataset of \(features, labels\), got dict"),
        (
            tf.data.Dataset.range(3),
            r"Elements must be \(features, labels\) or \(features, labels, weights\), got Tensor",
        ),
        (tf.data.Dataset.zip((tf.data.Dataset.range(3),) * 4), "Elements must be"),
        (tf.data.Dataset.from_tensor_slices((([1, 2], [3, 4]), [0, 1])), "one tensor, or a dict of them by name"),
        (tf.data.Dataset.from_tensor_slices(({"a": {"b": [1]}}, [0])), "one tensor, or a dict of them by name"),
        (tf.data.Dataset.from_tensor_slices((tf.ragged.constant([[[1], [2, 3]]]), [0])), "must be dense tensors"),
        (of_unknown_rank(), "of known rank"),
    ],
)
def test_elements_of_another_form_are_refused(dataset, message):
    with pytest.raises(TypeError, match=message):
        DatasetSource(dataset)


def test_a_source_of_one_s_own_only_gathers():
    class Squares(Source):
        num_examples = 7
        spec = Example({"x": tf.TensorSpec((None,), tf.int64)}, tf.TensorSpec((None,), tf.int64))
        random_access = True

        def gather(self, indices):
            return Example({"x": indices}, indices**2)

    (first, second) = Squares().batches(4)
    assert first.labels.numpy().tolist() == [0, 1, 4, 9]
    assert second.labels.numpy().tolist() == [16, 25, 36]
    assert Squares().fingerprint() == Squares().fingerprint()


def test_a_source_of_one_s_own_only_streams():
    class Records(Source):
        num_examples = 7
        spec = Example({"x": tf.TensorSpec((None,), tf.int64)}, tf.TensorSpec((None,), tf.int64))
        random_access = False

        def stream(self):
            return filtered(tf.data.Dataset.range(7).map(lambda index: Example({"x": index}, index**2)))

    batches = Records().batches(4)
    # Keras would take the end of a dataset of unknown length for one more step.
    assert int(batches.cardinality()) == 2
    assert [example.labels.numpy().tolist() for example in batches] == [[0, 1, 4, 9], [16, 25, 36]]
