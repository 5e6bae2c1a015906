import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from framework.data.sequences.masking import masked_steps


def expected(values, lengths, max_length, keep):
    """By hand: each example cut by itself, zeros to the longest."""
    cut = []
    for row, length in zip(values, lengths, strict=True):
        steps = row[:length]
        if max_length is not None and length > max_length:
            steps = steps[:max_length] if keep == "first" else steps[-max_length:]
        cut.append(steps)
    longest = max(1, *map(len, cut))
    result = np.zeros((len(values), longest, *values.shape[2:]), values.dtype)
    for row, steps in enumerate(cut):
        result[row, : len(steps)] = steps
    return result, np.arange(longest) < np.array([[len(steps)] for steps in cut])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 6), min_size=2, max_size=5),
    st.integers(0, 4),
    st.one_of(st.none(), st.integers(1, 8)),
    st.sampled_from(["first", "last"]),
    st.sampled_from([(), (3,), (2, 2)]),
)
def test_steps_are_cut_and_masked(lengths, spare, max_length, keep, shape):
    time = max(lengths) + spare
    # No zeros: what lies in the padding is a client's business, and mustn't reach the model.
    values = np.random.default_rng(0).uniform(1.0, 2.0, (len(lengths), time, *shape)).astype(np.float32)
    steps, mask = masked_steps({"x": tf.constant(values)}, tf.constant(lengths), max_length=max_length, keep=keep)
    want, want_mask = expected(values, lengths, max_length, keep)
    np.testing.assert_array_equal(steps["x"], want)
    np.testing.assert_array_equal(mask, want_mask)


@pytest.mark.parametrize("keep", ["first", "last"])
def test_text_and_integers_in_a_graph_of_any_length(keep):
    @tf.function(input_signature=[tf.TensorSpec((None, None), tf.string), tf.TensorSpec((None,), tf.int32)])
    def cut(words, length):
        return masked_steps({"words": words}, length, max_length=2, keep=keep)

    steps, mask = cut([["a", "b", "c"], ["d", "junk", "junk"]], [3, 1])
    assert steps["words"].numpy().tolist() == [[b"a", b"b"] if keep == "first" else [b"b", b"c"], [b"d", b""]]
    assert mask.numpy().tolist() == [[True, True], [True, False]]
    (specs, mask_spec) = cut.get_concrete_function().structured_outputs
    assert specs["words"].shape.as_list() == mask_spec.shape.as_list() == [None, None]
    steps, mask = cut(np.zeros((2, 0), object), [0, 0])
    assert steps["words"].numpy().tolist() == [[b""], [b""]]
    assert not mask.numpy().any()


@pytest.mark.parametrize("length", [[4, 1], [1, -1]])
def test_a_length_that_can_not_be_is_refused(length):
    with pytest.raises(tf.errors.InvalidArgumentError, match="between 0 and the number of steps of 'x'"):
        masked_steps({"x": tf.ones((2, 3, 1))}, tf.constant(length))
