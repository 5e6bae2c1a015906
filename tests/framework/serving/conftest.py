"""Fixtures for the tests of serving."""

import pathlib

import pytest
from saved_models import save_arithmetic


@pytest.fixture(scope="session")
def arithmetic(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A SavedModel of plain TensorFlow."""
    return save_arithmetic(tmp_path_factory.mktemp("arithmetic") / "1")
