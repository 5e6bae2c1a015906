"""Scripts called in this process, with flags of their own each time; `run_command` starts one as a person does."""

import importlib
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable, Sequence

import pytest

SCRIPTS = pathlib.Path(__file__).resolve().parents[2] / "scripts"
if str(SCRIPTS) not in sys.path:
    sys.path.append(str(SCRIPTS))  # as `python scripts/train.py` has it; last, so that it hides nothing


def call(script: str, *argv: str) -> int:
    """The exit code of a script's `main`."""
    import command_line
    from absl import flags as absl_flags

    module = importlib.import_module(script)
    flags = command_line.Flags(absl_flags.FlagValues())
    module.define_flags(flags)
    command_line.define_common_flags(flags)
    try:
        arguments = command_line.parse(flags.values, [f"{script}.py", *argv], arguments="[image ...]")
        return command_line.call(module.main, flags.values, arguments)
    except SystemExit as error:
        return int(error.code or 0)


@pytest.fixture
def run_script(capsys) -> Callable[..., tuple[int, str, str]]:
    """Calls a script: `(exit code, standard output, standard error)`."""

    def run(script: str, *argv: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = call(script, *map(str, argv))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def run_command(
    script: str, *argv: object, cwd: pathlib.Path, stdin: str = "", timeout_secs: float = 120
) -> subprocess.CompletedProcess:
    """`python scripts/<script>.py` in a process of its own."""
    command: Sequence[str] = [sys.executable, str(SCRIPTS / f"{script}.py"), *map(str, argv)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}
    return subprocess.run(
        command,
        cwd=cwd,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout_secs,
        env=environment,
        check=False,
    )


@pytest.fixture(scope="session")
def wine_run(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A small finished run on the wine data."""
    run_dir = tmp_path_factory.mktemp("wine") / "run"
    argv = [
        "--model=mlp",
        "--hparam",
        "width=8",
        "--pipeline=wine",
        f"--run_dir={run_dir}",
        "--epochs=3",
        "--verbose=0",
    ]
    assert call("train", *argv, "--learning_rate=0.02", "--batch_size=32") == 0
    return run_dir
