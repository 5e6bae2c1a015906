"""What the tests of one's own models and pipelines need: toy data of the usual forms, and what every one must do.

from framework import testing
from my_package import my_model, my_pipeline

def test_my_model():
    testing.assert_model_conforms(my_model, hparams={"width": 8})

def test_my_pipeline():
    testing.assert_pipeline_conforms(my_pipeline)
"""

from framework.testing.model_checks import assert_model_conforms
from framework.testing.pipeline_checks import assert_pipeline_conforms
from framework.testing.toys import TOYS, toy_images, toy_sequences, toy_table, toy_texts, toy_values

__all__ = [
    "TOYS",
    "assert_model_conforms",
    "assert_pipeline_conforms",
    "toy_images",
    "toy_sequences",
    "toy_table",
    "toy_texts",
    "toy_values",
]
