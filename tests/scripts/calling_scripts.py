"""Scripts called in this process, with flags of their own each time, or started as a person does."""

import importlib
import os
import pathlib
import subprocess
import sys

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


def run_command(
    script: str, *argv: object, cwd: pathlib.Path, stdin: str = "", timeout_secs: float = 300
) -> subprocess.CompletedProcess:
    """`python scripts/<script>.py` in a process of its own."""
    command = [sys.executable, str(SCRIPTS / f"{script}.py"), *map(str, argv)]
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
