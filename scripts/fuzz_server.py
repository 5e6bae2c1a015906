"""Sends the server malformed requests, many at a time, and looks at every answer.

    python scripts/fuzz_server.py
    python scripts/fuzz_server.py --requests=100000 --seed=7

In this process, through ASGI, against signatures whose right answers are known. A request is a good one, or one that
was damaged in a random way: bytes flipped, cut or repeated, JSON values replaced by others, wrong methods, paths,
headers and encodings, numbers and nestings beyond all bounds, images that are none. Others are joined with it, so that
a bad one could spoil a good one.

Every answer must be well formed: an error `{"error": text}` with a status that TensorFlow Serving knows, or a right
answer. In between and at the end the server must answer a good request, and memory must not grow. The predictor of
`framework.load_export` is asked alongside with arguments of the same kind.
"""

import asyncio
import base64
import collections
import functools
import gzip
import json
import pathlib
import random
import sys
import tempfile
import time
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

import command_line
import numpy as np
import psutil
import tensorflow as tf
from absl import flags as absl_flags
from absl import logging

import framework
from framework.serving import Predictor
from framework.serving.server import Limits, ServedModel, create_app

_STATUSES = {200, 400, 404, 413, 429, 499, 501, 503, 504}
_LIMITS = Limits(body_bytes=2**20, examples=256, timeout_secs=60.0)
_AT_ONCE = 16
Request = tuple[str, str, dict[str, str], bytes]  # method, path, headers, body
_EDGES: list[Any] = [
    None, True, False, 0, 1, -1, 2**31, 2**53 + 1, 2**63, -(2**63) - 1, 10**30, 0.5, 1e38, 1e39, 1e308, float("nan"),
    float("inf"), -0.0, "", "x", "\x00", "\ud800", "é" * 50, [], {}, [[]], [[[]]], [[], [1]], [{}], {"": 0},
    {"b64": ""}, {"b64": "AAAA"}, {"b64": "?"}, {"b64": 1}, {"b64": "AA", "x": 1}, [1, [2]], [1, "a"], [[1], [1, 2]],
]  # fmt: skip


class Known(tf.Module):
    """Signatures whose answers plain Python knows."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def half(self, x):
        return {"y": x / 2}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.uint8, "n"), tf.TensorSpec([None], tf.string, "text")])
    def pair(self, n, text):
        tf.debugging.assert_less(n, tf.constant(200, tf.uint8))
        return {"n": n, "length": tf.strings.length(text)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "image")])
    def image(self, image):
        def mean(one):
            return tf.reduce_mean(tf.cast(tf.io.decode_image(one, 1, expand_animations=False), tf.float32))

        return {"mean": tf.map_fn(mean, image, fn_output_signature=tf.float32)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
    def regress(self, inputs):
        return {"outputs": tf.io.parse_example(inputs, {"x": tf.io.FixedLenFeature([], tf.float32)})["x"] / 2}


def save_known(directory: pathlib.Path) -> None:
    module = Known()
    signatures = {"serving_default": module.half, "pair": module.pair, "image": module.image, "regress": module.regress}
    tf.saved_model.save(module, str(directory), signatures=signatures)
    updater = tf.compat.v1.saved_model.signature_def_utils.MethodNameUpdater(str(directory))
    updater.replace_method_name("regress", "tensorflow/serving/regress")
    updater.save()


class Fuzzer:
    """Makes requests.

    Args:
        seed: The same one makes the same requests.
    """

    def __init__(self, seed: int):
        self.random = random.Random(seed)
        picture = np.random.default_rng(seed).integers(0, 256, (5, 4, 1), np.uint8)
        self.images = [encode(picture).numpy() for encode in (tf.io.encode_png, tf.io.encode_jpeg)]
        # Files that say they are 20,000 pixels wide and high: a decoder would take 400 MB for each.
        png, jpeg = map(bytearray, self.images)
        png[16:24] = 2 * (20_000).to_bytes(4, "big")
        png[29:33] = zlib.crc32(png[12:29]).to_bytes(4, "big")
        frame = jpeg.index(b"\xff\xc0")
        jpeg[frame + 5 : frame + 9] = 2 * (20_000).to_bytes(2, "big")
        self.images += [bytes(png), bytes(jpeg)]

    def request(self) -> Request:
        chance = self.random.random()
        path, document = self._good()
        if chance < 0.2:
            return "POST", path, {}, json.dumps(document).encode()
        body = self._json(self._damaged(document)) if chance < 0.6 else self._damaged_bytes(self._json(document))
        if chance > 0.9:
            return self._elsewhere(path, body)
        return "POST", path, {}, body

    def arguments(self) -> tuple[str, dict[str, Any]]:
        """A signature's name, and what might be its inputs."""
        names = self.random.choice((["x"], ["n", "text"], ["image"], ["x", "n"], []))
        signature = self.random.choice(("serving_default", "pair", "image"))
        return signature, {name: self.random.choice((self._edge(), [self._edge(), self._edge()])) for name in names}

    def _good(self) -> tuple[str, dict[str, Any]]:
        number = self.random.choice((0.0, 1.5, -3.0, 1e10, 7))
        kind = self.random.randrange(6)
        if kind == 0:
            return "/v1/models/m:predict", {"instances": [number] * self.random.randint(1, 4)}
        if kind == 1:
            return "/v1/models/m/versions/1:predict", {"inputs": {"x": [number]}}
        if kind == 2:
            rows = [{"n": self.random.randrange(256), "text": "a" * self.random.randrange(4)}]
            return "/v1/models/m:predict", {"signature_name": "pair", "instances": rows * self.random.randint(1, 3)}
        if kind == 3:
            return "/v1/models/m/labels/stable:predict", {
                "signature_name": "pair",
                "inputs": {"n": [1, 2], "text": ["a", {"b64": "AAE="}]},
            }
        if kind == 4:
            image = base64.b64encode(self.random.choice(self.images)).decode()
            return "/v1/models/m:predict", {"signature_name": "image", "instances": [{"b64": image}]}
        return "/v1/models/m:regress", {"signature_name": "regress", "examples": [{"x": float(number)}]}

    def _damaged(self, value: Any, depth: int = 0) -> Any:
        """The value with something in it replaced, doubled, renamed or left out."""
        if not isinstance(value, dict | list) or not value or self.random.random() < 0.2:
            return self._edge()
        if isinstance(value, list):
            index = self.random.randrange(len(value))
            changed = [*value[:index], self._damaged(value[index], depth + 1), *value[index + 1 :]]
            return changed * self.random.choice((1, 1, 1, 2, 300)) if depth < 3 else changed
        key = self.random.choice(list(value))
        action = self.random.randrange(4)
        if action == 0:
            return {name: inner for name, inner in value.items() if name != key}
        if action == 1:
            other = self.random.choice((*value, "x", "inputs", "instances", "signature_name", "\ud800"))
            return {**value, other: self._edge()}
        return {**value, key: self._damaged(value[key], depth + 1)}

    def _edge(self) -> Any:
        edge = self.random.choice(_EDGES)
        for _ in range(self.random.choice((0, 0, 0, 1, 2, 70))):
            edge = [edge]
        return edge

    def _json(self, document: Any) -> bytes:
        text = json.dumps(document, ensure_ascii=self.random.random() < 0.5)
        return text.encode("utf-8", self.random.choice(("surrogatepass", "backslashreplace")))

    def _damaged_bytes(self, body: bytes) -> bytes:
        action = self.random.randrange(8)
        place = self.random.randrange(len(body) + 1)
        if action == 0:
            return body[:place]
        if action == 1:
            return body[:place] + body[place + self.random.randint(1, 5) :]
        if action == 2:
            return body[:place] + self.random.randbytes(self.random.randint(1, 5)) + body[place:]
        if action == 3:
            changed = bytearray(body)
            for _ in range(self.random.randint(1, 4)):
                changed[self.random.randrange(len(changed))] ^= 1 << self.random.randrange(8)
            return bytes(changed)
        if action == 4:
            return self.random.randbytes(self.random.randrange(300))
        if action == 5:
            opening = self.random.choice((b"[", b'{"instances":', b'{"instances":[', b"[[1],"))
            return opening * self.random.choice((1, 70, 5_000, 60_000))
        if action == 6:
            number = self.random.choice(
                (b"9" * 6000, b"1e999", b"-1e-999", b"0x1", b"01", b"1_000", b"NaN", b"-Infinity")
            )
            return b'{"instances": [' + number + b"]}"
        return body[:place] + b'"instances": [1],' * 3 + body[place:]

    def _elsewhere(self, path: str, body: bytes) -> Request:
        method = self.random.choice(("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "BREW"))
        path = self.random.choice(
            (
                path,
                path.replace("m", "%6D", 1),
                path.replace("/m", "/" + "n" * 3000),
                path.replace(":", "%3A"),
                path + "/metadata",
                "/v1/models/m/metadata",
                "/v1/models/m/versions/" + "9" * self.random.choice((3, 19, 20, 4500)),
                "/v1/models/m/labels/none",
                "/v1/models/%FF%00",
                "/v1/models",
                "/v1/",
                "/",
                "//v1//models//m",
                "/v1/models/../../etc/passwd",
                "/healthz",
            )
        )
        encoding = self.random.choice(("gzip", "GZIP", "br", "identity"))
        if self.random.random() < 0.5:
            body = gzip.compress(body) if self.random.random() < 0.7 else gzip.compress(b" " * 2**22)
        return method, path, {"content-encoding": encoding, "content-type": "text/plain"}, body


def check(request: Request, status: int, answer: bytes) -> str:
    """What is wrong with an answer; nothing, if all is well."""
    method, path, headers, body = request
    if path == "/healthz":
        return ""
    if status not in _STATUSES:
        return f"status {status}"
    if method == "HEAD":
        return ""
    try:
        said = json.loads(answer)
    except ValueError:
        return "the answer isn't JSON"
    if status != 200:
        is_error = (
            isinstance(said, dict) and list(said) == ["error"] and isinstance(said["error"], str) and said["error"]
        )
        return "" if is_error else "the error isn't {'error': text}"
    if method != "POST":
        return "" if set(said) & {"model_version_status", "metadata"} else "neither status nor metadata"
    if headers.get("content-encoding", "").lower() == "gzip":
        body = gzip.decompress(body)
    expected = right_answer(path, json.loads(body.decode("utf-8-sig")))
    return "" if _same(said, expected) else f"expected {expected!r:.200}"


def right_answer(path: str, document: dict[str, Any]) -> Any:
    """What plain Python makes of a request that was accepted; `None` where only the form is known (an image's mean)."""
    name = document.get("signature_name") or "serving_default"
    if path.endswith(":regress"):
        context = document.get("context", {})
        xs = [{**context, **example}["x"] for example in document["examples"]]
        return {"results": [(x[0] if isinstance(x, list) else x) / 2 for x in xs]}
    key, answer_key = ("instances", "predictions") if "instances" in document else ("inputs", "outputs")
    given = document[key]
    if name == "image":
        count = len(given["image"] if isinstance(given, dict) and "image" in given else given)
        return {answer_key: [None] * count}
    if name == "serving_default":
        values = given["x"] if isinstance(given, dict) else given
        return {answer_key: [(v["x"] if isinstance(v, dict) else v) / 2 for v in values]}
    if key == "instances":
        return {answer_key: [{"n": row["n"], "length": _length(row["text"])} for row in given]}
    return {answer_key: {"n": given["n"], "length": [_length(text) for text in given["text"]]}}


def _length(text: Any) -> int:
    return len(text.encode()) if isinstance(text, str) else len(base64.b64decode(text["b64"] + "=="))


def _same(said: Any, expected: Any) -> bool:
    if expected is None:
        return isinstance(said, float)
    if isinstance(expected, dict):
        return (
            isinstance(said, dict) and said.keys() == expected.keys() and all(_same(said[k], expected[k]) for k in said)
        )
    if isinstance(expected, list):
        return isinstance(said, list) and len(said) == len(expected) and all(map(_same, said, expected))
    return bool(np.isclose(np.float32(said), np.float32(expected), rtol=1e-6, equal_nan=True))


def ask_predictor(predictor: Predictor, signature: str, arguments: dict[str, Any]) -> str:
    """What is wrong with what the predictor makes of arguments; nothing, if all is well."""
    try:
        answer = predictor(signature)(**arguments)
    except (ValueError, tf.errors.OpError) as error:
        return "" if str(error) else "an error without a message"
    if signature != "serving_default":
        return ""
    expected = np.asarray(arguments["x"], np.float32) / 2
    return "" if np.array_equal(answer["y"], expected, equal_nan=True) else f"expected {expected}"


async def send(app: Any, request: Request) -> tuple[int, bytes]:
    """Status and body of the application's answer, sent in pieces as a network would."""
    method, path, headers, body = request
    pieces = [body[place : place + 65536] for place in range(0, len(body), 65536)] or [b""]
    messages: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if not pieces:  # it waits for its answer
            await asyncio.Event().wait()
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    async def collect(message: dict[str, Any]) -> None:
        messages.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode("latin-1", "replace"),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 1),
    }
    await app(scope, receive, collect)
    return messages[0]["status"], b"".join(message.get("body", b"") for message in messages[1:])


async def fuzz(
    app: Any, predictor: Predictor, num_requests: int, seed: int, report: Callable[[str], None]
) -> collections.Counter[int]:
    """Statuses and how often they came.

    Raises:
        RuntimeError: An answer is wrong, or memory grew.
    """
    fuzzer = Fuzzer(seed)
    statuses: collections.Counter[int] = collections.Counter()
    good: Request = ("POST", "/v1/models/m:predict", {}, b'{"instances": [3.0]}')
    process = psutil.Process()
    settled = 0.0
    async with app.router.lifespan_context(app):
        for first in range(0, num_requests, _AT_ONCE):
            requests = [fuzzer.request() for _ in range(min(_AT_ONCE, num_requests - first))]
            sending: list[Awaitable[tuple[int, bytes]]] = [send(app, request) for request in (*requests, good)]
            *answers, last = await asyncio.gather(*sending)
            for request, (status, answer) in zip(requests, answers, strict=True):
                statuses[status] += 1
                if wrong := check(request, status, answer):
                    raise RuntimeError(f"{wrong}: {request!r:.2000} was answered {status} {answer!r:.500}")
            if last != (200, b'{"predictions":[1.5]}'):
                raise RuntimeError(f"A good request was answered {last!r:.500} among {requests!r:.2000}")
            signature, arguments = fuzzer.arguments()
            if wrong := ask_predictor(predictor, signature, arguments):
                raise RuntimeError(f"{wrong}: predictor({signature!r})(**{arguments!r:.2000})")
            if first // _AT_ONCE == 60:  # by now everything has been allocated once
                settled = process.memory_info().rss
            if first % 1008 == 0:
                report(f"{first:,} requests, {process.memory_info().rss / 2**20:,.0f} MiB")
    grown = (process.memory_info().rss - settled) / 2**20
    if settled and grown > 200:
        raise RuntimeError(f"Memory grew by {grown:.0f} MiB.")
    return statuses


def define_flags(flags: command_line.Flags) -> None:
    with flags.heading("How much"):
        flags.value("requests", int, 10_000, "Requests.")
        flags.value("seed", int, 0, "The same seed makes the same requests.")


def main(values: absl_flags.FlagValues, arguments: list[str]) -> None:
    logging.set_verbosity(logging.ERROR)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        save_known(pathlib.Path(directory, "1"))
        app = create_app([ServedModel("m", directory, labels={"stable": 1})], limits=_LIMITS)
        predictor = framework.load_export(directory)
        report = functools.partial(print, file=sys.stderr)
        statuses = asyncio.run(fuzz(app, predictor, values.requests, values.seed, report))
    print(f"{values.requests:,} requests in {time.monotonic() - started:.0f} s, all answered as they should be:")
    print(command_line.table([(status, count) for status, count in sorted(statuses.items())]))


if __name__ == "__main__":
    command_line.run(main, define_flags)
