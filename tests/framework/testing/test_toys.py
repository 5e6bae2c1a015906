import numpy as np
import pytest
import sklearn.linear_model

from framework.data.evaluate import eval_dataset
from framework.testing import TOYS, assert_pipeline_conforms, toy_images, toy_sequences, toy_table, toy_values
from framework.training.plan import describe_pipeline, pipeline_from_config


@pytest.mark.parametrize("toy", TOYS)
def test_a_toy_conforms(toy):
    assert_pipeline_conforms(TOYS[toy]())


@pytest.mark.parametrize("toy", TOYS)
def test_a_toy_is_the_same_each_time_and_has_every_split(toy):
    def fingerprints(**settings):
        pipeline = TOYS[toy](**settings)
        return [pipeline.source(phase).fingerprint() for phase in ("train", "validation", "test")]

    assert fingerprints() == fingerprints(num_examples=256, seed=0)
    assert not set(fingerprints()) & set(fingerprints(seed=1))
    small = TOYS[toy](num_examples=64)
    assert sum(small.source(phase).num_examples for phase in ("train", "validation", "test")) == 64


@pytest.mark.parametrize("toy", TOYS)
def test_a_run_on_a_toy_can_be_loaded(toy):
    pipeline = TOYS[toy](num_examples=64)
    config = describe_pipeline(pipeline, None)
    assert config["reloadable"]
    again = pipeline_from_config(config)
    assert again.source("train").fingerprint() == pipeline.source("train").fingerprint()


def matrices(pipeline, phase, one_hot=()):
    """Model inputs as one matrix, and labels."""
    ((inputs, labels),) = eval_dataset(pipeline, phase, batch_size=10_000)
    columns = [
        np.eye(8)[value.numpy()] if name in one_hot else value.numpy().reshape(len(labels), -1)
        for name, value in sorted(inputs.items())
    ]
    return np.concatenate(columns, axis=1), labels.numpy()


@pytest.mark.parametrize(
    ("make", "model", "one_hot", "expected"),
    [
        (toy_table, sklearn.linear_model.LogisticRegression(C=10.0), ("shop", "colour"), 0.9),
        (toy_images, sklearn.linear_model.LogisticRegression(max_iter=1000), (), 0.98),
        (toy_values, sklearn.linear_model.LinearRegression(), (), 0.95),
    ],
)
def test_there_is_something_to_learn(make, model, one_hot, expected):
    pipeline = make().with_statistics()
    model.fit(*matrices(pipeline, "train", one_hot))
    assert model.score(*matrices(pipeline, "test", one_hot)) > expected
    labels = pipeline.source("train").arrays.labels
    assert labels.dtype == np.float32 or np.bincount(labels).min() > 0.25 * len(labels)


def test_the_sequences_toy_is_told_by_its_ends():
    arrays = toy_sequences().source("test").arrays
    steps, length = arrays.features["steps"], arrays.features["length"]
    rises = steps[np.arange(len(steps)), length - 1, 0] > steps[:, 0, 0]
    assert np.mean(rises == arrays.labels) > 0.95
    assert len(set(length.tolist())) > 10
    assert all(not row[end:].any() for row, end in zip(steps, length, strict=True))


def test_the_table_has_what_a_model_may_stumble_over():
    pipeline = toy_table().with_statistics()
    assert {feature.dtype for feature in pipeline.features.values()} == {"float32", "int64", "string"}
    assert {feature.shape for feature in pipeline.interface().values()} == {(), (2,)}
    ((inputs, _),) = eval_dataset(pipeline, "train", batch_size=1000)
    assert set(inputs["shop"].numpy()) == {1, 2, 3, 4}  # 0 is the unknown one
    np.testing.assert_allclose(inputs["height"].numpy().std(), 1.0, rtol=1e-5)
