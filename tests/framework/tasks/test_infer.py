import numpy as np
import pytest

from framework.tasks import BinaryClassification, Classification, MultiLabelClassification, Regression, infer_task


@pytest.mark.parametrize(
    ("labels", "task"),
    [
        ([0, 2, 1], Classification(3)),
        (np.array([0, 255], np.uint8), Classification(256)),
        ([0, 0], Classification(2)),
        ([True, False], BinaryClassification()),
        ([[0, 1, 1], [0, 0, 0]], MultiLabelClassification(3)),
        ([[True, False]], MultiLabelClassification(2)),
        ([0.5, 2.0], Regression()),
        ([[0.5, 2.0]], Regression(2)),
        (np.array([1.0], np.float16), Regression()),
    ],
)
def test_labels_speak_for_their_task(labels, task):
    inferred = infer_task(labels)
    assert inferred == task
    inferred.check_labels(labels, "here")


@pytest.mark.parametrize(("labels", "low", "high"), [([-1, 1], -1, 1), ([0, 10_000], 0, 10_000)])
def test_integers_that_are_no_class_ids_are_refused(labels, low, high):
    with pytest.raises(
        ValueError, match=rf"Integer labels from {low} to {high} don't look like class ids\. Give task="
    ):
        infer_task(labels)


def test_one_hot_classes_aren_t_taken_for_amounts():
    with pytest.raises(ValueError, match=r"shape \(3, 2\) look like one-hot classes\. Give .*argmax\(axis=1\)"):
        infer_task(np.eye(2, dtype=np.float32)[[0, 1, 1]])
    assert infer_task([[1.0, 0.0], [1.0, 1.0]]) == Regression(2)
    assert infer_task([[1.0], [1.0]]) == Regression(1)


@pytest.mark.parametrize("labels", [["a", "b"], [[0, 1], [2, 3]], [1j], np.zeros((2, 2, 2), int)])
def test_other_labels_need_a_task(labels):
    with pytest.raises(TypeError, match=r"No task fits labels of dtype .* and shape .*\. Give task="):
        infer_task(labels)


@pytest.mark.parametrize("labels", [np.zeros(0), np.zeros(0, int), np.zeros((0, 2), bool)])
def test_no_labels_say_nothing(labels):
    with pytest.raises(ValueError, match="There are no labels to tell the task from: got an array of shape"):
        infer_task(labels)
