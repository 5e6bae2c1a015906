"""Which versions of a model are served, as TensorFlow Serving does it.

A policy chooses among what lies in the directory, which is looked at again and again. A new version is loaded and warm
before an old one goes, and that goes after its last request.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import gc
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from absl import logging

from framework.serving.definitions import signature_definitions
from framework.serving.locating import SAVED_MODEL, version_directories
from framework.serving.predictor import Predictor
from framework.serving.rest.errors import RequestError
from framework.serving.rest.paths import Target
from framework.serving.server.warmup import warm_up

START, LOADING, AVAILABLE, UNLOADING, END = "START", "LOADING", "AVAILABLE", "UNLOADING", "END"
_NOT_FOUND = 404
_REMEMBERED = 100  # versions that have ended
_FIRST_RETRY_SECS, _LAST_RETRY_SECS = 1.0, 60.0


@dataclasses.dataclass(frozen=True)
class VersionPolicy:
    """Which of the versions that are there are served.

    Attributes:
        latest: How many of the newest; `None` for all of them.
        specific: These and no others, whatever `latest` says.

    Raises:
        ValueError: `latest` isn't positive.
    """

    latest: int | None = 1
    specific: tuple[int, ...] = ()

    def __post_init__(self):
        if self.latest is not None and self.latest < 1:
            raise ValueError(f"At least one version must be served, got latest={self.latest}.")

    @classmethod
    def parse(cls, text: str) -> VersionPolicy:
        """From `latest`, `latest:2`, `all` or `3,5`.

        Raises:
            ValueError: It is none of these.
        """
        word, _, number = text.partition(":")
        if word == "latest" and (number.isdecimal() or text == "latest"):
            return cls(latest=int(number or 1))
        if text == "all":
            return cls(latest=None)
        numbers = [part.strip() for part in text.split(",")]
        if not all(part.isdecimal() for part in numbers):
            raise ValueError(f"Versions are latest, latest:2, all, or numbers such as 3,5. Got {text!r}.")
        return cls(specific=tuple(map(int, numbers)))

    def wanted(self, versions: Iterable[int]) -> list[int]:
        """The versions to serve of those that are there, ascending."""
        versions = sorted(versions)
        if self.specific:
            return [version for version in versions if version in self.specific]
        return versions if self.latest is None else versions[-self.latest :]


class ServedVersion:
    """One version of a model, from loading to unloading.

    Args:
        number: The version.
        path: Its SavedModel.

    Attributes:
        state: As in TensorFlow Serving's status: `START`, `LOADING`, `AVAILABLE`, `UNLOADING`, `END`.
        code: Of TensorFlow's status codes, why it couldn't be loaded; `OK` if it isn't so.
        message: The reason.
        definitions: `{name: SignatureDef}` while it is available or unloading.
        attached: What the application keeps for this version, gone with it.
    """

    def __init__(self, number: int, path: pathlib.Path):
        self.number = number
        self.path = path
        self.state = START
        self.code, self.message = "OK", ""
        self.definitions: Mapping[str, Any] = {}
        self.attached: dict[str, Any] = {}
        self.users = 0
        self._predictor: Predictor | None = None

    @property
    def predictor(self) -> Predictor:
        """The loaded version.

        Raises:
            RuntimeError: It isn't loaded. Never within `ServedModel.using`.
        """
        if self._predictor is None:
            raise RuntimeError(f"Version {self.number} in {self.path} isn't loaded; its state is {self.state}.")
        return self._predictor

    def become_available(self, predictor: Predictor, definitions: Mapping[str, Any]) -> None:
        """It is loaded and warm."""
        self._predictor, self.definitions, self.state = predictor, definitions, AVAILABLE

    def end(self, error: Exception | None = None) -> None:
        """It couldn't be loaded, or nobody needs it any more."""
        self._predictor, self.definitions, self.state = None, {}, END
        self.attached.clear()
        if error is not None:  # in words: what was loaded so far would live on in its traceback
            self.code, self.message = _code(error), str(error)

    def status(self) -> tuple[int, str, str, str]:
        """`(version, state, error code, error message)`."""
        return self.number, self.state, self.code, self.message


class ServedModel:
    """A model's versions. Belongs to one event loop.

    Args:
        name: What clients call it.
        base: The directory of versions; or a SavedModel, which is then the only version, under its own number or 1.
        policy: Which versions are served.
        labels: `{label: version}`, other names for versions.
        batch_size: The largest number of examples in one call of TensorFlow.

    Raises:
        ValueError: The name can't be part of a URL.
    """

    def __init__(
        self,
        name: str,
        base: str | os.PathLike,
        *,
        policy: VersionPolicy | None = None,
        labels: Mapping[str, int] | None = None,
        batch_size: int = 64,
    ):
        if not name:
            raise ValueError("A model needs a name that clients can ask for.")
        self.name = name
        self.base = pathlib.Path(base).expanduser()
        self.policy = policy or VersionPolicy()
        self.labels = dict(labels or {})
        self.batch_size = batch_size
        self._versions: dict[int, ServedVersion] = {}
        self._retries: dict[int, tuple[float, float]] = {}
        self._complaint = ""
        # One at a time: loading takes the memory of a whole version more.
        self._loader = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix=f"load-{name}")

    @property
    def is_available(self) -> bool:
        """Whether any version answers."""
        return any(version.state == AVAILABLE for version in self._versions.values())

    @property
    def available(self) -> list[int]:
        """The versions that answer, ascending."""
        return sorted(number for number, version in self._versions.items() if version.state == AVAILABLE)

    @contextlib.contextmanager
    def using(self, target: Target) -> Iterator[ServedVersion]:
        """The version that a request is for; it stays in memory until the block ends.

        Raises:
            RequestError: (404) It isn't served; (400) there is no such label.
        """
        number = self._resolve(target)
        number = max(self.available, default=None) if number is None else number
        version = self._versions.get(number) if number is not None else None
        if version is None or version.state != AVAILABLE:
            asked = target if target.label is None else dataclasses.replace(target, version=number)
            raise RequestError(f"Servable not found for request: {asked}", _NOT_FOUND)
        version.users += 1
        try:
            yield version
        finally:
            version.users -= 1
            if version.state == UNLOADING and not version.users:
                self._release(version)

    def statuses(self, target: Target) -> list[tuple[int, str, str, str]]:
        """`(version, state, error code, error message)` of the version that is asked for, or of all, newest first.

        Raises:
            RequestError: (404) There is no such version; (400) there is no such label.
        """
        number = self._resolve(target)
        if number is not None:
            if number not in self._versions:
                raise RequestError(f"Could not find version {number} of model {self.name}", _NOT_FOUND)
            return [self._versions[number].status()]
        if not self._versions:
            raise RequestError(f"Could not find any versions of model {self.name}", _NOT_FOUND)
        return [self._versions[number].status() for number in sorted(self._versions, reverse=True)]

    async def poll(self) -> None:
        """Looks at the directory; loads what is new, and lets go of what isn't wanted any more.

        A version that can't be loaded is tried again, after longer and longer pauses: it may still be being copied.
        """
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(self._loader, _find, self.base)
        except OSError as error:  # not there yet, or away for a moment; what is in memory answers meanwhile
            if str(error) != self._complaint:
                logging.error("%s can't be read: %s", self.base, error)
            self._complaint = str(error)
            return
        self._complaint = ""
        wanted = self.policy.wanted(found)
        for number in wanted:
            if self._is_due(number, loop.time()):
                await self._load(number, found[number], loop)
        unwanted = [self._versions[number] for number in self.available if number not in wanted]
        # The old one answers as long as no wanted one does.
        if unwanted and (not wanted or any(number in wanted for number in self.available)):
            for version in unwanted:
                self._retire(version)

    def close(self) -> None:
        """Lets go of everything."""
        for number in self.available:
            self._retire(self._versions[number])
        self._loader.shutdown(wait=False, cancel_futures=True)

    def _resolve(self, target: Target) -> int | None:
        if target.label is None:
            return target.version
        if target.label not in self.labels:
            raise RequestError(f"Unrecognized servable version label: {target.label}")
        return self.labels[target.label]

    def _is_due(self, number: int, now: float) -> bool:
        """Whether a version isn't there and may be loaded now."""
        version = self._versions.get(number)
        return version is None or (version.state == END and self._retries.get(number, (0.0, 0.0))[0] <= now)

    async def _load(self, number: int, path: pathlib.Path, loop: asyncio.AbstractEventLoop) -> None:
        version = self._versions[number] = ServedVersion(number, path)
        version.state = LOADING
        try:
            loaded = await loop.run_in_executor(self._loader, _load, path, self.batch_size)
        except Exception as error:  # whatever is wrong with it, the others go on answering
            version.end(error)
        else:
            version.become_available(*loaded)
            self._retries.pop(number, None)
            logging.info("Version %d of %s is available.", number, self.name)
            return
        pause = min(2 * self._retries.get(number, (0.0, _FIRST_RETRY_SECS / 2))[1], _LAST_RETRY_SECS)
        self._retries[number] = (loop.time() + pause, pause)
        logging.error("Version %d of %s can't be loaded: %s", number, self.name, version.message)
        self._collect()

    def _retire(self, version: ServedVersion) -> None:
        version.state = UNLOADING
        logging.info("Version %d of %s is on its way out.", version.number, self.name)
        if not version.users:
            self._release(version)

    def _release(self, version: ServedVersion) -> None:
        version.end()
        ended = [number for number, other in self._versions.items() if other.state == END]
        for number in sorted(ended)[:-_REMEMBERED]:
            del self._versions[number]
        self._collect()

    def _collect(self) -> None:
        """Frees what was loaded: a SavedModel is full of reference cycles."""
        with contextlib.suppress(RuntimeError):  # the loader is shut down: the process ends anyway
            self._loader.submit(gc.collect)


def _find(base: pathlib.Path) -> dict[int, pathlib.Path]:
    if (base / SAVED_MODEL).is_file():
        return {int(base.name) if base.name.isdecimal() else 1: base}
    os.stat(base)  # an empty directory has no versions; one that isn't there is an error
    return version_directories(base)


def _load(path: pathlib.Path, batch_size: int) -> tuple[Predictor, Mapping[str, Any]]:
    """A version that has answered once, in a thread."""
    definitions = signature_definitions(path)
    predictor = Predictor(path, batch_size=batch_size, short_lived=True)
    warm_up(predictor)
    return predictor, definitions


def _code(error: Exception) -> str:
    """The name of a status code of TensorFlow for an error of Python."""
    if isinstance(error, FileNotFoundError):
        return "NOT_FOUND"
    return "INVALID_ARGUMENT" if isinstance(error, ValueError) else "UNKNOWN"
