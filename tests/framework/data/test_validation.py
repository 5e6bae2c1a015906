import numpy as np
import pytest
import tensorflow as tf

from framework import tasks
from framework.data.pipeline import Pipeline
from framework.data.sources import ArraySource, DatasetSource
from framework.data.validation import check_batch_size, check_pipeline
from framework.features import Feature

X = np.zeros((6, 2), np.float32)
IDS = np.arange(6) % 3


class Points(Pipeline):
    features = {"x": Feature((2,), "float32")}
    task = tasks.Classification(3)

    def __init__(self, train, validation=None, test=None, **declared):
        self.sources = {"train": train, "validation": validation, "test": test}
        vars(self).update(declared)

    def source(self, phase):
        return self.sources[phase]


def arrays(labels=IDS, weights=None, **features):
    return ArraySource(features or {"x": X}, labels, weights)


def stream(labels=IDS, x=X):
    return DatasetSource(tf.data.Dataset.from_tensor_slices(({"x": x}, labels)))


@pytest.mark.parametrize("make", [arrays, stream])
def test_what_fits_passes(make):
    check_pipeline(Points(make()))
    check_pipeline(Points(make(), make(), make()))
    varying = {"features": {"x": Feature((None,), "float32")}}
    check_pipeline(Points(make(), **varying))


@pytest.mark.parametrize("features", [None, ["x"], {"x": "float32"}, {"x": (2,)}])
def test_features_are_a_dict_of_features(features):
    with pytest.raises(TypeError, match=r"Points\.features must be a dict of names to Features, got "):
        check_pipeline(Points(arrays(), features=features))


def test_features_are_declared():
    class Undeclared(Pipeline):
        task = tasks.Regression()

    with pytest.raises(TypeError, match=r"Undeclared\.features must be a dict of names to Features, got None"):
        check_pipeline(Undeclared())
    with pytest.raises(ValueError, match=r"Points\.features is empty"):
        check_pipeline(Points(arrays(), features={}))


@pytest.mark.parametrize("name", ["od280/od315", "malic acid"])
def test_names_are_those_of_signature_arguments(name):
    with pytest.raises(ValueError, match=rf"Points\.features has names that a signature can't have: '{name}'"):
        check_pipeline(Points(arrays(), features={name: Feature()}))


@pytest.mark.parametrize("task", [None, "classification", tasks.Classification])
def test_a_task_is_needed(task):
    with pytest.raises(TypeError, match=r"Points must define a task, such as task = framework\.tasks\.Classification"):
        check_pipeline(Points(arrays(), task=task))


def test_a_task_may_use_what_is_learned():
    class Learned(Points):
        task = property(lambda self: tasks.Regression(offset=float(self.statistics.get("mean", 0.0))))

        def learn(self, train):
            return {"mean": np.mean([example.labels.numpy().mean() for example in train])}

    pipeline = Learned(arrays(np.arange(6.0)))
    check_pipeline(pipeline)
    assert pipeline.with_statistics().task.offset == 2.5


def test_a_training_split_is_needed():
    with pytest.raises(ValueError, match="The pipeline Points has no train split"):
        check_pipeline(Points(None))


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (
            {"xx": X},
            r"\('train'\) has no feature 'x'\. Did you mean 'xx'\? It has \['xx'\]; the pipeline declares \['x'\]",
        ),
        (
            {"x": X.astype(np.float64)},
            r"'x' of Points\.source\('train'\) has dtype float64, the pipeline declares float32",
        ),
        ({"x": X[:, :1]}, r"'x' of Points\.source\('train'\) has shape \(1,\), the pipeline declares \(2,\)"),
        ({"x": X, "y": X}, r"has features that the pipeline doesn't declare: \['y'\]"),
    ],
)
def test_features_are_what_was_declared(features, message):
    with pytest.raises(ValueError, match=message):
        check_pipeline(Points(arrays(**features)))


@pytest.mark.parametrize("phase", ["train", "validation", "test"])
@pytest.mark.parametrize("make", [arrays, stream])
def test_labels_of_every_split_are_checked(phase, make):
    sources = {"train": make(), phase: make(IDS + 1)}
    with pytest.raises(ValueError, match=rf"out of range in Points\.source\('{phase}'\): example 2 has label 3"):
        check_pipeline(Points(**sources))


def test_features_of_every_split_are_checked():
    with pytest.raises(ValueError, match=r"Points\.source\('test'\) has dtype float64"):
        check_pipeline(Points(arrays(), test=stream(x=X.astype(np.float64))))


def test_labels_of_heads_are_checked_in_streams_too():
    heads = tasks.Heads({"a": tasks.Classification(3), "b": tasks.Regression()})
    good = {"a": IDS, "b": np.zeros(6, np.float32)}
    check_pipeline(Points(stream(good), task=heads))
    with pytest.raises(ValueError, match="head 'b' is nan"):
        check_pipeline(Points(stream(good | {"b": np.full(6, np.nan, np.float32)}), task=heads))


def test_a_stream_is_read_at_its_beginning_alone():
    def examples():
        for index in range(300):
            yield {"x": X[0]}, 0 if index < 256 else 99

    signature = ({"x": tf.TensorSpec((2,), tf.float32)}, tf.TensorSpec((), tf.int64))
    dataset = tf.data.Dataset.from_generator(examples, output_signature=signature)
    check_pipeline(Points(DatasetSource(dataset, num_examples=300)))
    with pytest.raises(ValueError, match="example 0 has label 99"):
        check_pipeline(Points(DatasetSource(dataset.skip(256), num_examples=44)))


@pytest.mark.parametrize("weights", [-np.ones(6), np.full(6, np.nan), np.ones((6, 2))])
def test_weights_are_checked(weights):
    check_pipeline(Points(arrays(weights=np.ones(6))))
    with pytest.raises(ValueError, match=r"Weights of Points\.source\('train'\) must be non-negative \[examples\]"):
        check_pipeline(Points(arrays(weights=weights)))


@pytest.mark.parametrize(
    ("batch_size", "error", "message"),
    [
        (0, ValueError, "batch_size must be at least 1, got 0"),
        (-3, ValueError, "at least 1, got -3"),
        (
            11,
            ValueError,
            r"batch_size 11 is larger than the training split \(10 examples\)\. Use batch_size=10 or less",
        ),
        (2.0, TypeError, r"batch_size must be an integer, got 2\.0"),
        (True, TypeError, "must be an integer, got True"),
        ("4", TypeError, "must be an integer, got '4'"),
    ],
)
def test_a_batch_can_be_filled(batch_size, error, message):
    check_batch_size(10, 10)
    check_batch_size(np.int64(1), 10)
    with pytest.raises(error, match=message):
        check_batch_size(batch_size, 10)
