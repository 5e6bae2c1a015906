"""Serves exports over HTTP for development, as TensorFlow Serving's REST API.

    python scripts/serve.py --model digits=runs/digits
    python scripts/serve.py --model wine=runs/wine/export --model digits=runs/digits/export/3 --port 8501

    curl -d '{"instances": [...]}' http://127.0.0.1:8501/v1/models/digits:predict

A model is a run directory, a directory of versions or a SavedModel. New versions are served as soon as they are there;
requests that wait at the same time are answered together.

In production TensorFlow Serving serves the same directory, and answers the same requests in the same form:

    docker run --rm -p 8501:8501 -v "$PWD/runs/digits/export:/models/digits:ro" -e MODEL_NAME=digits tensorflow/serving

Paths: /v1/models/NAME[/versions/N|/labels/LABEL][:predict|:classify|:regress|/metadata], /healthz, /readyz and
/monitoring/prometheus/metrics.
"""

import asyncio
import gc
import pathlib
import socket
import urllib.parse
from typing import Any

import command_line
from absl import flags as absl_flags
from absl import logging
from command_line import UsageError

from framework import extras
from framework.serving.locating import versions_base
from framework.serving.server import Batching, Limits, ServedModel, VersionPolicy, create_app


def define_flags(flags: command_line.Flags) -> None:
    with flags.heading("What is served"):
        flags.texts("model", "NAME=PATH; as often as needed.")
        flags.text("versions", "latest", "latest, latest:N (the N newest), all, or numbers such as 3,5.")
        flags.texts("label", "NAME=VERSION: another name for a version; as often as needed.")
        flags.value("poll_secs", float, 1.0, "Between two looks for new versions.")
    with flags.heading("Where"):
        flags.text("host", "127.0.0.1", "0.0.0.0 lets other machines in.")
        flags.value("port", int, 8501, "0 takes a free one.")
    with flags.heading("Joining requests (1 example or 0 ms: as they come)"):
        flags.value("max_batch_size", int, 64, "Examples of one call.")
        flags.value("max_delay_ms", float, 2.0, "How long a request waits for others, while there are others about.")
    with flags.heading("Limits"):
        flags.value("max_body_mb", float, 32.0, "Of a request.")
        flags.value("max_examples", int, 1024, "Of a request.")
        flags.value("max_megapixels", float, 64.0, "Of an image, before it is decoded.")
        flags.value("max_request_megapixels", float, 512.0, "Of all images of a request.")
        flags.value("timeout_secs", float, 30.0, "From a request to its answer.")


def main(values: absl_flags.FlagValues, arguments: list[str]) -> None:
    if not values.model:
        raise UsageError("--model must be given, such as --model digits=runs/digits; --helpshort lists all flags.")
    logging.set_verbosity(logging.INFO)
    limits = Limits(
        body_bytes=int(values.max_body_mb * 2**20),
        examples=values.max_examples,
        pixels=int(values.max_megapixels * 1e6),
        request_pixels=int(values.max_request_megapixels * 1e6),
        timeout_secs=values.timeout_secs,
    )
    batching = Batching(max_size=values.max_batch_size, max_delay_secs=values.max_delay_ms / 1e3)
    models = served_models(values)
    app = create_app(models, limits=limits, batching=batching, poll_secs=values.poll_secs)
    uvicorn: Any = extras.require("uvicorn", extra="server", purpose="The server for development")
    # What was imported stays: the collections that free a version's memory needn't look through it, while nobody is
    # answered. Before the first version is loaded, for that one is to be freed too.
    gc.collect()
    gc.freeze()
    with listen(values.host, values.port) as listener:
        config = uvicorn.Config(
            app,
            http="h11",  # httptools keeps whatever headers a client sends, and as many
            log_level="warning",
            access_log=False,
            lifespan="on",
            # A request that is being answered when the signal comes still gets its answer.
            timeout_graceful_shutdown=int(values.timeout_secs) + 1,
        )
        asyncio.run(serve(uvicorn.Server(config), listener, models))


def listen(host: str, port: int) -> socket.socket:
    """A bound socket; a port that is taken is an error here and not somewhere in a library.

    Raises:
        OSError: It can't be bound.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named TCP: otherwise asyncio leaves Nagle's algorithm on, and every answer comes 40 ms late.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise OSError(error.errno, f"{host}:{port}: {error.strerror}") from error
    return listener


async def serve(server: Any, listener: socket.socket, models: list[ServedModel]) -> None:
    """Serves until a signal; says where once it does.

    Raises:
        RuntimeError: It couldn't start; the log has the reason.
    """
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started and not serving.done():
        await asyncio.sleep(0.02)
    if server.started:
        host, port = listener.getsockname()[:2]
        host = f"[{host}]" if ":" in host else host
        for model in models:
            print(f"http://{host}:{port}/v1/models/{urllib.parse.quote(model.name, safe='')}", flush=True)
    await serving
    if not server.started:
        raise RuntimeError("The server couldn't start; the reason is above.")


def served_models(values: absl_flags.FlagValues) -> list[ServedModel]:
    """What --model, --versions and --label say.

    Raises:
        UsageError: One of them isn't of its form, or there is nothing at a path.
    """
    labels = {}
    for name, version in _pairs("label", values.label).items():
        if not version.isdecimal():
            raise UsageError(f"--label takes NAME=VERSION, such as --label stable=3. Got {name}={version!r}.")
        labels[name] = int(version)
    policy = VersionPolicy.parse(values.versions)
    models = []
    for name, path in _pairs("model", values.model).items():
        if not pathlib.Path(path).expanduser().exists():
            raise UsageError(f"--model {name}={path}: there is no {path}.")
        base = versions_base(path)
        models.append(ServedModel(name, base, policy=policy, labels=labels, batch_size=values.max_batch_size))
    return models


def _pairs(flag: str, items: list[str]) -> dict[str, str]:
    """`{name: text}` of a flag given several times; names may be anything but empty."""
    found: dict[str, str] = {}
    for item in items:
        name, equals, text = item.partition("=")
        if not (name and equals and text):
            raise UsageError(f"--{flag} takes NAME=..., got {item!r}.")
        if name in found:
            raise UsageError(f"--{flag} {name} is given twice: {found[name]} and {text}.")
        found[name] = text
    return found


if __name__ == "__main__":
    command_line.run(main, define_flags)
