import keras
import numpy as np
import pytest
import tensorflow as tf

from framework.features import Feature
from framework.tasks import BinaryClassification, Classification, Heads, Objective, Regression

HEADS = Heads({"digit": Classification(3), "size": Regression()}, {"size": 0.25})
RANDOM = np.random.default_rng(0)
OUTPUTS = {
    "digit": RANDOM.normal(size=(23, 3)).astype(np.float32),
    "size": RANDOM.normal(size=(23, 1)).astype(np.float32),
}
LABELS = {"digit": RANDOM.integers(0, 3, 23), "size": RANDOM.normal(size=23).astype(np.float32)}


@pytest.mark.parametrize("batch_size", [7, 23])
def test_the_loss_is_the_weighted_sum(evaluate, batch_size):
    log_probabilities = OUTPUTS["digit"] - np.log(np.exp(OUTPUTS["digit"]).sum(-1, keepdims=True))
    digit_loss = -np.mean(log_probabilities[np.arange(23), LABELS["digit"]])
    errors = OUTPUTS["size"][:, 0] - LABELS["size"]
    got = evaluate(HEADS, OUTPUTS, LABELS, batch_size)
    head_losses = {head: got.pop(f"{head}_loss") for head in HEADS.tasks}
    assert got == pytest.approx(
        {
            "loss": digit_loss + 0.25 * np.mean(errors**2),
            "digit_accuracy": np.mean(OUTPUTS["digit"].argmax(-1) == LABELS["digit"]),
            "size_rmse": np.sqrt(np.mean(errors**2)),
            "size_mae": np.mean(np.abs(errors)),
        },
        rel=1e-5,
    )
    # Keras 3.15.1 averages these over batches, whatever their sizes (CompileLoss.call takes a static shape). When it
    # counts examples, this fails, and the sentence in Heads' docstring can go.
    exact = head_losses == pytest.approx({"digit": digit_loss, "size": np.mean(errors**2)}, rel=1e-5)
    assert exact == (batch_size == 23)


def test_predictions_are_named_by_head():
    got = HEADS.predictions({head: tf.constant(value) for head, value in OUTPUTS.items()})
    assert set(got) == {"digit_logits", "digit_probabilities", "digit_class_id", "size_value"}
    np.testing.assert_array_equal(got["digit_class_id"], OUTPUTS["digit"].argmax(-1))
    np.testing.assert_array_equal(got["size_value"], OUTPUTS["size"][:, 0])


def test_forms():
    assert HEADS.label == {"digit": Feature((), "int64"), "size": Feature((), "float32")}
    assert HEADS.units == {"digit": 3, "size": 1}
    assert HEADS.weights == {"digit": 1.0, "size": 0.25}
    assert HEADS.objective == Objective("val_loss", "min")
    assert Heads(HEADS.tasks, monitor=Objective("val_size_mae", "min")).objective.monitor == "val_size_mae"


def test_describe_has_every_head():
    assert HEADS.describe() == {
        "type": "Heads",
        "tasks": {"digit": Classification(3).describe(), "size": Regression().describe()},
        "weights": {"digit": 1.0, "size": 0.25},
    }


def test_logits_make_every_head():
    x = keras.Input((4,))
    logits = HEADS.logits(x)
    assert {head: tensor.shape for head, tensor in logits.items()} == {"digit": (None, 3), "size": (None, 1)}
    assert list(HEADS.check_outputs(logits)) == ["digit", "size"]


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (lambda x: x, r"must return a dict with the heads \['digit', 'size'\], got KerasTensor"),
        (lambda x: {"digit": x}, r"got \['digit'\]\. task\.logits\(x\) makes all of them"),
        (lambda x: {"digit": x, "size": x}, r"output of shape \(None, 3\), Regression expects \(None, 1\)"),
    ],
)
def test_outputs_are_checked(outputs, message):
    with pytest.raises(ValueError, match=message):
        HEADS.check_outputs(outputs(keras.Input((3,))))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros(3), r"Labels in here must be a dict with the heads \['digit', 'size'\], got ndarray"),
        ({"digit": [0]}, r"got \['digit'\]"),
        ({"digit": [0, 3], "size": [0.0, 0.0]}, r"in here, head 'digit': example 1 has label 3"),
        ({"digit": [0, 1], "size": [0.0, np.nan]}, r"Target of example 1 in here, head 'size' is nan"),
    ],
)
def test_labels_are_checked(labels, message):
    HEADS.check_labels(LABELS, "here")
    with pytest.raises(ValueError, match=message):
        HEADS.check_labels(labels, "here")


@pytest.mark.parametrize("given", [{}, {"a": 3}, [Regression()], None])
def test_heads_are_a_dict_of_tasks(given):
    with pytest.raises(TypeError, match="Heads needs a dict of names to tasks, got"):
        Heads(given)


def test_names_and_weights_are_checked():
    with pytest.raises(ValueError, match=r"Weights for heads that don't exist: \['b'\]\. Heads: \['a'\]"):
        Heads({"a": Regression()}, {"b": 1.0})
    with pytest.raises(ValueError, match="Heads has names that a signature can't have: 'two words'"):
        Heads({"two words": BinaryClassification()})
