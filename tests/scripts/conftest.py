"""Fixtures for the scripts' tests."""

import pathlib
from collections.abc import Callable, Iterator

import pytest
from absl import logging
from calling_scripts import call


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """A script says how much its process logs; other tests look at what is logged."""
    verbosity = logging.get_verbosity()
    yield
    logging.set_verbosity(verbosity)


@pytest.fixture
def run_script(capsys) -> Callable[..., tuple[int, str, str]]:
    """Calls a script: `(exit code, standard output, standard error)`."""

    def run(script: str, *argv: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = call(script, *map(str, argv))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture(scope="session")
def wine_run(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A small finished run on the wine data."""
    run_dir = tmp_path_factory.mktemp("wine") / "run"
    argv = f"--model=mlp --hparam width=8 --pipeline=wine --run_dir={run_dir} --epochs=2 --verbose=0".split()
    assert call("train", *argv, "--learning_rate=0.02", "--batch_size=32") == 0
    return run_dir
