import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from framework.features import Feature
from framework.tasks import BinaryClassification, Classification, MultiLabelClassification, Objective

N, CLASSES = 23, 4
RANDOM = np.random.default_rng(0)
LOGITS = RANDOM.normal(0.0, 2.0, (N, CLASSES)).astype(np.float32)
IDS = RANDOM.integers(0, CLASSES, N)
ONE_HOT = np.eye(CLASSES)[IDS]
MIXED = RANDOM.dirichlet(np.ones(CLASSES), N).astype(np.float32)
YES = RANDOM.integers(0, 2, N)
ANY = RANDOM.integers(0, 2, (N, CLASSES))


def softmax(x):
    e = np.exp(x.astype(np.float64) - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x.astype(np.float64)))


def log_loss(labels, probabilities):
    return -np.mean(labels * np.log(probabilities) + (1 - labels) * np.log(1 - probabilities))


def area_under_curve(labels, scores):
    """The share of (yes, no) pairs in the right order."""
    yes, no = scores[labels == 1], scores[labels == 0]
    return np.mean((yes[:, None] > no[None, :]) + 0.5 * (yes[:, None] == no[None, :]))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("from_logits", [True, False])
@pytest.mark.parametrize("labels", [IDS, MIXED], ids=["ids", "probabilities"])
def test_cross_entropy_and_accuracy(evaluate, labels, from_logits, smoothing):
    task = Classification(CLASSES, label_smoothing=smoothing, from_logits=from_logits)
    got = evaluate(task, LOGITS if from_logits else softmax(LOGITS), labels)
    targets = (ONE_HOT if labels is IDS else MIXED) * (1 - smoothing) + smoothing / CLASSES
    expected = {
        "loss": -np.mean(np.sum(targets * np.log(softmax(LOGITS)), -1)),
        "accuracy": np.mean(LOGITS.argmax(-1) == (IDS if labels is IDS else MIXED.argmax(-1))),
    }
    assert got == pytest.approx(expected, rel=1e-5)


def test_class_ids_may_be_as_many_as_classes(evaluate):
    # [batch] and [batch, classes] are told apart by rank, not by length.
    got = evaluate(Classification(7), np.tile(LOGITS[:7, :1], (1, 7)) + np.eye(7), np.arange(7))
    assert got["accuracy"] == 1.0


def test_class_predictions():
    task = Classification(class_names=["a", "b", "ü", "d"])
    got = {name: value.numpy() for name, value in task.predictions(tf.constant(LOGITS)).items()}
    assert {name: (value.dtype.name, value.shape) for name, value in got.items()} == {
        "logits": ("float32", (N, CLASSES)),
        "probabilities": ("float32", (N, CLASSES)),
        "class_id": ("int64", (N,)),
        "class_name": ("object", (N,)),
    }
    np.testing.assert_array_equal(got["logits"], LOGITS)
    np.testing.assert_allclose(got["probabilities"], softmax(LOGITS), rtol=1e-5)
    np.testing.assert_array_equal(got["class_id"], LOGITS.argmax(-1))
    assert got["class_name"].tolist() == [("a", "b", "ü", "d")[index].encode() for index in LOGITS.argmax(-1)]


def test_class_predictions_from_probabilities():
    probabilities = softmax(LOGITS).astype(np.float32)
    probabilities[0] = [1, 0, 0, 0]
    got = Classification(CLASSES, from_logits=False).predictions(tf.constant(probabilities))
    assert "class_name" not in got
    np.testing.assert_array_equal(got["probabilities"], probabilities)
    np.testing.assert_allclose(softmax(got["logits"].numpy()), probabilities, atol=1e-6)
    assert np.isfinite(got["logits"]).all()


def test_the_first_argument_is_the_number_of_classes():
    assert Classification(10) == Classification(num_classes=10)
    assert Classification(10).units == 10
    assert MultiLabelClassification(10) == MultiLabelClassification(num_labels=10)
    assert BinaryClassification(("no", "yes")) == BinaryClassification(class_names=["no", "yes"])


def test_names_tell_the_number():
    task = Classification(class_names=np.array(["a", "b"]))
    assert task == Classification(2, ("a", "b"))
    assert MultiLabelClassification(label_names=["x", "y", "z"]).units == 3


def test_forms_and_objectives():
    assert (Classification(3).label, Classification(3).objective) == (
        Feature((), "int64"),
        Objective("val_accuracy", "max"),
    )
    binary = BinaryClassification()
    assert (binary.label, binary.units, binary.objective) == (Feature((), "int64"), 1, Objective("val_auc", "max"))
    several = MultiLabelClassification(3)
    assert (several.label, several.objective) == (Feature((3,), "int64"), Objective("val_auc", "max"))


def test_a_task_is_plain_values():
    task = Classification(class_names=["a", "b"], label_smoothing=0.1)
    plain = {"num_classes": 2, "class_names": ("a", "b"), "label_smoothing": 0.1, "from_logits": True}
    assert task.describe() == {"type": "Classification", **plain}
    with pytest.raises(dataclasses.FrozenInstanceError):
        task.num_classes = 3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Classification(), r"needs num_classes \(a positive integer\) or class_names\. Got None"),
        (lambda: Classification(0), "Got 0"),
        (lambda: Classification(2.5), r"Got 2\.5"),
        (lambda: Classification(True), "Got True"),
        (lambda: Classification(1), "at least 2 classes, got 1.*use BinaryClassification"),
        (lambda: Classification(3, ["a", "b"]), "num_classes is 3, but there are 2 class_names"),
        (lambda: Classification(class_names=["a", "a"]), "same name twice"),
        (lambda: Classification(3, label_smoothing=1.0), r"label_smoothing must be in \[0, 1\), got 1\.0"),
        (lambda: BinaryClassification(["a"]), "has 2 class names, those of 0 and 1"),
        (lambda: BinaryClassification(threshold=0.0), r"threshold is a probability in \(0, 1\), got 0\.0"),
        (lambda: MultiLabelClassification(), r"needs num_labels \(a positive integer\) or label_names"),
        (lambda: MultiLabelClassification(3, threshold=1.0), "threshold is a probability"),
    ],
)
def test_settings_are_checked(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("task", "labels", "message"),
    [
        (
            Classification(3),
            [0, 3, 4],
            r"in here: example 1 has label 3, expected a class id in \[0, 3\)\. Set the task's",
        ),
        (Classification(3), [0, -1], "example 1 has label -1"),
        (Classification(3), [0.0, 1.0], "have dtype float64, expected integer class ids"),
        (Classification(3), ["a", "b"], "have dtype <U1, expected integer class ids"),
        (Classification(3), [[0], [1]], r"have shape \(1,\) per example, Classification expects \(\)"),
        (BinaryClassification(), [0, 1, 2], "in here: example 2 has label 2, expected 0 or 1"),
        (BinaryClassification(), [0.0, 0.5], r"example 1 has label 0\.5"),
        (BinaryClassification(), [[0]], r"shape \(1,\) per example"),
        (MultiLabelClassification(2), [[0, 1], [1, 3]], r"example 1 has label \[1, 3\], expected 0 or 1"),
        (
            MultiLabelClassification(2),
            [[0, 1, 0]],
            r"shape \(3,\) per example, MultiLabelClassification expects \(2,\)",
        ),
    ],
)
def test_labels_are_checked(task, labels, message):
    with pytest.raises(ValueError, match=message):
        task.check_labels(np.array(labels), "here")


@pytest.mark.parametrize(
    ("task", "labels"),
    [
        (Classification(3), np.array([0, 1, 2], np.uint8)),
        (BinaryClassification(), [0, 1]),
        (BinaryClassification(), [False, True]),
        (BinaryClassification(), [0.0, 1.0]),
        (MultiLabelClassification(2), [[0, 1], [0, 0]]),
    ],
)
def test_good_labels_pass(task, labels):
    task.check_labels(labels, "here")


@pytest.mark.parametrize("from_logits", [True, False])
@pytest.mark.parametrize("threshold", [0.5, 0.8])
def test_binary_loss_and_metrics(evaluate, from_logits, threshold):
    task = BinaryClassification(threshold=threshold, from_logits=from_logits)
    logits = LOGITS[:, :1]
    probabilities = sigmoid(logits[:, 0])
    got = evaluate(task, logits if from_logits else probabilities[:, None], YES)
    assert got == {
        "loss": pytest.approx(log_loss(YES, probabilities), rel=1e-5),
        "accuracy": pytest.approx(np.mean((probabilities > threshold) == YES)),
        "auc": pytest.approx(area_under_curve(YES, probabilities), abs=0.01),  # Keras takes 200 thresholds
    }


@pytest.mark.parametrize("from_logits", [True, False])
def test_binary_predictions(from_logits):
    task = BinaryClassification(("no", "yes"), threshold=0.8, from_logits=from_logits)
    logits = LOGITS[:, :1]
    probabilities = sigmoid(logits).astype(np.float32)
    got = task.predictions(tf.constant(logits if from_logits else probabilities))
    got = {name: value.numpy() for name, value in got.items()}
    assert {name: value.shape for name, value in got.items()} == dict.fromkeys(got, (N,))
    np.testing.assert_allclose(got["logits"], logits[:, 0], rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(got["probabilities"], probabilities[:, 0], rtol=1e-5)
    np.testing.assert_array_equal(got["class_id"], probabilities[:, 0] > 0.8)
    assert got["class_name"].tolist() == [b"yes" if value > 0.8 else b"no" for value in probabilities[:, 0]]


@pytest.mark.parametrize(("from_logits", "middle"), [(True, 0.0), (False, 0.5)])
def test_accuracy_is_that_of_the_predictions_at_the_threshold_too(evaluate, from_logits, middle):
    # A model whose last layer begins at zero answers exactly the threshold.
    task = BinaryClassification(from_logits=from_logits)
    outputs = np.full((9, 1), middle, np.float32)
    labels = np.array([0, 1, 0, 0, 0, 1, 1, 0, 0])
    predicted = task.predictions(tf.constant(outputs))["class_id"].numpy()
    assert evaluate(task, outputs, labels)["accuracy"] == pytest.approx(np.mean(predicted == labels))


def test_certain_probabilities_give_finite_logits():
    got = BinaryClassification(from_logits=False).predictions(tf.constant([[0.0], [1.0]]))
    np.testing.assert_allclose(got["logits"], [np.log(1e-7), -np.log(1e-7)], rtol=0.02)
    assert got["class_id"].numpy().tolist() == [0, 1]


@pytest.mark.parametrize("from_logits", [True, False])
def test_multi_label_loss_metrics_and_predictions(evaluate, from_logits):
    task = MultiLabelClassification(CLASSES, threshold=0.7, from_logits=from_logits)
    probabilities = sigmoid(LOGITS)
    outputs = LOGITS if from_logits else probabilities.astype(np.float32)
    areas = [area_under_curve(ANY[:, label], probabilities[:, label]) for label in range(CLASSES)]
    assert evaluate(task, outputs, ANY) == {
        "loss": pytest.approx(log_loss(ANY, probabilities), rel=1e-5),
        "accuracy": pytest.approx(np.mean((probabilities > 0.7) == ANY)),
        "auc": pytest.approx(np.mean(areas), abs=0.01),
    }
    got = {name: value.numpy() for name, value in task.predictions(tf.constant(outputs)).items()}
    np.testing.assert_allclose(got["logits"], LOGITS, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(got["probabilities"], probabilities, rtol=1e-5)
    np.testing.assert_array_equal(got["labels"], probabilities > 0.7)
    assert got["labels"].dtype == np.int64


def test_loss_and_metric_survive_keras_serialization():
    task = Classification(CLASSES, label_smoothing=0.2, from_logits=False)
    loss = keras.losses.deserialize(keras.losses.serialize(task.loss()))
    metric = keras.metrics.deserialize(keras.metrics.serialize(task.metrics()[0]))
    probabilities = softmax(LOGITS).astype(np.float32)
    assert loss.get_config() == task.loss().get_config()
    assert float(loss(IDS, probabilities)) == float(task.loss()(IDS, probabilities))
    metric.update_state(IDS, probabilities)
    assert float(metric.result()) == pytest.approx(np.mean(LOGITS.argmax(-1) == IDS))
    assert metric.name == "accuracy"
