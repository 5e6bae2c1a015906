"""Metrics from a signature's answers are those of `Model.evaluate`."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from framework import tasks
from framework.export.scoring import NoScoresError, Outputs, Scores
from framework.tasks.task import Task

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 4)).astype(np.float32)
ONE_OF_3 = RNG.integers(0, 3, 30)
YES_OR_NO = RNG.integers(0, 2, 30)
SEVERAL = RNG.integers(0, 2, (30, 3))
REAL = RNG.normal(size=30).astype(np.float32)
WEIGHTS = RNG.uniform(0.5, 2.0, 30).astype(np.float32)


def activated(units, activation=None):
    return lambda x: keras.layers.Dense(units, activation=activation)(x)


CASES = {
    "classes": (tasks.Classification(3), activated(3), ONE_OF_3),
    "softmax": (tasks.Classification(3, from_logits=False), activated(3, "softmax"), ONE_OF_3),
    "smoothed": (tasks.Classification(3, label_smoothing=0.1), activated(3), ONE_OF_3),
    "binary": (tasks.BinaryClassification(threshold=0.4), activated(1), YES_OR_NO),
    "sigmoid": (tasks.BinaryClassification(from_logits=False), activated(1, "sigmoid"), YES_OR_NO),
    "labels": (tasks.MultiLabelClassification(3), activated(3), SEVERAL),
    "value": (tasks.Regression(), activated(1), REAL),
    "values": (tasks.Regression(2), activated(2), np.stack([REAL, REAL], axis=1)),
    "heads": (
        tasks.Heads({"kind": tasks.Classification(3), "price": tasks.Regression()}, weights={"price": 0.3}),
        lambda x: {"kind": activated(3)(x), "price": activated(1)(x)},
        {"kind": ONE_OF_3, "price": REAL},
    ),
}


def compiled(task, layers, *, weighted=False, **arguments):
    x = keras.Input((4,), name="x")
    model = keras.Model({"x": x}, layers(x))
    metrics = {"weighted_metrics" if weighted else "metrics": task.metrics()}
    arguments = {"loss": task.loss(), "loss_weights": getattr(task, "weights", None), **metrics, **arguments}
    model.compile(**arguments)
    return model, arguments


def scored(model, arguments, task, labels, weights=None, batch_size=8):
    """Through the task's predictions alone, as a client sees them."""
    scores = Scores(Outputs(model, task), arguments)
    for first in range(0, len(X), batch_size):
        rows = slice(first, first + batch_size)
        answers = {name: value.numpy() for name, value in task.predictions(model({"x": X[rows]})).items()}
        part = tf.nest.map_structure(lambda array, rows=rows: tf.constant(array[rows]), labels)
        scores.update(answers, part, None if weights is None else tf.constant(weights[rows]))
    return scores


def evaluated(model, labels, weights=None):
    return model.evaluate({"x": X}, labels, sample_weight=weights, batch_size=8, return_dict=True, verbose=0)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["unweighted", "weighted"])
def test_as_evaluate_has_them(name, weights):
    task, layers, labels = CASES[name]
    model, arguments = compiled(task, layers, weighted=weights is not None)
    expected = evaluated(model, labels, weights)
    got = scored(model, arguments, task, labels, weights).values
    assert got.keys() == expected.keys()
    for metric, value in expected.items():
        # Keras weighs the batches of these as it likes: with their sizes called eagerly, alike in a graph.
        if metric not in ("kind_loss", "price_loss"):
            assert got[metric] == pytest.approx(value, rel=1e-5, abs=1e-6), metric


def half_squared(y_true, y_pred):
    return keras.ops.mean(keras.ops.square(y_true - y_pred)) / 2


def test_what_the_model_was_compiled_with_counts():
    task, layers, labels = CASES["value"]
    model, arguments = compiled(
        task, layers, loss=half_squared, metrics=["mae", keras.metrics.MeanSquaredError(name="square")]
    )
    expected = evaluated(model, labels)
    got = scored(model, arguments, task, labels).values
    assert got.keys() == expected.keys() == {"loss", "mae", "square"}
    assert got == pytest.approx(expected, rel=1e-5)


def test_forgotten_batches_dont_count():
    task, layers, labels = CASES["classes"]
    model, arguments = compiled(task, layers)
    scores = scored(model, arguments, task, labels)
    before = scores.values
    scores.reset()
    assert scores.values == {}
    answers = {name: value.numpy() for name, value in task.predictions(model({"x": X})).items()}
    scores.update(answers, tf.constant(labels))
    assert scores.values == pytest.approx(before, rel=1e-5)


class Share(keras.metrics.Mean):
    def __init__(self, above=0.5, name="share"):
        super().__init__(name=name)
        self.above = above


def test_a_metric_that_cant_be_made_again_is_named():
    task, layers, _ = CASES["value"]
    model, arguments = compiled(task, layers, metrics=[Share(0.7)])
    with pytest.raises(
        NoScoresError, match=r"metric 'share' can't be made again: its get_config says nothing of above"
    ):
        Scores(Outputs(model, task), arguments)


def test_a_task_that_doesnt_answer_its_models_outputs():
    class Counts(Task):
        label = tasks.Regression().label
        units = 1

        def loss(self):
            return keras.losses.Poisson()

        def predictions(self, outputs):
            return {"count": tf.exp(tf.squeeze(outputs, -1))}

    model, _ = compiled(CASES["value"][0], activated(1))
    with pytest.raises(
        NoScoresError, match=r"Counts\.predictions answers count; none of these are the model's outputs"
    ):
        Outputs(model, Counts())
