"""Signatures for TensorFlow Serving's Classify and Regress calls."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import framework
from framework import Feature, tasks
from framework.export import Exporter, Exports, read_manifest

VALUES = np.random.default_rng(0).normal(size=(12, 2)).astype(np.float32)


def exporter(task, labels, **arguments):
    pipeline = framework.pipeline_from_arrays({"values": VALUES}, labels, task=task)
    model = framework.build_model(
        lambda inputs, task: task.logits(keras.layers.Identity()(inputs["values"])), pipeline.interface(), task
    )
    return Exporter(model, pipeline, exports=Exports(classify_regress=True), **arguments)


def loaded(exporter, base, name):
    """The signature, its method, and `tf.Example`s for it."""
    path = base / str(exporter.publish(base))
    method = read_manifest(path)["signatures"][name]["method_name"]
    protos = tf.constant(exporter.pipeline.serialize({"values": VALUES[:3]}))
    return tf.saved_model.load(str(path)).signatures, method, protos


def test_one_of_several_classes(tmp_path):
    task = tasks.Classification(class_names=["cat", "dog", "cow"])
    signatures, method, protos = loaded(exporter(task, np.arange(12) % 3), tmp_path, "classify")
    assert method == "tensorflow/serving/classify"
    answered = signatures["classify"](inputs=protos)
    assert answered["classes"].numpy().tolist() == [[b"cat", b"dog", b"cow"]] * 3
    np.testing.assert_array_equal(answered["scores"], signatures["serialized"](examples=protos)["probabilities"])


def test_yes_or_no(tmp_path):
    signatures, _, protos = loaded(exporter(tasks.BinaryClassification(), np.arange(12) % 2), tmp_path, "classify")
    answered = signatures["classify"](inputs=protos)
    assert answered["classes"].numpy().tolist() == [[b"0", b"1"]] * 3
    yes = signatures["serialized"](examples=protos)["probabilities"]
    np.testing.assert_allclose(answered["scores"], np.stack([1 - yes, yes], axis=1), rtol=1e-6)


def test_a_value(tmp_path):
    signatures, method, protos = loaded(exporter(tasks.Regression(), VALUES[:, 0]), tmp_path, "regress")
    assert method == "tensorflow/serving/regress"
    assert list(signatures["regress"].structured_outputs) == ["outputs"]
    np.testing.assert_array_equal(
        signatures["regress"](inputs=protos)["outputs"], signatures["serialized"](examples=protos)["value"]
    )


def test_it_adds_nothing_to_the_variables(tmp_path):
    export = exporter(tasks.Regression(), VALUES[:, 0])
    path = tmp_path / str(export.publish(tmp_path))
    names = [name for name, _ in tf.train.list_variables(str(path / "variables" / "variables"))]
    assert [name for name in names if not name.startswith(("_CHECK", "save_counter", "model_variables/"))] == []


def test_other_tasks_are_refused():
    with pytest.raises(ValueError, match=r"MultiLabelClassification does neither\. Leave classify_regress out"):
        _ = exporter(tasks.MultiLabelClassification(2), np.zeros((12, 2), np.int64)).signatures


class Sentences(framework.Pipeline):
    features = {"words": Feature((None, None), "float32")}
    task = tasks.Regression()

    def source(self, phase):
        return framework.ArraySource({"words": np.zeros((4, 2, 2), np.float32)}, np.zeros(4, np.float32))

    def preprocess(self, features):
        return {"sum": tf.reduce_sum(features["words"], axis=[1, 2])[:, tf.newaxis]}


def test_without_tf_examples_it_is_refused():
    pipeline = Sentences()
    model = framework.build_model(lambda inputs, task: task.logits(inputs["sum"]), pipeline.interface(), pipeline.task)
    with pytest.raises(ValueError, match=r"'regress' takes tf\.Examples as 'serialized' does, which isn't there"):
        _ = Exporter(model, pipeline, exports=Exports(classify_regress=True)).signatures


def test_a_signature_of_the_pipelines_own_isnt_replaced():
    class Own(Sentences):
        features = {"words": Feature((2,), "float32")}

        def source(self, phase):
            return framework.ArraySource({"words": np.zeros((4, 2), np.float32)}, np.zeros(4, np.float32))

        def preprocess(self, features):
            return {"sum": tf.reduce_sum(features["words"], axis=1, keepdims=True)}

        @framework.signature({"words": Feature((2,), "float32")})
        def regress(self, inputs):
            return inputs

    pipeline = Own()
    model = framework.build_model(lambda inputs, task: task.logits(inputs["sum"]), pipeline.interface(), pipeline.task)
    with pytest.raises(ValueError, match="declares a signature 'regress' itself"):
        _ = Exporter(model, pipeline, exports=Exports(classify_regress=True)).signatures
