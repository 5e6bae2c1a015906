import keras
import numpy as np
import pytest
import tensorflow as tf

from framework import tasks
from framework.building import build_model
from framework.data.evaluate import eval_dataset
from framework.data.pipeline import Pipeline
from framework.data.sources import ArraySource, DatasetSource
from framework.data.train import train_dataset
from framework.features import Feature
from framework.training.run import compile_arguments

RANDOM = np.random.default_rng(0)
COUNT = 29
VALUES = RANDOM.normal(size=(COUNT, 4)).astype(np.float32)
IDS = RANDOM.integers(0, 3, COUNT)
WEIGHTS = RANDOM.uniform(0.0, 2.0, COUNT).astype(np.float32)


class Vectors(Pipeline):
    features = {"x": Feature((4,), "float32")}
    task = tasks.Classification(3)

    def __init__(self, kind, weights=None):
        arrays = ({"x": VALUES}, IDS, weights)[: 2 if weights is None else 3]
        if kind == "arrays":
            self._source = ArraySource(*arrays)
        else:  # tf.data can't tell how many pass a filter, as with records
            self._source = DatasetSource(tf.data.Dataset.from_tensor_slices(arrays).filter(lambda *_: True))

    def source(self, phase):
        return None if phase == "test" else self._source

    def augment(self, features, labels, seeds):
        return {"x": tf.zeros_like(features["x"])}, labels

    def preprocess(self, features):
        return {"x": 2.0 * features["x"]}


def linear(inputs, task):
    return task.logits(inputs["x"])


def compiled(pipeline, **settings):
    model = build_model(linear, pipeline.interface(), pipeline.task, seed=0)
    model.compile(optimizer=keras.optimizers.SGD(0.1), **compile_arguments(pipeline), **settings)
    return model


def by_numpy(model, weights=None):
    kernel, bias = model.get_weights()
    logits = (2.0 * VALUES.astype(np.float64)) @ kernel + bias
    losses = np.log(np.exp(logits).sum(-1)) - logits[np.arange(COUNT), IDS]
    correct = logits.argmax(-1) == IDS
    if weights is None:
        return {"loss": losses.mean(), "accuracy": correct.mean()}
    # Keras divides the weighted loss by the number of examples, a weighted metric by the sum of the weights.
    return {"loss": np.mean(weights * losses), "accuracy": np.average(correct, weights=weights)}


KINDS = pytest.mark.parametrize("kind", ["arrays", "stream"])


@KINDS
@pytest.mark.parametrize("steps_per_execution", [1, 2, 3])
def test_keras_evaluates_every_example_once(kind, steps_per_execution):
    pipeline = Vectors(kind)
    model = compiled(pipeline, steps_per_execution=steps_per_execution)
    expected = by_numpy(model)
    for batch_size in (4, 7, 28, 29, 64):
        for phase in ("train", "validation"):
            dataset = eval_dataset(pipeline, phase, batch_size=batch_size)
            got = model.evaluate(dataset, return_dict=True, verbose=0)
            assert got == pytest.approx(expected, rel=1e-5), (batch_size, phase)


@KINDS
def test_weights_count(kind):
    pipeline = Vectors(kind, WEIGHTS)
    model = compiled(pipeline)
    got = model.evaluate(eval_dataset(pipeline, "validation", batch_size=29), return_dict=True, verbose=0)
    assert got == pytest.approx(by_numpy(model, WEIGHTS), rel=1e-5)
    got = model.evaluate(eval_dataset(pipeline, "validation", batch_size=7), return_dict=True, verbose=0)
    assert got == pytest.approx(by_numpy(model, WEIGHTS), rel=1e-5)


@KINDS
@pytest.mark.parametrize("steps_per_execution", [1, 5])
def test_validation_within_fit_is_that_of_the_epoch_s_weights(kind, steps_per_execution):
    pipeline = Vectors(kind)
    model = compiled(pipeline, steps_per_execution=steps_per_execution)
    history = model.fit(
        train_dataset(pipeline, batch_size=6, seed=0),
        steps_per_epoch=5,
        shuffle=False,
        epochs=2,
        validation_data=eval_dataset(pipeline, "validation", batch_size=7),
        verbose=0,
    )
    expected = by_numpy(model)
    assert {name: history.history[f"val_{name}"][-1] for name in expected} == pytest.approx(expected, rel=1e-5)
    assert int(model.optimizer.iterations) == 10


@KINDS
def test_batches_are_in_order_and_their_number_is_known(kind):
    dataset = eval_dataset(Vectors(kind), "validation", batch_size=8)
    assert int(dataset.cardinality()) == 4
    for _ in range(2):  # it can be read again
        batches = list(dataset)
        np.testing.assert_array_equal(np.concatenate([inputs["x"] for inputs, _ in batches]), 2.0 * VALUES)
        np.testing.assert_array_equal(np.concatenate([labels for _, labels in batches]), IDS)


def test_the_options_are_set():
    options = eval_dataset(Vectors("arrays"), "train", batch_size=8).options()
    assert options.deterministic is True
    assert options.autotune.enabled is False


def test_a_missing_split_is_an_error():
    with pytest.raises(ValueError, match="The pipeline Vectors has no test split"):
        eval_dataset(Vectors("arrays"), "test", batch_size=8)
    with pytest.raises(ValueError, match="There is no phase 'dev'; a split is one of 'train', 'validation', 'test'"):
        eval_dataset(Vectors("arrays"), "dev", batch_size=8)
