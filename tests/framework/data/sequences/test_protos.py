import re

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from framework.data.sequences.protos import parse_sequence_examples, serialize_sequence_examples
from framework.features import Feature

FEATURES = {
    "values": Feature((None, 2), "float32"),
    "words": Feature((None,), "string"),
    "age": Feature((), "uint8"),
    "place": Feature((2,), "float32"),
}
VALUES = {
    "values": [np.arange(6.0).reshape(3, 2), np.zeros((0, 2)), np.ones((1, 2))],
    "words": [["a", "ü", ""], [], ["b"]],
    "age": np.array([1, 255, 3]),
    "place": np.array([[0.5, 1.5], [2.5, 3.5], [4.5, 5.5]]),
}


def protos():
    return serialize_sequence_examples(VALUES, FEATURES)


def test_what_was_written_is_read_padded_with_lengths():
    parsed, length = parse_sequence_examples(tf.constant(protos()), FEATURES)
    assert set(parsed) == set(FEATURES)
    assert length.numpy().tolist() == [3, 0, 1]
    assert parsed["values"].shape == (3, 3, 2)
    np.testing.assert_array_equal(parsed["values"][0], VALUES["values"][0])
    np.testing.assert_array_equal(parsed["values"][2], [[1, 1], [0, 0], [0, 0]])
    words = [[word.decode() for word in row] for row in parsed["words"].numpy()]
    assert words == [["a", "ü", ""], ["", "", ""], ["b", "", ""]]
    assert parsed["age"].dtype == tf.uint8
    np.testing.assert_array_equal(parsed["age"], VALUES["age"])
    np.testing.assert_array_equal(parsed["place"], VALUES["place"])
    padded = {name: value.numpy() for name, value in parsed.items()}
    assert serialize_sequence_examples(padded, FEATURES, length.numpy()).tolist() == protos().tolist()


def test_the_same_values_make_the_same_bytes():
    """Maps come in their keys' order, not in that of a hash which differs from process to process."""
    values = {f"x{number:02}": [np.zeros((1, 2), np.float32)] for number in range(30)}
    (proto,) = serialize_sequence_examples(values, {name: Feature((None, 2), "float32") for name in values})
    assert re.findall(rb"x\d\d", proto) == [name.encode() for name in values]


_DTYPES = ["float32", "float16", "int64", "int8", "uint16", "bool", "string"]


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(_DTYPES),
    st.sampled_from([(), (1,), (2, 3)]),
    st.lists(st.integers(0, 5), min_size=1, max_size=4),
    st.integers(0, 2**32 - 1),
)
def test_write_and_read_is_the_identity(dtype, shape, lengths, seed):
    random = np.random.default_rng(seed)

    def made(*axes):
        if dtype == "string":
            return random.integers(0, 100, axes).astype(str).astype(object)
        if tf.as_dtype(dtype).is_floating:
            return random.normal(size=axes).astype(dtype)
        limits = (0, 1) if dtype == "bool" else (tf.as_dtype(dtype).min, tf.as_dtype(dtype).max)
        return random.integers(*map(int, limits), axes, endpoint=True).astype(dtype)

    features = {"steps": Feature((None, *shape), dtype), "whole": Feature(shape, dtype)}
    steps = [made(length, *shape) for length in lengths]
    whole = made(len(lengths), *shape)
    written = serialize_sequence_examples({"steps": steps, "whole": whole}, features)
    parsed, length = parse_sequence_examples(tf.constant(written), features)
    assert length.numpy().tolist() == lengths
    decode = np.vectorize(lambda text: text.decode(), otypes=[object])
    for row, (length, values) in enumerate(zip(lengths, steps, strict=True)):
        got = parsed["steps"][row, :length].numpy()
        rest = parsed["steps"][row, length:].numpy()
        assert not (decode(rest) != "" if dtype == "string" else rest).any()
        np.testing.assert_array_equal(decode(got) if dtype == "string" else got, values)
    got = parsed["whole"].numpy()
    np.testing.assert_array_equal(decode(got) if dtype == "string" else got, whole)


def changed(change):
    proto = tf.train.SequenceExample.FromString(protos()[0])
    change(proto.context.feature, proto.feature_lists.feature_list)
    return tf.constant([proto.SerializeToString()])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda context, lists: context.pop("age"), "age"),
        (lambda context, lists: lists.pop("words"), "words"),
        (lambda context, lists: context["age"].int64_list.value.append(3), "age"),
        (lambda context, lists: context["age"].float_list.value.append(3), "age"),
        (lambda context, lists: lists["values"].feature[0].float_list.value.append(3), "values"),
        (lambda context, lists: lists["words"].feature[0].int64_list.value.append(3), "words"),
        (lambda context, lists: lists["words"].feature.pop(), "'words' has the wrong length: .* as 'values' has"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(change, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        parse_sequence_examples(changed(change), FEATURES)


def test_values_that_a_dtype_can_not_hold_are_refused():
    def too_large(context, lists):
        context["age"].int64_list.value[0] = 256

    with pytest.raises(tf.errors.InvalidArgumentError, match=r"'age' has values outside the range of uint8"):
        parse_sequence_examples(changed(too_large), FEATURES)
    with pytest.raises(tf.errors.InvalidArgumentError, match="here"):
        parse_sequence_examples(tf.constant(["no proto"]), FEATURES, names=tf.constant(["here"]))
