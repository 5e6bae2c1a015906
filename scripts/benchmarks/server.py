"""The server for development under load, against a bare loop over the signature.

    python scripts/benchmarks/server.py

Requests a second through `scripts/serve.py` on 127.0.0.1, one example each, from 1 client and from many that ask again
as soon as they are answered; with micro-batching and without; with the latency's median and 99th percentile. Beside it
the limit, measured in the same round: `LoadedSignature.run` in a loop on the same bytes at the server's largest batch,
with nothing around it. The clients are `wrk` where it is installed, else `server_clients.py`; in either case they run
on the same processors as the server, and what they take is missing there.

    row     an MLP on a row of 20 numbers as JSON: all overhead
    jpeg    MobileNetV2 behind a signature that decodes and resizes JPEG files, sent as base64: real work
"""

import base64
import contextlib
import dataclasses
import json
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags, logging

import framework
from framework.export import Exporter

_CLIENTS = flags.DEFINE_integer("clients", 64, "Of the load; each waits for its answer before it asks again.")
_BATCH = flags.DEFINE_integer("batch", 64, "Examples of a joined call.")
_ROUNDS = flags.DEFINE_integer("rounds", 3, "Repetitions; the median is printed.")
_SECS = flags.DEFINE_float("secs", 3.0, "Of each measurement.")

_HERE = pathlib.Path(__file__).resolve().parent


@dataclasses.dataclass(frozen=True)
class Load:
    """What clients saw: answers a second, milliseconds of the median and of the slowest hundredth."""

    rate: float
    p50: float
    p99: float


def save_row(directory: pathlib.Path) -> tuple[dict[str, np.ndarray], bytes]:
    """An MLP; returns one example as arrays and as a request."""
    inputs = keras.Input((20,), name="row")
    model = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Dense(64, activation="relu")(inputs)))
    Exporter(model).publish(directory)
    row = np.random.default_rng(0).random((1, 20)).round(4).astype(np.float32)
    return {"row": row}, json.dumps({"instances": row.astype(float).round(4).tolist()}).encode()


def save_jpeg(directory: pathlib.Path) -> tuple[dict[str, np.ndarray], bytes]:
    """MobileNetV2 behind JPEG files; returns one example as arrays and as a request."""
    model = keras.applications.MobileNetV2(weights=None, classes=100)
    image = framework.Image((224, 224, 3))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "image")])
    def serve(image_bytes):
        pixels = tf.map_fn(image.decode, image_bytes, fn_output_signature=tf.TensorSpec((224, 224, 3), tf.uint8))
        probabilities = model(tf.cast(pixels, tf.float32) / 127.5 - 1, training=False)
        return {"class_id": tf.argmax(probabilities, 1), "probability": tf.reduce_max(probabilities, 1)}

    module = tf.Module()
    module.variables_ = [variable.value for variable in model.variables]
    tf.saved_model.save(module, str(directory / "1"), signatures=serve)
    noise = np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8)
    picture = tf.cast(tf.image.resize(noise, (240, 320)), tf.uint8)
    encoded = tf.io.encode_jpeg(picture, quality=90).numpy()
    request = json.dumps({"instances": [{"b64": base64.b64encode(encoded).decode()}]}).encode()
    return {"image": np.asarray([encoded], object)}, request


def limit(export_dir: pathlib.Path, example: dict[str, np.ndarray]) -> float:
    """Examples a second of a bare loop at the server's largest batch."""
    signature = framework.load_export(export_dir)("serving_default")
    batch = {name: np.repeat(array, _BATCH.value, axis=0) for name, array in example.items()}
    signature.run(batch)
    calls, started = 0, time.perf_counter()
    while time.perf_counter() - started < _SECS.value:
        signature.run(batch)
        calls += 1
    return calls * _BATCH.value / (time.perf_counter() - started)


@contextlib.contextmanager
def server(export_dir: pathlib.Path, *options: str) -> Iterator[str]:
    """A running server's URL for predictions."""
    command = [sys.executable, str(_HERE.parent / "serve.py"), f"--model=m={export_dir}", "--port=0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        url = process.stdout.readline().strip() if process.stdout else ""
        if not url:
            raise RuntimeError(f"The server didn't start: {' '.join(command)}")
        yield f"{url}:predict"
    finally:
        process.terminate()
        process.wait()


def load(url: str, body: pathlib.Path, clients: int) -> Load:
    """What clients in another process see."""
    if shutil.which("wrk"):
        return _load_by_wrk(url, body, clients)
    command = [sys.executable, str(_HERE / "server_clients.py"), url, str(body), str(clients), str(_SECS.value)]
    return Load(*json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout))


def _load_by_wrk(url: str, body: pathlib.Path, clients: int) -> Load:
    script = body.with_suffix(".lua")
    script.write_text(f'wrk.method = "POST"\nwrk.body = io.open("{body}", "rb"):read("*a")\n')
    command = ["wrk", "-t1", f"-c{clients}", f"-d{_SECS.value:g}s", "--latency", "-s", str(script), url]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in text:
        raise RuntimeError(text)
    to_ms = {"us": 1e-3, "ms": 1.0, "s": 1e3}
    (rate,) = re.findall(r"Requests/sec:\s+([\d.]+)", text)
    shares = re.findall(r"(50|99)%\s+([\d.]+)(us|ms|s)", text)
    times = {share: float(number) * to_ms[unit] for share, number, unit in shares}
    return Load(float(rate), times["50"], times["99"])


def main(_):
    logging.set_verbosity(logging.ERROR)
    print(f"{_CLIENTS.value} clients ({'wrk' if shutil.which('wrk') else 'asyncio'}), batches of up to {_BATCH.value}")
    for name, save in (("row", save_row), ("jpeg", save_jpeg)):
        with tempfile.TemporaryDirectory() as directory:
            base = pathlib.Path(directory, name)
            example, request = save(base)
            body = pathlib.Path(directory, "body")
            body.write_bytes(request)
            measure(name, base, example, body)


def measure(name: str, base: pathlib.Path, example: dict[str, np.ndarray], body: pathlib.Path) -> None:
    limits: list[float] = []
    seen: dict[str, list[Load]] = {}
    joined, alone = [f"--max_batch_size={_BATCH.value}"], ["--max_batch_size=1"]
    with server(base, *joined) as batching, server(base, *alone) as single:
        ways = {
            "1 client": (batching, 1),
            f"{_CLIENTS.value} clients, joined": (batching, _CLIENTS.value),
            f"{_CLIENTS.value} clients, not joined": (single, _CLIENTS.value),
        }
        for _ in range(_ROUNDS.value):
            limits.append(limit(base, example))
            for way, (url, clients) in ways.items():
                seen.setdefault(way, []).append(load(url, body, clients))
    highest = statistics.median(limits)
    print(f"\n{name}, {body.stat().st_size:,} bytes a request; limit {highest:,.0f} examples/s")
    for way, loads in seen.items():
        rate, p50, p99 = (statistics.median(values) for values in zip(*map(dataclasses.astuple, loads), strict=True))
        print(
            f"  {way:24} {rate:8,.0f} requests/s   {rate / highest:5.2f} of it   p50 {p50:7.2f} ms   p99 {p99:7.2f} ms"
        )


if __name__ == "__main__":
    app.run(main)
