"""Disease progression after a year from ten baseline measurements: 442 patients, scikit-learn's copy.

Efron, Hastie, Johnstone and Tibshirani 2004, "Least Angle Regression", section 1.
"""

import functools

import numpy as np

import framework
from framework.data.splits import split_source
from framework.data.statistics import moments
from framework.extras import require

_NAMES = "age sex bmi blood_pressure tc ldl hdl tch ltg glucose".split()


@framework.register_pipeline(name="diabetes")
class Diabetes(framework.Pipeline):
    """Ten measurements in their own units, standardized with the training split's moments; the target is 25..346."""

    features = {name: framework.Feature((), "float32") for name in _NAMES}

    @property
    def task(self):
        offset, scale = self.statistics.get("target", (0.0, 1.0))
        return framework.tasks.Regression(offset=float(offset), scale=float(scale))

    def source(self, phase):
        return _splits()[phase]

    def learn(self, train):
        targets = np.concatenate([example.labels for example in train.as_numpy_iterator()])
        return {**moments(train, _NAMES), "target": np.asarray([targets.mean(), targets.std()], np.float32)}

    def preprocess(self, features):
        return {name: self.statistics.standardize(name, value) for name, value in features.items()}


@functools.cache
def _splits():
    datasets = require("sklearn.datasets", extra="samples", purpose="The diabetes pipeline")
    data = datasets.load_diabetes(scaled=False)
    columns = {name: data.data[:, column].astype(np.float32) for column, name in enumerate(_NAMES)}
    source = framework.ArraySource(columns, data.target.astype(np.float32))
    return split_source(source, {"train": 0.7, "validation": 0.15, "test": 0.15})
