"""One directory, one configuration, one writer."""

from __future__ import annotations

import json
import os
import pathlib
import socket
from collections.abc import Iterator, Mapping
from typing import Any

import filelock

from framework import files
from framework.data.profile import PROFILE

CONFIG = "config.json"
RESULT = "result.json"
STATISTICS = "statistics.npz"
BAD_EXAMPLES = "bad_examples.json"
HISTORY = "history.csv"
_LOCK = ".lock"
_OWNER = ".owner"
# Not compared: what may differ between the process that began a run and the one that goes on.
_FREE = ("epochs", "environment")
# Nor is this setting of the exports: whose export can't be proven may have to change it to go on.
_FREE_OF_EXPORTS = "proof"


class RunInUseError(RuntimeError):
    """Another process is writing to the run directory."""


class ConfigurationError(ValueError):
    """The run directory was made by a different configuration."""


class RunDirectory:
    """The paths of a run and the lock of its one writer.

    Args:
        path: Of the directory; made if missing when the lock is taken.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = pathlib.Path(path).expanduser()
        self._lock = filelock.FileLock(self.path / _LOCK, timeout=0)

    @property
    def checkpoints(self) -> pathlib.Path:
        return self.path / "checkpoints"

    @property
    def export(self) -> pathlib.Path:
        return self.path / "export"

    @property
    def logs(self) -> pathlib.Path:
        return self.path / "logs"

    @property
    def report(self) -> pathlib.Path:
        return self.path / "report"

    @property
    def history(self) -> pathlib.Path:
        return self.path / HISTORY

    @property
    def statistics(self) -> pathlib.Path:
        return self.path / STATISTICS

    @property
    def bad_examples(self) -> pathlib.Path:
        return self.path / BAD_EXAMPLES

    @property
    def profile(self) -> pathlib.Path:
        return self.path / PROFILE

    @property
    def config(self) -> dict[str, Any] | None:
        """What the run was started with, or `None` for a new directory."""
        path = self.path / CONFIG
        return files.read_json(path) if path.exists() else None

    @property
    def result(self) -> dict[str, Any] | None:
        """How the run ended, or `None` while it hasn't."""
        path = self.path / RESULT
        return files.read_json(path) if path.exists() else None

    def write_config(self, config: Mapping[str, Any]) -> None:
        files.write_json(self.path / CONFIG, config)

    def write_result(self, result: Mapping[str, Any]) -> None:
        files.write_json(self.path / RESULT, result)

    def __enter__(self) -> RunDirectory:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except filelock.Timeout as error:
            owner = self._owner()
            raise RunInUseError(
                f"{self.path} is being written by {owner}. Wait for it, stop it, or choose another run_dir."
            ) from error
        except OSError as error:
            raise type(error)(
                error.errno, f"run_dir {str(self.path)!r} can't be written ({error.strerror}). Choose another one"
            ) from error
        (self.path / _OWNER).write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")
        files.sweep(self.path)
        return self

    def __exit__(self, *exception: Any) -> None:
        (self.path / _OWNER).unlink(missing_ok=True)
        self._lock.release()

    def _owner(self) -> str:
        try:
            return (self.path / _OWNER).read_text(encoding="utf-8") or "another process"
        except OSError:
            return "another process"

    def check_config(self, config: Mapping[str, Any]) -> None:
        """Compares a configuration with the one that the directory was made by.

        Raises:
            ConfigurationError: They differ in more than the number of epochs; the message has every difference.
        """
        previous = self.config
        if previous is None:
            return
        found = list(differences(_compared(previous), _compared(json.loads(json.dumps(config)))))
        if found:
            listed = "\n".join(f"  {name}: was {old}, now {new}" for name, old, new in found)
            raise ConfigurationError(
                f"{self.path} holds a run with another configuration:\n{listed}\n"
                "Use another run_dir for the new configuration, or delete this one to start over."
            )


def differences(old: Any, new: Any, name: str = "") -> Iterator[tuple[str, str, str]]:
    """(dotted name, old, new) of every value that isn't the same in two JSON documents."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*old, *new]):
            yield from differences(old.get(key, _MISSING), new.get(key, _MISSING), f"{name}.{key}" if name else key)
    elif old != new:
        yield name, _short(old), _short(new)


_MISSING = "nothing"


def _compared(config: Mapping[str, Any]) -> dict[str, Any]:
    compared = {name: value for name, value in config.items() if name not in _FREE}
    training = compared.get("training", {})
    if "exports" in training:
        exports = {name: value for name, value in training["exports"].items() if name != _FREE_OF_EXPORTS}
        compared["training"] = {**training, "exports": exports}
    return compared


def _short(value: Any) -> str:
    text = value if value is _MISSING else json.dumps(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
