"""Work that doesn't hold training up."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable


class BackgroundWriter:
    """Runs one job at a time in a thread; its errors surface at the next call.

    Args:
        name: Of the thread.
    """

    def __init__(self, name: str = "checkpoint"):
        self._name = name
        self._executor: concurrent.futures.ThreadPoolExecutor | None = None
        self._job: concurrent.futures.Future | None = None

    @property
    def busy(self) -> bool:
        """Whether a job is still running."""
        return self._job is not None and not self._job.done()

    def submit(self, work: Callable[[], None]) -> None:
        """Starts `work` when the job before it is done.

        Raises:
            Exception: What the job before it raised.
        """
        self.wait()
        if self._executor is None:
            self._executor = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix=self._name)
        self._job = self._executor.submit(work)

    def check(self) -> None:
        """Raises what a finished job raised, once."""
        if self._job is not None and self._job.done():
            self.wait()

    def wait(self) -> None:
        """Waits for the running job.

        Raises:
            Exception: What it raised.
        """
        job, self._job = self._job, None
        if job is not None:
            job.result()

    def close(self) -> None:
        """Waits for the running job and ends the thread."""
        try:
            self.wait()
        finally:
            if self._executor is not None:
                self._executor.shutdown()
                self._executor = None
