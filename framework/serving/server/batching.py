"""Micro-batches: requests that wait at the same time become one call of TensorFlow."""

from __future__ import annotations

import asyncio
import collections
import concurrent.futures
import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from framework.serving.signatures import Arrays


@dataclasses.dataclass(frozen=True)
class Batching:
    """How requests are joined.

    Attributes:
        max_size: Examples of a joined call; a request with more goes alone. 1 joins nothing.
        max_delay_secs: How long the first request waits for others, and only while there are others about: a lone
            client never waits.
        in_flight: Joined calls at the same time, for each signature.

    Raises:
        ValueError: A number is out of range.
    """

    max_size: int = 64
    max_delay_secs: float = 0.002
    in_flight: int = 2

    def __post_init__(self):
        if self.max_size < 1 or self.in_flight < 1 or not 0 <= self.max_delay_secs < 60:
            raise ValueError(
                "Batching needs max_size and in_flight of at least 1 and max_delay_secs from 0 to below 60, got "
                f"{self}."
            )


@dataclasses.dataclass(eq=False)
class _Request:
    arrays: Mapping[str, np.ndarray]
    size: int
    arrived: float
    answer: asyncio.Future[Arrays]

    @property
    def key(self) -> tuple:
        """Requests with the same key can be joined along the first axis."""
        return tuple((name, array.shape[1:]) for name, array in self.arrays.items())


class Batcher:
    """The queue before one signature. Belongs to one event loop.

    A call that fails with several requests in it is repeated with each alone, so that none suffers for another.

    Args:
        run: Answers arrays; called by threads, several at a time.
        executor: The threads.
        batching: Sizes and delays.
        on_batch: Told the number of examples of each call.
    """

    def __init__(
        self,
        run: Callable[[Mapping[str, np.ndarray]], Arrays],
        executor: concurrent.futures.Executor,
        batching: Batching,
        on_batch: Callable[[int], None] = lambda size: None,
    ):
        self._run = run
        self._executor = executor
        self._batching = batching
        self._on_batch = on_batch
        self._waiting: collections.deque[_Request] = collections.deque()
        self._waiting_size = 0
        self._running = 0
        self._had_company = False
        self._timer: asyncio.TimerHandle | None = None

    async def submit(self, arrays: Mapping[str, np.ndarray], size: int) -> Arrays:
        """The answer to `size` examples, `{name: [size, ...]}`.

        Raises:
            Exception: What `run` raised for these examples alone.
        """
        loop = asyncio.get_running_loop()
        request = _Request(arrays, size, loop.time(), loop.create_future())
        self._waiting.append(request)
        self._waiting_size += size
        self._start(loop)
        try:
            return await request.answer
        finally:
            if request.answer.cancelled():
                self._forget_cancelled()

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Starts what may start now, and comes back when the rest may."""
        while self._waiting and self._running < self._batching.in_flight:
            wait = self._waiting[0].arrived + self._delay() - loop.time()
            if wait > 0:
                if self._timer is None:
                    self._timer = loop.call_later(wait, self._wake, loop)
                return
            batch = self._take()
            if batch:
                self._had_company = len(batch) > 1
                self._running += 1
                self._on_batch(sum(request.size for request in batch))
                running = loop.run_in_executor(self._executor, _answer, self._run, batch)
                running.add_done_callback(functools.partial(self._finish, loop, batch))

    def _delay(self) -> float:
        is_full = self._waiting_size >= self._batching.max_size
        is_alone = not self._had_company and not self._running
        return 0.0 if is_full or is_alone else self._batching.max_delay_secs

    def _wake(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        self._start(loop)

    def _take(self) -> list[_Request]:
        """The request that waits longest and those that can be joined to it; who gave up waiting is left out."""
        self._forget_cancelled()  # whose own task may come to it later
        batch: list[_Request] = []
        rest: collections.deque[_Request] = collections.deque()
        size = 0
        for request in self._waiting:
            if not batch or (request.key == batch[0].key and size + request.size <= self._batching.max_size):
                batch.append(request)
                size += request.size
            else:
                rest.append(request)
        self._waiting = rest
        self._waiting_size -= size
        return batch

    def _forget_cancelled(self) -> None:
        self._waiting = collections.deque(request for request in self._waiting if not request.answer.cancelled())
        self._waiting_size = sum(request.size for request in self._waiting)

    def _finish(
        self, loop: asyncio.AbstractEventLoop, batch: Sequence[_Request], done: asyncio.Future[list[Arrays | Exception]]
    ) -> None:
        self._running -= 1
        for request, answer in zip(batch, done.result(), strict=True):
            if request.answer.done():  # its client gave up
                continue
            if isinstance(answer, Exception):
                request.answer.set_exception(answer)
            else:
                request.answer.set_result(answer)
        self._start(loop)


def _answer(run: Callable[[Mapping[str, np.ndarray]], Arrays], batch: Sequence[_Request]) -> list[Arrays | Exception]:
    """One answer for each request, in a thread; never raises, for somebody waits for each."""
    if len(batch) > 1:
        try:
            return _answer_joined(run, batch)
        except Exception:
            pass  # whose fault it was shows when each goes alone
    answers: list[Arrays | Exception] = []
    for request in batch:
        try:
            answers.append(run(request.arrays))
        except Exception as error:
            answers.append(error)
    return answers


def _answer_joined(
    run: Callable[[Mapping[str, np.ndarray]], Arrays], batch: Sequence[_Request]
) -> list[Arrays | Exception]:
    outputs = run({name: np.concatenate([request.arrays[name] for request in batch]) for name in batch[0].arrays})
    ends = np.cumsum([request.size for request in batch]).tolist()
    if any(array.shape[:1] != (ends[-1],) for array in outputs.values()):
        raise ValueError("An output doesn't have one entry for each example, so it can't be taken apart.")
    parts = zip([0, *ends[:-1]], ends, strict=True)
    return [{name: array[first:end] for name, array in outputs.items()} for first, end in parts]
