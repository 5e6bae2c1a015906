"""Fixtures for the tests of serving."""

import pathlib

import pytest
from saved_models import save_arithmetic


@pytest.fixture(scope="session")
def arithmetic(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A SavedModel of plain TensorFlow, with all its signatures."""
    return save_arithmetic(tmp_path_factory.mktemp("arithmetic") / "1")


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """One that is loaded quickly: `serving_default` and `root`."""
    return save_arithmetic(tmp_path_factory.mktemp("small") / "1", ["serving_default", "root"])


@pytest.fixture(scope="session")
def offset_by_100(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """`serving_default` with another value of its variable."""
    return save_arithmetic(tmp_path_factory.mktemp("offset") / "1", ["serving_default"], offset=100.0)
