import random
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf

import framework
from framework import testing
from framework.data.pipeline import signature
from framework.data.sources import ArraySource, DatasetSource
from framework.features import Feature
from framework.testing import assert_model_conforms, assert_pipeline_conforms, checks, toy_values
from framework.testing.toys import ToyValues


def dense(inputs, task, *, width: int = 8):
    return task.logits(keras.layers.Dense(width, activation="relu")(inputs["values"]))


# Models that don't conform, and what is said of them.


def wants_what_no_toy_has(inputs, task):
    return task.logits(inputs["audio"])


def centres_over_the_batch(inputs, task):
    x = inputs["values"]
    return task.logits(x - keras.ops.mean(x, axis=0, keepdims=True))


def is_not_finite(inputs, task):
    return task.logits(keras.ops.log(inputs["values"]))


def cuts_gradients_off(inputs, task):
    hidden = keras.layers.Dense(4, name="forgotten")(inputs["values"])
    return task.logits(keras.ops.stop_gradient(hidden))


def has_nothing_to_train(inputs, task):
    return keras.ops.sum(inputs["values"], axis=-1, keepdims=True)


def has_gradients_without_end(inputs, task):
    return task.logits(keras.ops.sqrt(keras.layers.Dense(4, kernel_initializer="zeros")(inputs["values"])))


class Moody(keras.layers.Layer):
    """Its state is a Python attribute, of which a checkpoint knows nothing."""

    def __init__(self):
        super().__init__()
        self.mood = random.random()

    def call(self, x):
        return x * self.mood


def hides_state(inputs, task):
    return task.logits(Moody()(inputs["values"]))


class PythonNoise(keras.layers.Layer):
    """Draws from a generator whose state no checkpoint holds."""

    def call(self, x, training=False):
        return x * random.random() if training else x


def draws_from_python(inputs, task):
    return task.logits(PythonNoise()(inputs["values"]))


@pytest.mark.parametrize(
    ("builder", "message"),
    [
        (centres_over_the_batch, "answers an example differently in a batch of 16 and of 1 .*computed over the batch"),
        (is_not_finite, "answers its output with NaN or infinity"),
        (
            cuts_gradients_off,
            r"the loss doesn't depend on the trainable weights \['forgotten/kernel', 'forgotten/bias'\]",
        ),
        (has_nothing_to_train, "has no trainable weights"),
        (has_gradients_without_end, r"the gradients of \[.*kernel.*\] are NaN or infinite at the first step"),
        (hides_state, "0 steps after a checkpoint another model answers its output differently .*keras.Variables"),
        (draws_from_python, "1 steps after a checkpoint another model answers its output differently"),
    ],
)
def test_a_model_that_doesn_t_conform(builder, message):
    with pytest.raises(AssertionError, match=rf"Model '{builder.__name__}'.*{message}"):
        assert_model_conforms(builder, toy_values())


def test_a_model_that_fits_no_toy():
    with pytest.raises(AssertionError, match="'wants_what_no_toy_has' builds on none of the toys; give") as error:
        assert_model_conforms(wants_what_no_toy_has)
    for toy, features in (("table", "colour"), ("images", "image"), ("values", "values")):
        assert any(toy in line and features in line and "'audio'" in line for line in str(error.value).splitlines())


def test_a_model_that_doesn_t_learn():
    def ignores_its_weights(inputs, task):
        return 0.0 * task.logits(inputs["values"])

    with pytest.raises(
        AssertionError, match=r"'ignores_its_weights' doesn't learn: the loss .* after an epoch of ToyValues"
    ):
        assert_model_conforms(ignores_its_weights, toy_values())


def test_heads_conform_and_exports_are_compared(tmp_path, monkeypatch):
    labels = np.arange(64) % 2
    features = np.random.default_rng(0).normal(labels[:, None], 0.3, (64, 3)).astype(np.float32)
    heads = framework.tasks.Heads({"kind": framework.tasks.Classification(2), "size": framework.tasks.Regression()})
    pipeline = framework.pipeline_from_arrays(
        {"values": features}, {"kind": labels, "size": features[:, 0]}, task=heads, validation=0.25
    )
    assert_pipeline_conforms(pipeline)
    run = checks.trained_on_toy(dense, pipeline, {"width": 4}, run_dir=tmp_path / "run")
    assert run.model.layers[1].units == 4
    answers = []
    reload = checks._reload
    monkeypatch.setattr(checks, "_reload", lambda requests: answers.append(reload(requests)) or answers[0])
    checks.assert_export_reloads([run])

    kernel = run.model.trainable_variables[0]
    kernel.assign(kernel + 0.01)
    monkeypatch.setattr(checks, "_reload", lambda requests: answers[0])
    with pytest.raises(
        AssertionError, match=r"export/1, signature 'serving_default', batch of 1: '.*' differs from Run"
    ):
        checks.assert_export_reloads([run])


def test_an_export_that_can_t_be_loaded(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"no model")
    with pytest.raises(AssertionError, match=rf"A new process couldn't use the export {tmp_path}:\n(.|\n)*Error"):
        checks._reload([(str(tmp_path), [])])


def test_the_example_in_the_package_s_docstring(monkeypatch):
    called = []
    monkeypatch.setattr(testing, "assert_model_conforms", lambda *args, **named: called.append((args, named)))
    monkeypatch.setattr(testing, "assert_pipeline_conforms", lambda *args, **named: called.append((args, named)))
    example = testing.__doc__[testing.__doc__.index("from framework") :].replace("from my_package import", "# ")
    names = {"my_model": dense, "my_pipeline": ToyValues}
    exec(textwrap.dedent(example), names)
    names["test_my_model"]()
    names["test_my_pipeline"]()
    assert called == [((dense,), {"hparams": {"width": 8}}), ((ToyValues,), {})]


# Pipelines that don't conform.


class RandomPreprocess(ToyValues):
    def preprocess(self, features):
        return {"values": features["values"] + tf.random.uniform([])}


class RandomAugment(ToyValues):
    def augment(self, features, labels, seeds):
        return {"values": features["values"] + tf.random.uniform([])}, labels


class AugmentsEverywhere(ToyValues):
    def preprocess(self, features):
        seeds = tf.zeros((tf.shape(features["values"])[0], 2), tf.int64)
        return self.augment(features, None, seeds)[0]


class AugmentsToAnotherType(ToyValues):
    def augment(self, features, labels, seeds):
        return {"values": tf.cast(features["values"], tf.float64)}, labels


class FeedsTheLabel(ToyValues):
    features = {**ToyValues.features, "target": Feature()}

    def source(self, phase):
        arrays = super().source(phase).arrays
        return ArraySource(arrays.features | {"target": arrays.labels}, arrays.labels)


class ShufflesItsSource(ToyValues):
    def source(self, phase):
        arrays = super().source(phase).arrays
        dataset = tf.data.Dataset.from_tensor_slices((dict(arrays.features), arrays.labels))
        return DatasetSource(dataset.shuffle(1000))


class DropsExamples(ToyValues):
    def source(self, phase):
        class Dropping(ArraySource):
            def batches(self, batch_size):
                return super().batches(batch_size).take(self.num_examples // batch_size)

        return Dropping(*super().source(phase).arrays)


class ServesAnotherInterface(ToyValues):
    @signature({"x": Feature((6,))}, returns="model")
    def other(self, inputs):
        return {"other": inputs["x"]}


class PreprocessesByBatch(ToyValues):
    def preprocess(self, features):
        return {"values": features["values"] - tf.reduce_mean(features["values"], axis=0, keepdims=True)}


class ServesSomethingElse(ToyValues):
    """Takes a Python branch in signatures alone."""

    def preprocess(self, features):
        in_a_signature = getattr(tf.compat.v1.get_default_graph(), "name", "") == "preprocess"
        return {"values": features["values"] + float(in_a_signature)}


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        (
            RandomPreprocess,
            "RandomPreprocess: evaluation of 'train' .* values isn't what preprocess makes of the split",
        ),
        (RandomAugment, r"RandomAugment: \['values'\] of epoch ., step .* differ when read again with the same seed"),
        (AugmentsEverywhere, "AugmentsEverywhere: augment was called outside of training"),
        (AugmentsToAnotherType, "AugmentsToAnotherType: training makes .*float64.* was found to make .*float32"),
        (FeedsTheLabel, "FeedsTheLabel: the feature 'target' holds the label; every signature would ask for it"),
        (ShufflesItsSource, "ShufflesItsSource: evaluation of 'train' .*in its order"),
        (
            DropsExamples,
            "DropsExamples: evaluation of 'train' in batches of 7 has 22 steps by its cardinality, expected 23",
        ),
        (ServesAnotherInterface, "signature 'other' makes .*'other'.*, training makes .*'values'"),
        (PreprocessesByBatch, "PreprocessesByBatch: evaluation of 'train' in batches of 7: values isn't what"),
        (ServesSomethingElse, "signature 'serving_default' and evaluation make another 'values'"),
    ],
)
def test_a_pipeline_that_doesn_t_conform(pipeline, message):
    with pytest.raises(AssertionError, match=message):
        assert_pipeline_conforms(pipeline)


def test_what_the_framework_itself_refuses_passes_through():
    class WrongLabels(ToyValues):
        task = framework.tasks.Classification(3)

    with pytest.raises(ValueError, match="expected integer class ids"):
        assert_pipeline_conforms(WrongLabels)


def ignores_the_seed(real):
    return lambda data, **settings: real(data, **settings | {"seed": 0})


def ignores_the_epoch(real):
    def broken(data, start, **settings):
        epoch = real(data, **settings).take(23)
        return epoch.repeat().skip(23 * start.epoch + start.step)

    return broken


def starts_at_the_beginning(real):
    return lambda data, start, **settings: real(data, **settings)


def drops_examples(real):
    def first_four(*batch):
        return tf.nest.map_structure(lambda value: value[:4], batch)

    return lambda data, **settings: real(data, **settings).map(first_four)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (ignores_the_seed, "another seed gives the same order"),
        (ignores_the_epoch, "the first two epochs have the same order"),
        (starts_at_the_beginning, "differ when read again with the same seed from epoch 0, step 11"),
        (drops_examples, "epoch 0 of seed 0 has .* examples, .* different ones; expected each of 160 exactly once"),
    ],
)
def test_an_order_that_is_none(monkeypatch, broken, message):
    monkeypatch.setattr(checks, "train_dataset", broken(checks.train_dataset))
    with pytest.raises(AssertionError, match=message):
        checks._check_training_order(toy_values())


def test_serialized_examples_are_what_a_client_sends():
    features = {"a": Feature((2,), "uint8"), "b": Feature((), "string"), "c": Feature((), "bool"), "d": Feature()}
    values = {
        "a": np.array([[1, 2]], np.uint8),
        "b": np.array([b"x\0"], object),
        "c": np.array([True]),
        "d": np.float32([0.5]),
    }
    (proto,) = checks.serialized_examples(values, features)
    parsed = tf.train.Example.FromString(proto).features.feature
    assert list(parsed["a"].int64_list.value) == [1, 2]
    assert list(parsed["b"].bytes_list.value) == [b"x\0"]
    assert list(parsed["c"].int64_list.value) == [1]
    assert list(parsed["d"].float_list.value) == [0.5]
