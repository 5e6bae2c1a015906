import ml_dtypes
import numpy as np
import pytest

from framework.export.parity import find_difference, largest_difference, tolerance_for

LOGITS = np.array([[2.0, -1.0, 0.5], [0.1, 0.2, 0.3]], np.float32)
ANSWER = {"logits": LOGITS, "class_id": np.array([0, 2]), "class_name": np.array([b"cat", b"cow"], object)}
TOLERANCE = 1e-4


def changed(**outputs):
    return {**ANSWER, **{name: np.asarray(value) for name, value in outputs.items()}}


def difference(got, expected=ANSWER, **arguments):
    return find_difference(got, expected, TOLERANCE, **arguments)


def test_the_same_has_no_difference():
    assert difference(changed()) is None
    assert largest_difference(changed(), ANSWER) == 0.0


def test_numbers_may_differ_by_the_tolerance_as_a_share_of_the_largest():
    for scale in (1.0, 100.0):
        expected = {"x": LOGITS * np.float32(scale)}
        allowed = TOLERANCE * max(1.0, 2.0 * scale)
        noise = np.zeros_like(LOGITS)
        noise[1, 0] = 0.9 * allowed
        assert difference({"x": expected["x"] + noise}, expected) is None
        noise[1, 0] = 1.2 * allowed
        found = difference({"x": expected["x"] + noise}, expected)
        assert (found.output, found.row) == ("x", 1)
        assert found.by == pytest.approx(1.2 * allowed, rel=1e-2)
        assert found.allowed == pytest.approx(allowed)


def test_the_worst_example_is_named_with_both_values():
    found = difference(changed(logits=LOGITS + np.array([[0, 0.01, 0], [0, 0, 0.5]], np.float32)))
    assert str(found).startswith("output 'logits', example 1: got 0.80000")
    assert "expected 0.30000" in str(found)
    assert "differs from the live model by 0.5, allowed 0.0002" in str(found)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_isnt_finite_must_be_the_same(value):
    expected = {"x": np.array([1.0, value])}
    assert difference({"x": np.array([1.0, value])}, expected) is None
    assert difference({"x": np.array([1.0, 5.0])}, expected).row == 1
    assert difference(expected, {"x": np.array([1.0, 5.0])}).row == 1
    assert difference({"x": np.array([1.0, -value])}, {"x": np.array([1.0, np.inf])}) is None or value != -np.inf


def test_class_ids_and_names_must_be_the_same():
    found = difference(changed(class_id=[0, 1]))
    assert str(found) == "output 'class_id', example 1: got 1, expected 2"
    found = difference(changed(class_name=np.array([b"cat", b"dog"], object)))
    assert str(found) == "output 'class_name', example 1: got dog, expected cow"


def test_a_tie_leaves_an_argmax_open():
    tied = LOGITS.copy()
    tied[1, 1] = tied[1, 2] - 1e-5
    got = {"logits": tied, "class_id": np.array([0, 1]), "class_name": np.array([b"cat", b"dog"], object)}
    assert difference(got, {**got, "class_id": np.array([0, 2]), "class_name": ANSWER["class_name"]}) is None
    # In the other row nothing is open.
    assert difference({**got, "class_id": np.array([1, 2])}, {**ANSWER, "logits": tied}).row == 0


def test_numbers_at_a_threshold_leave_a_decision_open():
    expected = {"probabilities": np.array([0.3, 0.7, 0.70001]), "class_id": np.array([0, 1, 1])}
    got = {**expected, "class_id": np.array([0, 1, 0])}
    assert difference(got, expected).row == 2
    assert difference(got, expected, thresholds=[0.7]) is None
    assert difference({**expected, "class_id": np.array([1, 1, 1])}, expected, thresholds=[0.7]).row == 0
    # Halves are where roundings and signs change.
    half = {"probabilities": np.array([0.50001]), "class_id": np.array([1])}
    assert difference({**half, "class_id": np.array([0])}, half) is None


def test_labels_are_open_one_by_one():
    expected = {"logits": np.array([[3.1, 1e-5], [-2.2, 1.2]]), "labels": np.array([[1, 1], [0, 1]])}
    assert difference({**expected, "labels": np.array([[1, 0], [0, 1]])}, expected) is None
    assert difference({**expected, "labels": np.array([[0, 1], [0, 1]])}, expected).row == 0


def test_a_tie_among_the_k_best_leaves_their_order_open():
    probabilities = np.array([[0.1, 0.4, 0.30001, 0.3], [0.7, 0.2, 0.1, 0.0]])
    expected = {"probabilities": probabilities, "top_k_class_ids": np.array([[1, 2], [0, 1]])}
    assert difference({**expected, "top_k_class_ids": np.array([[1, 3], [0, 1]])}, expected) is None
    assert difference({**expected, "top_k_class_ids": np.array([[1, 2], [0, 2]])}, expected).row == 1


@pytest.mark.parametrize(
    "got",
    [
        {"logits": LOGITS},
        changed(extra=[1, 2]),
        changed(logits=LOGITS[:1]),
        changed(logits=LOGITS.astype(np.float64)),
        changed(class_id=np.array([0, 2], np.int32)),
    ],
)
def test_names_shapes_and_dtypes_must_be_the_same(got):
    assert difference(got) is not None


def test_short_floats_are_numbers():
    one = {"x": np.array([1.0, 2.0], ml_dtypes.bfloat16)}
    assert difference(one, one) is None
    assert difference({"x": np.array([1.0, 3.0], ml_dtypes.bfloat16)}, one).by == 1.0


def test_the_shorter_the_floats_the_more_may_they_differ():
    tolerances = [tolerance_for(dtype) for dtype in ("float64", "float32", "float16", "bfloat16")]
    assert tolerances == sorted(tolerances)
