"""What to do when somebody wants the process to end: finish the step, save, leave."""

from __future__ import annotations

import signal
import threading
from typing import Any

# What a shell reports for a process that the signal ended; a scheduler that sees one of these may start it again.
EXIT_CODES = {signal.SIGTERM: 128 + signal.SIGTERM, signal.SIGINT: 128 + signal.SIGINT}


class Preempted(SystemExit):
    """The run was asked to end and its state is saved; the same call goes on with it.

    As a `SystemExit` it ends a script with the code 143 after SIGTERM and 130 after SIGINT.

    Attributes:
        code: The exit code.
    """


class Signals:
    """Notes SIGTERM and SIGINT instead of dying of them. A second SIGINT interrupts at once.

    Does nothing outside of the main thread, where Python has no signal handlers.

    Attributes:
        received: The signal that arrived, or `None`.
    """

    def __init__(self):
        self.received: signal.Signals | None = None
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            for number in EXIT_CODES:
                self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exception: Any) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()

    def _note(self, number: int, frame: Any) -> None:
        if self.received == signal.SIGINT and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = signal.Signals(number)
