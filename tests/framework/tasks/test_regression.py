import keras
import numpy as np
import pytest
import tensorflow as tf

from framework.features import Feature
from framework.tasks import Objective, Regression

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("values", [1, 3])
def test_loss_metrics_and_predictions(evaluate, values):
    task = Regression(values)
    outputs = RANDOM.normal(0.0, 2.0, (23, values)).astype(np.float32)
    targets = RANDOM.normal(0.0, 2.0, (23, values)[: task.label.spec().shape.rank]).astype(np.float32)
    errors = outputs - targets.reshape(outputs.shape)
    assert evaluate(task, outputs, targets) == {
        "loss": pytest.approx(np.mean(errors**2), rel=1e-5),
        "rmse": pytest.approx(np.sqrt(np.mean(errors**2)), rel=1e-5),
        "mae": pytest.approx(np.mean(np.abs(errors)), rel=1e-5),
    }
    got = task.predictions(tf.constant(outputs, tf.float64))
    assert list(got) == ["value"]
    assert got["value"].dtype == tf.float32
    np.testing.assert_array_equal(got["value"], outputs[:, 0] if values == 1 else outputs)


def test_form_and_objective():
    assert (Regression().label, Regression().units) == (Feature((), "float32"), 1)
    assert (Regression(2).label, Regression(2).units) == (Feature((2,), "float32"), 2)
    assert Regression().objective == Objective("val_rmse", "min")


def test_offset_and_scale_are_in_the_model_and_nowhere_else(evaluate):
    task = Regression(offset=150.0, scale=70.0)
    x = keras.Input((4,))
    model = keras.Model(x, task.logits(x))
    dense = next(layer for layer in model.layers if isinstance(layer, keras.layers.Dense))
    values = RANDOM.normal(size=(5, 4)).astype(np.float32)
    kernel, bias = dense.get_weights()
    np.testing.assert_allclose(model(values), (values @ kernel + bias) * 70.0 + 150.0, rtol=1e-5)
    outputs = np.array([[150.0], [80.0]])
    assert evaluate(task, outputs, np.array([151.0, 80.0]))["loss"] == pytest.approx(0.5)
    np.testing.assert_array_equal(task.predictions(tf.constant(outputs))["value"], outputs[:, 0])


def test_without_them_the_last_layer_is_dense():
    x = keras.Input((4,))
    model = keras.Model(x, Regression().logits(x, name="end"))
    assert [layer.name for layer in model.layers[1:]] == ["end"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_values": 0}, "num_values must be at least 1, got 0"),
        ({"scale": 0.0}, r"scale positive, got 0\.0 and 0\.0"),
        ({"scale": float("inf")}, "must be finite"),
        ({"offset": float("nan")}, "offset must be finite"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        Regression(**settings)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([1.0, np.nan], "Target of example 1 in here is nan"),
        ([1.0, 2.0, np.inf], "Target of example 2 in here is inf"),
        (["1"], "Targets in here have dtype <U1, expected numbers"),
        ([[1.0]], r"shape \(1,\) per example, Regression expects \(\)"),
    ],
)
def test_targets_are_checked(labels, message):
    with pytest.raises(ValueError, match=message):
        Regression().check_labels(np.array(labels), "here")


def test_good_targets_pass():
    Regression().check_labels([1, 2], "here")
    Regression(2).check_labels([[1.0, 2.0]], "here")
    with pytest.raises(ValueError, match=r"Target of example 1 in here is \[1\.0, inf\]"):
        Regression(2).check_labels([[1.0, 2.0], [1.0, np.inf]], "here")
