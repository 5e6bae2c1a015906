import numpy as np
import pytest
import sklearn.datasets

import framework

PHASES = ("train", "validation", "test")


@pytest.fixture(scope="module")
def wine():
    return framework.get_pipeline("wine")().with_statistics()


def test_statistics_are_those_of_the_training_split(wine):
    everything = sklearn.datasets.load_wine().data
    for column, name in enumerate(wine.features):
        train = wine.source("train").arrays.features[name].astype(np.float64)
        assert wine.statistics[f"{name}/mean"] == pytest.approx(train.mean(), rel=1e-6)
        assert wine.statistics[f"{name}/deviation"] == pytest.approx(train.std(), rel=1e-5)
        assert wine.statistics[f"{name}/mean"] != pytest.approx(everything[:, column].mean(), rel=1e-6)


def test_columns_are_scikit_learn_s(wine):
    data = sklearn.datasets.load_wine()
    # Its names have a slash and other underscores, which no signature can have.
    assert [name.split("/")[0] for name in data.feature_names][:4] == list(wine.features)[:4]
    rows = np.concatenate([np.stack(list(wine.source(phase).arrays.features.values()), 1) for phase in PHASES])
    labels = np.concatenate([wine.source(phase).arrays.labels for phase in PHASES])
    order, expected = np.lexsort(rows.T), np.lexsort(data.data.astype(np.float32).T)
    np.testing.assert_array_equal(rows[order], data.data.astype(np.float32)[expected])
    np.testing.assert_array_equal(labels[order], data.target[expected])


def test_splits_are_stratified(wine):
    counts = np.stack([np.bincount(wine.source(phase).arrays.labels) for phase in PHASES])
    assert np.abs(counts - counts.sum(0) * np.array([[0.6], [0.2], [0.2]])).max() <= 1.0
