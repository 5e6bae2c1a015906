"""Every registered pipeline, by being registered, goes through what training, evaluation and serving ask of it.

A pipeline for a form of data needs some: `forms/<name>.py` makes it, and returns the options that read it.
"""

import pytest
from made_data import options_for

import framework
from framework.testing import assert_pipeline_conforms
from framework.training.plan import resolve_pipeline


@pytest.mark.parametrize("name", framework.list_pipelines())
def test_pipeline_conforms(name, tmp_path):
    assert_pipeline_conforms(resolve_pipeline(name, options_for(name, tmp_path)))
