import numpy as np
import pytest
import sklearn.datasets

import framework
from framework import tasks

PHASES = ("train", "validation", "test")


@pytest.fixture(scope="module")
def diabetes():
    return framework.get_pipeline("diabetes")().with_statistics()


def test_statistics_are_those_of_the_training_split(diabetes):
    train = diabetes.source("train").arrays
    for name in diabetes.features:
        values = train.features[name].astype(np.float64)
        assert diabetes.statistics[f"{name}/mean"] == pytest.approx(values.mean(), rel=1e-6)
        assert diabetes.statistics[f"{name}/deviation"] == pytest.approx(values.std(), rel=1e-5)
    assert diabetes.task.offset == pytest.approx(train.labels.mean(), rel=1e-6)
    assert diabetes.task.scale == pytest.approx(train.labels.std(), rel=1e-5)
    everything = sklearn.datasets.load_diabetes(scaled=False)
    assert diabetes.task.offset != pytest.approx(everything.target.mean(), rel=1e-6)


def test_before_learning_the_target_is_as_it_is():
    assert framework.get_pipeline("diabetes")().task == tasks.Regression()


def test_splits_are_everything_once(diabetes):
    data = sklearn.datasets.load_diabetes(scaled=False)
    assert [diabetes.source(phase).num_examples for phase in PHASES] == [309, 67, 66]
    rows = np.concatenate([np.stack(list(diabetes.source(phase).arrays.features.values()), 1) for phase in PHASES])
    labels = np.concatenate([diabetes.source(phase).arrays.labels for phase in PHASES])
    order, expected = np.lexsort(rows.T), np.lexsort(data.data.astype(np.float32).T)
    np.testing.assert_array_equal(rows[order], data.data.astype(np.float32)[expected])
    np.testing.assert_array_equal(labels[order], data.target[expected].astype(np.float32))
