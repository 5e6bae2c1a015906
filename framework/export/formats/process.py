"""Starting the worker, and reading what became of it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import pickle
import signal
import subprocess
import sys
import threading
import time

from framework.export.formats.errors import FormatError, FormatInterrupted
from framework.export.formats.result import FormatResult
from framework.export.formats.worker import ANSWER, JOB, Job

_LOG = "log"
_LAST_LINES = 20
_POLL_SECS = 0.1
_START = "import sys; sys.path[:] = {path!r}; from framework.export.formats import worker; worker.main({work!r})"
ENVIRONMENT = {
    "CUDA_VISIBLE_DEVICES": "-1",  # the memory of a GPU belongs to whoever is training
    "TF_ENABLE_ONEDNN_OPTS": "0",  # would put operations of this processor's into a frozen graph
    "TF_CPP_MIN_LOG_LEVEL": "2",
}


def run_job(
    job: Job, work: pathlib.Path, timeout_secs: float, interrupted: threading.Event | None = None
) -> dict[str, FormatResult | FormatError]:
    """Starts the worker, and again with the formats that are left when a converter has torn it down.

    Args:
        job: What to do.
        work: A directory for it, whose owner removes it.
        timeout_secs: A worker that takes longer is ended.
        interrupted: When it is set, the worker is ended.

    Returns:
        `{format: its result, or why there is none}`.

    Raises:
        FormatInterrupted: It was set.
    """
    answers: dict[str, FormatResult | FormatError] = {}
    waiting = job.names
    while waiting:
        ended, torn_down = _run_worker(
            dataclasses.replace(job, names=waiting), work, timeout_secs, interrupted or threading.Event()
        )
        for name in waiting:
            if (work / ANSWER.format(name)).exists():
                answers[name] = pickle.loads((work / ANSWER.format(name)).read_bytes())
        unanswered = [name for name in waiting if name not in answers]
        # The first of them tore it down. An error of Python's is the worker's own and would only come again.
        failed = unanswered[:1] if torn_down else unanswered
        lines = (work / _LOG).read_text(encoding="utf-8", errors="replace").strip().splitlines()[-_LAST_LINES:]
        for name in failed:
            answers[name] = FormatError(name, "\n".join([f"Converting to {name!r} {ended}. Its last words:", *lines]))
        waiting = tuple(unanswered[len(failed) :])
    return {name: answers[name] for name in job.names}


def _run_worker(job: Job, work: pathlib.Path, timeout_secs: float, interrupted: threading.Event) -> tuple[str, bool]:
    """Runs the worker to its end; returns what became of it, and whether a converter tore it down."""
    (work / JOB).write_bytes(pickle.dumps(job))
    path = [os.path.abspath(folder) for folder in sys.path]  # it starts in another directory
    environment = {name: value for name, value in os.environ.items() if name != "TF_CONFIG"}
    environment |= ENVIRONMENT | {"TMPDIR": str(work)}  # what a converter leaves behind goes with the directory
    with open(work / _LOG, "wb") as log:
        worker = subprocess.Popen(
            [sys.executable, "-X", "faulthandler", "-c", _START.format(path=path, work=str(work))],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=work,
            env=environment,
            start_new_session=True,  # Ctrl-C is its parent's business
        )
        try:
            code = _wait(worker, timeout_secs, interrupted)
        finally:
            if worker.poll() is None:
                os.killpg(worker.pid, signal.SIGKILL)
                worker.wait()
    if code is None:
        return f"took longer than {timeout_secs:g} seconds", True
    return (f"was ended by signal {-code}", True) if code < 0 else (f"ended with exit code {code}", False)


def _wait(worker: subprocess.Popen, timeout_secs: float, interrupted: threading.Event) -> int | None:
    """The worker's exit code, or `None` when it takes too long.

    Raises:
        FormatInterrupted: It isn't to be waited for any more.
    """
    deadline = time.monotonic() + timeout_secs
    while time.monotonic() < deadline:
        if interrupted.is_set():
            raise FormatInterrupted("Converting was ended on purpose.")
        with contextlib.suppress(subprocess.TimeoutExpired):
            return worker.wait(_POLL_SECS)
    return None
