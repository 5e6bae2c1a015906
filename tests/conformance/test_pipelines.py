"""Every registered pipeline, by being registered, goes through what training, evaluation and serving ask of it."""

import pytest

import framework
from framework.testing import assert_pipeline_conforms


@pytest.mark.parametrize("name", framework.list_pipelines())
def test_pipeline_conforms(name):
    assert_pipeline_conforms(name)
