"""Fixtures for the tests of exports."""

import pytest
from full_export import Full, make


@pytest.fixture(scope="session")
def full(tmp_path_factory: pytest.TempPathFactory) -> Full:
    """A published export with everything."""
    return make(tmp_path_factory.mktemp("full") / "export")
