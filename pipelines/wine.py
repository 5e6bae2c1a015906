"""Wines of three growers told by 13 chemical measurements: 178 samples, scikit-learn's copy of the UCI set.

Aeberhard, Coomans and De Vel 1994, "Comparative Analysis of Statistical Pattern Recognition Methods in High
Dimensional Settings".
"""

import functools

import numpy as np

import framework
from framework.data.splits import split_source
from framework.data.statistics import moments
from framework.extras import require

# The order of the columns in scikit-learn's copy.
_NAMES = (
    "alcohol malic_acid ash alcalinity_of_ash magnesium total_phenols flavanoids nonflavanoid_phenols "
    "proanthocyanins color_intensity hue dilution proline"
).split()


@framework.register_pipeline(name="wine")
class Wine(framework.Pipeline):
    """13 measurements, each a float32 feature of its own, standardized with the training split's moments."""

    features = {name: framework.Feature((), "float32") for name in _NAMES}
    task = framework.tasks.Classification(class_names=["class_0", "class_1", "class_2"])

    def source(self, phase):
        return _splits()[phase]

    def learn(self, train):
        return moments(train, _NAMES)

    def preprocess(self, features):
        return {name: self.statistics.standardize(name, value) for name, value in features.items()}


@functools.cache
def _splits():
    data = require("sklearn.datasets", extra="samples", purpose="The wine pipeline").load_wine()
    columns = {name: data.data[:, column].astype(np.float32) for column, name in enumerate(_NAMES)}
    source = framework.ArraySource(columns, data.target.astype(np.int64))
    return split_source(source, {"train": 0.6, "validation": 0.2, "test": 0.2})
