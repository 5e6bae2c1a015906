import pytest
import tensorflow as tf

import framework
from framework.data.pipeline import signature
from framework.data.sources import ArraySource, DatasetSource
from framework.features import Feature
from framework.testing import assert_pipeline_conforms, pipeline_checks, toy_values
from framework.testing.toys import ToyValues


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
        in_a_signature = getattr(tf.compat.v1.get_default_graph(), "name", "") == "from_served"
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
    monkeypatch.setattr(pipeline_checks, "train_dataset", broken(pipeline_checks.train_dataset))
    with pytest.raises(AssertionError, match=message):
        pipeline_checks._check_training_order(toy_values())
