"""A process that has TensorFlow and nothing of ours, in which exports are tried as a client would.

Starting TensorFlow takes seconds, so one such process is started by this one, kept for the exports that follow, and
shared by whoever exports. Each export is loaded there from scratch. The process dies with this one, leaves by itself
when it isn't needed, and is replaced after some exports, a crash or a timeout.
"""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
import multiprocessing.spawn
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any

import numpy as np
import tensorflow as tf

from framework.export import plain_loader

Arrays = Mapping[str, np.ndarray]

# Memory that TensorFlow doesn't give back; over 150 exports of a small network none was seen.
_MAX_LOADS = 500
_START_SECS = 300.0
_CALL_SECS = 600.0


class FreshProcessError(RuntimeError):
    """The fresh process can't be started, died, or gave no answer in time."""


class RefusedError(RuntimeError):
    """The fresh process couldn't do what it was asked, such as load a SavedModel; the message is TensorFlow's."""


class FreshProcess:
    """The process; one thread at a time has it, for one export.

        with FreshProcess().loaded(directory) as export:
            export.call("serving_default", {"image": images})

    Args:
        modules: With custom operations that exports need.
    """

    def __init__(self, modules: Sequence[str] = ()):
        self._modules = tuple(modules)
        self._lock = threading.RLock()
        self._process: subprocess.Popen | None = None
        self._connection: Any = None
        self._log: IO[bytes] | None = None
        self._ready = False
        self._loads = 0

    @contextlib.contextmanager
    def loaded(self, directory: pathlib.Path) -> Iterator[FreshExport]:
        """Has a SavedModel loaded there as long as the block lasts.

        Raises:
            RefusedError: It can't be loaded.
            FreshProcessError: There is no such process to be had.
        """
        with self._lock:
            if self._loads >= _MAX_LOADS:
                self.stop()
            has_worked = self._loads > 0
            try:
                facts = self._load(directory)
            except FreshProcessError:
                if not has_worked:
                    raise
                # It was idle and left, or somebody ended it meanwhile.
                facts = self._load(directory)
            try:
                yield FreshExport(self, facts)
            finally:
                if self._loads:  # not stopped meanwhile
                    with contextlib.suppress(FreshProcessError, RefusedError):
                        self.ask("unload")

    def _load(self, directory: pathlib.Path) -> dict[str, Any]:
        self.start()
        facts = self.ask("load", str(pathlib.Path(directory).absolute()))
        self._loads += 1
        return facts

    def prepare(self) -> None:
        """Starts the process, so that it is there when it is needed. Waits neither for it nor for whoever has it."""
        if self._lock.acquire(blocking=False):
            try:
                self.start()
            finally:
                self._lock.release()

    def start(self) -> None:
        """Starts the process, where it isn't running; doesn't wait for it."""
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                return
            self.stop()
            ours, theirs = multiprocessing.Pipe()
            self._log = tempfile.TemporaryFile()  # noqa: SIM115  closed by stop()
            program = [_executable(), "-P", plain_loader.__file__, str(theirs.fileno()), str(os.getpid())]
            try:
                self._process = subprocess.Popen(
                    program,
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=self._log,
                    stderr=self._log,
                    env=_environment(),
                )
            except OSError as error:
                ours.close()
                self.stop()
                raise FreshProcessError(self._explain(f"can't be started ({error})")) from error
            finally:
                theirs.close()
            self._connection = ours
            with contextlib.suppress(OSError):  # it died already; the answer that is missing says so
                self._connection.send(sys.path)
                self._connection.send(("begin", (self._modules,)))

    def ask(self, command: str, *arguments: Any) -> Any:
        """What the process answers.

        Raises:
            RefusedError: It couldn't do it.
            FreshProcessError: It isn't there any more, or didn't answer in time.
        """
        with self._lock:
            if not self._ready:
                self._begin()
                self._ready = True
            return self._ask(command, *arguments, timeout_secs=_CALL_SECS)

    def _begin(self) -> None:
        """Waits for what `start` has asked first, for TensorFlow's version."""
        try:
            version = self._receive(_START_SECS)
        except RefusedError as error:
            self.stop()
            raise FreshProcessError(self._explain(f"can't import what it needs ({error})")) from error
        if version != tf.__version__:
            self.stop()
            raise FreshProcessError(self._explain(f"has TensorFlow {version}, this one has {tf.__version__}"))

    def _ask(self, command: str, *arguments: Any, timeout_secs: float) -> Any:
        if self._connection is None:
            raise FreshProcessError("The process that tries exports was stopped.")
        with contextlib.suppress(OSError):  # it is gone; the answer that is missing says so
            self._connection.send((command, arguments))
        return self._receive(timeout_secs)

    def _receive(self, timeout_secs: float) -> Any:
        began = time.monotonic()
        try:
            if not self._connection.poll(timeout_secs):
                self.stop()
                raise FreshProcessError(f"The process that tries exports took longer than {timeout_secs:g} seconds.")
            succeeded, answer = self._connection.recv()
        except (EOFError, OSError) as error:
            raise FreshProcessError(self._last_words(time.monotonic() - began)) from error
        if not succeeded:
            raise RefusedError(answer)
        return answer

    def _last_words(self, seconds: float) -> str:
        """Why it is gone, as far as that can be told; stops it for good."""
        process, log = self._process, self._log
        code = None
        if process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = process.wait(5)
        words = ""
        if log is not None:
            log.seek(0)
            words = log.read().decode(errors="replace").strip()[-2000:]
        self.stop()
        ended = f"was ended by signal {-code}" if code is not None and code < 0 else f"ended with exit code {code}"
        hint = " (signal 9 mostly is the kernel's, out of memory)" if code == -9 else ""
        return self._explain(f"{ended}{hint} after {seconds:.0f} seconds. Its last words: {words or 'none'}")

    def _explain(self, what: str) -> str:
        return (
            f"The process that tries exports {what}. It is started as {_executable()!r}; where that isn't a Python "
            'with TensorFlow, say which one is: multiprocessing.set_executable("/path/to/python").'
        )

    def kill(self) -> None:
        """Ends the process, whoever uses it: they get a `FreshProcessError`, the next one starts another."""
        process = self._process
        if process is not None:
            process.kill()

    def stop(self) -> None:
        """Ends the process of whoever has the lock."""
        process, connection, log = self._process, self._connection, self._log
        self._process = self._connection = self._log = None
        self._ready, self._loads = False, 0
        if process is not None:
            process.kill()
            process.wait()
        if connection is not None:
            connection.close()
        if log is not None:
            log.close()


class FreshExport:
    """A SavedModel in the fresh process.

    Attributes:
        facts: What is to be checked, as `plain_loader.Loaded.describe` says it.
    """

    def __init__(self, process: FreshProcess, facts: dict[str, Any]):
        self._process = process
        self.facts = facts

    def call(self, signature: str, inputs: Arrays) -> dict[str, np.ndarray]:
        """What a signature answers.

        Raises:
            RefusedError: TensorFlow fails on it.
            FreshProcessError: The process is gone.
        """
        return self._process.ask("call", signature, dict(inputs))

    def call_session(self, signature: str, inputs: Arrays) -> dict[str, np.ndarray]:
        """As `call`, through a session of TensorFlow 1."""
        return self._process.ask("call_session", signature, dict(inputs))


def _executable() -> str:
    """This Python; a program that only has one inside tells multiprocessing which one to start."""
    return os.fsdecode(multiprocessing.spawn.get_executable() or "")


def _environment() -> dict[str, str]:
    # A cluster's configuration isn't for it, nor is the memory of a GPU; other people's warnings aren't errors there.
    left_out = ("TF_CONFIG", "PYTHONWARNINGS")
    environment = {name: value for name, value in os.environ.items() if name not in left_out}
    return {"TF_CPP_MIN_LOG_LEVEL": "2", **environment, "CUDA_VISIBLE_DEVICES": "-1"}


_shared: dict[tuple[int, tuple[str, ...]], FreshProcess] = {}
_shared_lock = threading.Lock()


def shared(modules: Sequence[str] = ()) -> FreshProcess:
    """The one process of this process; one that was forked off has its own.

    Args:
        modules: With custom operations that exports need; each set of them has a process of its own.
    """
    with _shared_lock:
        return _shared.setdefault((os.getpid(), tuple(modules)), FreshProcess(modules))


@atexit.register
def _stop_shared() -> None:
    for (owner, _), process in list(_shared.items()):
        if owner == os.getpid():
            process.stop()
