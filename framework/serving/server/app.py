"""The ASGI application: HTTP around `Answering`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any

from absl import logging

from framework import extras
from framework.serving.rest import answers
from framework.serving.rest.errors import RequestError
from framework.serving.rest.paths import Target, parse_path
from framework.serving.rest.requests import decompress
from framework.serving.server.answering import Answering, Limits
from framework.serving.server.batching import Batching
from framework.serving.server.metrics import PATH as METRICS
from framework.serving.server.metrics import Metrics
from framework.serving.server.versions import ServedModel

_OK, _NOT_FOUND, _TOO_LARGE, _CLOSED, _INTERNAL, _UNAVAILABLE, _TIMEOUT = 200, 404, 413, 499, 500, 503, 504
_PURPOSE = "The server for development"
_SOON_SECS = 0.05


def create_app(
    models: Iterable[ServedModel],
    *,
    limits: Limits | None = None,
    batching: Batching | None = None,
    poll_secs: float = 1.0,
) -> Any:
    """A Starlette application that serves models; its lifespan loads them, polls and lets go of them.

    Besides TensorFlow Serving's paths it has `/healthz` (the process answers) and `/readyz` (so does every model).

    Args:
        models: Each with a name of its own.
        limits: What a client can't exceed.
        batching: How requests are joined.
        poll_secs: Between two looks at the directories.

    Raises:
        ImportError: The extra `server` isn't installed.
        ValueError: Two models have the same name, or there is none.
    """
    applications: Any = extras.require("starlette.applications", extra="server", purpose=_PURPOSE)
    routing: Any = extras.require("starlette.routing", extra="server", purpose=_PURPOSE)
    server = Server(models, limits or Limits(), batching or Batching(), poll_secs)
    return applications.Starlette(
        routes=[
            routing.Route("/healthz", server.health),
            routing.Route("/readyz", server.readiness),
            routing.Route(METRICS, server.metrics),
            routing.Route("/{path:path}", server),  # every method: a wrong one has TensorFlow Serving's answer too
        ],
        lifespan=server.lifespan,
    )


class Server:
    """The endpoints; itself, as an ASGI application, that of the REST API. Arguments as those of `create_app`."""

    def __init__(self, models: Iterable[ServedModel], limits: Limits, batching: Batching, poll_secs: float):
        given = list(models)
        self._models = {model.name: model for model in given}
        if len(self._models) < len(given) or not given:
            raise ValueError(f"Models need names of their own, got {[model.name for model in given]}.")
        self._limits = limits
        self._poll_secs = poll_secs
        self._pending_bytes = 0
        self._metrics = Metrics()
        self._answering = Answering(self._models, batching, limits, self._metrics)
        self._requests: Any = extras.require("starlette.requests", extra="server", purpose=_PURPOSE)
        self._responses: Any = extras.require("starlette.responses", extra="server", purpose=_PURPOSE)

    @contextlib.asynccontextmanager
    async def lifespan(self, app: Any) -> AsyncIterator[None]:
        """Models are loaded before the first request, and everything that runs ends with the application."""
        await self._poll()
        polling = asyncio.create_task(self._poll_forever())
        try:
            yield
        finally:
            polling.cancel()
            await asyncio.gather(polling, return_exceptions=True)
            self._answering.close()
            for model in self._models.values():
                model.close()

    async def health(self, request: Any) -> Any:
        """The event loop turns."""
        return self._responses.PlainTextResponse("ok")

    async def readiness(self, request: Any) -> Any:
        """Whether every model has a version that answers."""
        missing = [name for name, model in self._models.items() if not model.is_available]
        if missing:
            return self._responses.PlainTextResponse(f"not available: {', '.join(missing)}", _UNAVAILABLE)
        return self._responses.PlainTextResponse("ok")

    async def metrics(self, request: Any) -> Any:
        """Prometheus' page."""
        return self._responses.Response(self._metrics.page(), media_type="text/plain; version=0.0.4")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answers one request of the REST API, whatever it is."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        request = self._requests.Request(scope, receive)
        target: Target | None = None
        try:
            target = self._target(request)
            status, content = _OK, await self._answer(target, request)
        except RequestError as error:
            status, content = error.status, answers.error(str(error))
        except TimeoutError:
            status, content = _TIMEOUT, answers.error(f"No answer within {self._limits.timeout_secs:g} seconds.")
        except self._requests.ClientDisconnect:
            status, content = _CLOSED, b""
        except Exception as error:  # ours, not the client's; the next request shall not suffer for it
            logging.exception("%s %s", request.method, request.url.path)
            status, content = _INTERNAL, answers.error(f"Internal error: {type(error).__name__}")
        if target is not None and target.model in self._models:
            self._metrics.request(target.model, target.action, status, loop.time() - started)
        await self._responses.Response(content, status, media_type="application/json")(scope, receive, send)

    def _target(self, request: Any) -> Target:
        path = request.scope.get("raw_path", request.url.path.encode()).decode("latin-1")
        if not path.lower().startswith("/v1/"):
            raise RequestError(f"Not found: {path}", _NOT_FOUND)
        return parse_path(request.method, path)

    async def _answer(self, target: Target, request: Any) -> bytes:
        held = 0
        has_hung_up = False

        def give_up() -> None:
            nonlocal has_hung_up
            if not waiting.expired():
                has_hung_up = True
                waiting.reschedule(0.0)

        try:
            async with asyncio.timeout(self._limits.timeout_secs) as waiting:
                chunks = []
                if request.method == "POST":
                    async for chunk in request.stream():
                        held += len(chunk)
                        self._pending_bytes += len(chunk)
                        self._check_size(held)
                        chunks.append(chunk)
                body = b"".join(chunks)
                if request.headers.get("content-encoding", "").lower() == "gzip":
                    body = decompress(body, self._limits.body_bytes)
                with _on_hang_up(request, give_up):
                    return await self._answering(target, body)
        except TimeoutError as error:
            if has_hung_up:
                raise self._requests.ClientDisconnect from error
            raise
        finally:
            self._pending_bytes -= held

    def _check_size(self, held: int) -> None:
        if held > self._limits.body_bytes:
            raise RequestError(f"The body is larger than {self._limits.body_bytes} bytes.", _TOO_LARGE)
        if self._pending_bytes > self._limits.pending_bytes:
            raise RequestError("Too many bytes are waiting for answers. Try again.", _UNAVAILABLE)

    async def _poll(self) -> None:
        for model in self._models.values():
            await model.poll()

    async def _poll_forever(self) -> None:
        while True:
            await asyncio.sleep(self._poll_secs)
            try:
                await self._poll()
            except Exception:  # a disk's bad day; models that are in memory go on answering
                logging.exception("Looking for new versions failed; the next try is in %g s.", self._poll_secs)


@contextlib.contextmanager
def _on_hang_up(request: Any, give_up: Callable[[], None]) -> Iterator[None]:
    """Calls `give_up` when the client of a request that was read hangs up within the block.

    Looked for only after a moment: most answers are there before, and who waits longer is worth a task.
    """
    loop = asyncio.get_running_loop()
    watching: asyncio.Task | None = None

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        give_up()

    def begin() -> None:
        nonlocal watching
        watching = loop.create_task(watch())

    timer = loop.call_later(_SOON_SECS, begin)
    try:
        yield
    finally:
        timer.cancel()
        if watching is not None:
            watching.cancel()
