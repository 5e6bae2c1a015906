import numpy as np
import pytest
import tensorflow as tf

from framework.data import random
from framework.data.augment.scalar_draws import salt_of, uniform


@pytest.mark.parametrize("salts", [("random_affine", ""), ("x", 3, -1), (7,)])
@pytest.mark.parametrize("count", [1, 2, 7, 40])
def test_the_numbers_are_those_of_the_batched_generator(salts, count):
    seeds = tf.concat(
        [
            random.example_seeds(-5, 3, tf.range(40)),
            tf.constant([[-1, 2**62], [2**63 - 1, 0], [-(2**63), -1]], tf.int64),
        ],
        axis=0,
    )
    expected = random.uniform(random.fold_in(seeds, *salts), [count]).numpy()
    salt = salt_of(*salts)
    got = np.array([uniform(seed, salt, count) for seed in seeds.numpy().tolist()])
    np.testing.assert_array_equal(got, expected.astype(np.float64))
