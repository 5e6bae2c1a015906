"""What the tests of one's own models and pipelines need: toy data of the usual forms, and checks by name.

from framework import testing

def test_my_model_learns():
    assert testing.fit_toy(my_model, testing.toy_images()) < 0.5
"""

from framework.testing.checks import assert_model_conforms, assert_pipeline_conforms
from framework.testing.toys import TOYS, toy_images, toy_table, toy_values

__all__ = [
    "TOYS",
    "assert_model_conforms",
    "assert_pipeline_conforms",
    "toy_images",
    "toy_table",
    "toy_values",
]
