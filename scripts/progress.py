"""How far a long run is, on one line of standard error, where that is a terminal."""

import sys
import time
from collections.abc import Callable
from typing import IO

_EVERY_SECS = 0.2


class Progress:
    """Counts examples and shows count, rate and share: `12,345 examples, 2,300 a second, 45 %`.

    Args:
        share: What part of all a number of examples is, 0 to 1; `None` where it can't be known.
        file: Where to; nothing is written unless it is a terminal.
        clock: Seconds, for tests.
    """

    def __init__(
        self,
        share: Callable[[int], float] | None = None,
        *,
        file: IO[str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._share = share
        self._file = file or sys.stderr
        self._clock = clock
        self._started = self._shown = clock()
        self._count = 0
        self._width = 0
        self._is_terminal = self._file.isatty()

    def add(self, count: int) -> None:
        """Examples that are done; shows at most five times a second."""
        self._count += count
        if self._is_terminal and self._clock() - self._shown >= _EVERY_SECS:
            self._shown = self._clock()
            self._show()

    def close(self) -> None:
        """Leaves the last count on the terminal, if there ever was one."""
        if self._width:
            self._show()
            print(file=self._file, flush=True)

    def _show(self) -> None:
        secs = max(self._clock() - self._started, 1e-9)
        line = f"{self._count:,} examples, {self._count / secs:,.0f} a second"
        if self._share is not None:
            line += f", {self._share(self._count):.0%}"
        self._width = max(self._width, len(line))  # so that a shorter line leaves nothing of a longer one
        print(f"\r{line:{self._width}}", end="", file=self._file, flush=True)
