"""Encoding of columns that tables of files don't have; `tests/framework/pipelines` has the others."""

import numpy as np
import pytest
import tensorflow as tf

from framework.data.sources import Example
from framework.data.statistics import Statistics
from framework.data.tables.columns import Column
from framework.data.tables.encoding import Encoding
from framework.data.tables.scanning import BOOLEAN, NUMERIC
from framework.features import Feature


@pytest.mark.parametrize("shape", [(3,), (2, 2)])
def test_missing_numbers_of_vectors(shape):
    column = Column("v", "v", NUMERIC, Feature(shape, "float32"), 0, False)
    values = np.random.default_rng(0).normal(3.0, 2.0, (20, *shape)).astype(np.float32)
    values[4, 0] = np.nan
    learned = Encoding().learn([Example({"v": values}, np.zeros(20))], [column])
    made = Encoding().encode(column, tf.constant(values), Statistics(learned)).numpy()
    standard = (values - np.nanmean(values, axis=0)) / np.nanstd(values, axis=0)
    expected = np.concatenate([np.nan_to_num(standard), np.isnan(values)], axis=-1)
    np.testing.assert_allclose(made, expected, atol=1e-5)


def test_where_nothing_is_learned_nothing_is_read():
    def batches():
        raise AssertionError("read")
        yield

    assert Encoding().learn(batches(), [Column("b", "b", BOOLEAN, Feature((), "bool"), 0, False)]) == {}
