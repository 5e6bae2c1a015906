"""The server, asked through ASGI without a network."""

import asyncio
import base64
import gc
import gzip
import json
import os
import shutil
import sys
import threading

import httpx
import numpy as np
import pytest
import tensorflow as tf

from framework.serving.server import Batching, Limits, ServedModel, create_app
from framework.serving.server.app import Server
from framework.serving.signatures import LoadedSignature

_ROW = {"z": [1.5, 2], "a": 3}
_ANSWER = {"batch": 1, "difference": 0.5, "total": 6.5}


def serve(scenario, *models, **options):
    """Runs `await scenario(client)` with the application up; returns what it returns."""

    async def main():
        app = create_app(models, **options)
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://server") as client,
        ):
            return await scenario(client)

    return asyncio.run(main())


def ask(base, *requests, **options):
    """`(status, JSON)` of each `(method, path, body)`; a body that isn't bytes is sent as JSON."""

    async def scenario(client):
        answers = []
        for method, path, *body in requests:
            content = body[0] if body and isinstance(body[0], bytes) else json.dumps(body[0]).encode() if body else b""
            response = await client.request(method, path, content=content)
            assert response.headers["content-type"] == "application/json"
            answers.append((response.status_code, response.json()))
        return answers

    return serve(scenario, ServedModel("m", base), **options)


def test_predictions(arithmetic):
    image = base64.b64encode(tf.io.encode_png(np.full((2, 2, 1), 7, np.uint8)).numpy()).decode()
    cases = [
        ({"instances": [_ROW]}, {"predictions": [_ANSWER]}),
        ({"inputs": {"z": [[1.5, 2]], "a": [3]}}, {"outputs": {name: [value] for name, value in _ANSWER.items()}}),
        ({"signature_name": "half", "instances": [1.0, 2.0]}, {"predictions": [0.5, 1.0]}),
        ({"signature_name": "half", "instances": [{"x": 1}]}, {"predictions": [0.5]}),
        ({"signature_name": "half", "inputs": [1.0, 2.0]}, {"outputs": [0.5, 1.0]}),
        ({"signature_name": "half", "inputs": []}, {"outputs": []}),
        ({"signature_name": "encoded", "instances": [{"b64": image}]}, {"predictions": [7.0]}),
        ({"signature_name": "pixels", "instances": [[[[1], [3]]]]}, {"predictions": [2.0]}),
        ({"signature_name": "reversed", "instances": [[1, 2]]}, {"predictions": [{"tokens": [2, 1], "sum": 3}]}),
        (
            {"signature_name": "look_up", "instances": ["dog"]},
            {"predictions": [{"id": 2, "name": "dog", "name_bytes": {"b64": "ZG9n"}}]},
        ),
        ({"signature_name": "whole", "inputs": [1.0, 2.0]}, {"outputs": 3.0}),
        (
            {"signature_name": "unbatched", "inputs": {"matrix": [[1, 2, 3], [4, 5, 6]], "factor": 2}},
            {"outputs": [[2.0, 4.0, 6.0], [8.0, 10.0, 12.0]]},
        ),
        ({"signature_name": "half", "instances": list(range(700))}, {"predictions": [x / 2 for x in range(700)]}),
        ({"signature_name": "half", "instances": [1.0625] * 9000}, {"predictions": [0.53125] * 9000}),
    ]
    requests = [("POST", "/v1/models/m:predict", body) for body, _ in cases]
    for (status, answer), (body, expected) in zip(
        ask(arithmetic, *requests, limits=Limits(examples=9000)), cases, strict=True
    ):
        assert (status, answer) == (200, expected), body


def test_classify_and_regress(arithmetic):
    examples = {"examples": [{"x": 0.25}, {"x": 1.0}]}
    answers = ask(
        arithmetic,
        ("POST", "/v1/models/m:classify", {"signature_name": "classify", **examples}),
        ("POST", "/v1/models/m/versions/1:regress", {"signature_name": "regress", **examples}),
        ("POST", "/v1/models/m:regress", {"signature_name": "regress", "context": {"x": 3.0}, "examples": [{}]}),
        ("POST", "/v1/models/m:regress", {"signature_name": "regress", "examples": [{"x": 1}]}),
        ("POST", "/v1/models/m:regress", {"signature_name": "regress", "examples": [{}]}),
        ("POST", "/v1/models/m:classify", examples),
        ("POST", "/v1/models/m:classify", {"signature_name": "nothing", **examples}),
        ("POST", "/v1/models/m:regress", {"signature_name": "classify", **examples}),
    )
    assert answers[0] == (200, {"results": [[["no", 0.75], ["yes", 0.25]], [["no", 0.0], ["yes", 1.0]]]})
    assert answers[1] == (200, {"results": [0.125, 0.5]})
    assert answers[2] == (200, {"results": [1.5]})
    messages = [(status, answer["error"]) for status, answer in answers[3:]]
    assert [status for status, _ in messages] == [400] * 5
    for (_, message), expected in zip(
        messages,
        [
            "Data types don't match",
            "Feature: x (data type: float) is required",
            "method_name to be tensorflow/serving/classify. Was: tensorflow/serving/predict",
            "No signature was found with the name: nothing",
            "method_name to be tensorflow/serving/regress. Was: tensorflow/serving/classify",
        ],
        strict=True,
    ):
        assert expected in message
        assert "node" not in message


def test_status_and_metadata(arithmetic):
    status, metadata, of_label, *errors = ask(
        arithmetic,
        ("GET", "/v1/models/m"),
        ("GET", "/v1/models/m/versions/1/metadata"),
        ("GET", "/v1/models/m/labels/stable"),
        ("GET", "/v1/models/m/versions/7"),
        ("GET", "/v1/models/other"),
        ("GET", "/v1/models/m/versions/7/metadata"),
        ("GET", "/v1/models"),
    )
    available = {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    assert status == (200, {"model_version_status": [available]})
    code, answer = metadata
    assert code == 200
    assert answer["model_spec"] == {"name": "m", "signature_name": "", "version": "1"}
    assert answer["metadata"]["signature_def"]["signature_def"]["regress"] == {
        "inputs": {
            "inputs": {
                "dtype": "DT_STRING",
                "name": "regress_inputs:0",
                "tensor_shape": {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False},
            }
        },
        "outputs": {
            "outputs": {
                "dtype": "DT_FLOAT",
                "name": answer["metadata"]["signature_def"]["signature_def"]["regress"]["outputs"]["outputs"]["name"],
                "tensor_shape": {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False},
            }
        },
        "method_name": "tensorflow/serving/regress",
        "defaults": {},
    }
    assert of_label == (400, {"error": "Unrecognized servable version label: stable"})
    assert errors == [
        (404, {"error": "Could not find version 7 of model m"}),
        (404, {"error": "Could not find any versions of model other"}),
        (404, {"error": "Servable not found for request: Specific(m, 7)"}),
        (400, {"error": "Missing model name in request."}),
    ]


ERRORS = [
    (("POST", "/v1/models/half:predict", {"instances": [1]}), 404, "Servable not found for request: Latest(half)"),
    (("POST", "/v1/models/m/versions/5:predict", {"instances": [1]}), 404, "Specific(m, 5)"),
    (("POST", "/v1/models/m:predict", b""), 400, "The document is empty"),
    (("POST", "/v1/models/m:predict", b"{"), 400, "JSON Parse error"),
    (("POST", "/v1/models/m:predict", {"signature_name": "hlf", "instances": [1]}), 400, '"hlf" not found'),
    (("POST", "/v1/models/m:predict", {"instances": [{**_ROW, "a": 300}]}), 400, "outside the range of uint8"),
    (("POST", "/v1/models/m:predict", {"inputs": {"z": [[1, 2]], "a": [1, 2]}}), 400, "same number of examples"),
    (("POST", "/v1/models/m:predict", {"signature_name": "root", "instances": [-1]}), 400, "must not be negative"),
    (
        ("POST", "/v1/models/m:predict", {"signature_name": "encoded", "instances": [{"b64": "AAAA"}]}),
        400,
        "Unknown image file format",
    ),
    (("POST", "/v1/models/m:predict", {"signature_name": "whole", "instances": [1]}), 400, "Ask with 'inputs'"),
    (("POST", "/v1/models/m:predict", {"signature_name": "half", "instances": [1] * 1025}), 400, "limit is 1024"),
    (("POST", "/v1/models/m", b"{}"), 400, "Malformed request: POST /v1/models/m"),
    (("GET", "/v1/models/m:predict"), 400, "Malformed request"),
    (("DELETE", "/v1/models/m:predict"), 400, "Malformed request: DELETE"),
    (("OPTIONS", "/v1/models/m:predict"), 400, "Malformed request: OPTIONS"),
    (("GET", "/"), 404, "Not found: /"),
    (("GET", "/index.html"), 404, "Not found: /index.html"),
    (("POST", "/v1/../etc/passwd"), 404, "Not found"),
]


@pytest.fixture(scope="module")
def refused(arithmetic):
    """Answers to the requests above, of one server."""
    return ask(arithmetic, *(request for request, _, _ in ERRORS))


@pytest.mark.parametrize("index", range(len(ERRORS)), ids=lambda index: str(ERRORS[index][2]))
def test_errors(refused, index):
    _, status, message = ERRORS[index]
    code, answer = refused[index]
    assert (code, set(answer)) == (status, {"error"})
    assert message in answer["error"]


def test_names_with_slashes(small):
    async def scenario(client):
        return (await client.get("/v1/models/team%2Fmodel")).status_code

    assert serve(scenario, ServedModel("team/model", small)) == 200


def test_a_joined_call_is_taken_apart_and_bad_neighbours_are_alone(small, monkeypatch):
    """With one call held, whoever comes meanwhile is joined; among them a bad image."""
    holding, released = threading.Event(), threading.Event()
    sizes = []
    run = LoadedSignature.run

    def held(self, arrays):
        if self.name == "root" and holding.is_set():
            sizes.append(len(arrays["x"]))
            assert released.wait(30)
        return run(self, arrays)

    monkeypatch.setattr(LoadedSignature, "run", held)

    async def scenario(client):
        def post(*numbers):
            body = {"signature_name": "root", "instances": list(numbers)}
            return asyncio.create_task(client.post("/v1/models/m:predict", json=body))

        holding.set()
        first = post(1)
        while not sizes:
            await asyncio.sleep(0.001)
        others = [post(4, 9), post(-1), post(16)]
        for _ in range(200):  # turns of the loop, in which they come to their places in the queue
            await asyncio.sleep(0)
        released.set()
        responses = await asyncio.gather(first, *others)
        page = (await client.get("/monitoring/prometheus/metrics")).text
        return [(response.status_code, response.json()) for response in responses], page

    answers, page = serve(scenario, ServedModel("m", small), batching=Batching(in_flight=1, max_delay_secs=0.0))
    assert answers[0] == (200, {"predictions": [1.0]})
    assert answers[1] == (200, {"predictions": [2.0, 3.0]})
    assert answers[2][0] == 400
    assert answers[3] == (200, {"predictions": [4.0]})
    assert sizes == [1, 4, 2, 1, 1]
    assert ':tensorflow:serving:request_count{model_name="m",status="OK"} 3.0' in page
    assert ':tensorflow:serving:request_count{model_name="m",status="400"} 1.0' in page


def test_outputs_of_unknown_shape_are_not_joined(arithmetic):
    async def scenario(client):
        def post(tokens):
            body = {"signature_name": "reversed", "instances": [tokens]}
            return client.post("/v1/models/m:predict", json=body)

        responses = await asyncio.gather(*(post([number, 1]) for number in range(12)))
        page = (await client.get("/monitoring/prometheus/metrics")).text
        return [response.json()["predictions"][0]["tokens"] for response in responses], page

    answers, page = serve(scenario, ServedModel("m", arithmetic))
    assert answers == [[1, number] for number in range(12)]
    assert ':tensorflow:serving:batching_session:processed_batch_size_bucket{le="1.0",model_name="m"} 12.0' in page


def test_limits(arithmetic):
    body = json.dumps({"signature_name": "half", "instances": [1] * 100}).encode()
    zipped = gzip.compress(b'{"signature_name": "half", "instances": [' + b" " * 2_000_000 + b"1]}")

    async def scenario(client):
        async def in_pieces():
            for _ in range(1000):
                yield b"x" * 1000

        async def post(content, **headers):
            response = await client.post("/v1/models/m:predict", content=content, headers=headers)
            assert response.json().keys() in ({"error"}, {"predictions"})
            return response.status_code

        return [
            await post(body),
            await post(body + b" " * 1000),
            await post(in_pieces()),
            await post(gzip.compress(body), **{"content-encoding": "gzip"}),
            await post(zipped, **{"content-encoding": "GZIP"}),
            await post(b"no gzip", **{"content-encoding": "gzip"}),
            await post(body),
        ]

    statuses = serve(scenario, ServedModel("m", arithmetic), limits=Limits(body_bytes=1000))
    assert statuses == [200, 413, 413, 200, 413, 400, 200]
    assert serve(scenario, ServedModel("m", arithmetic), limits=Limits(pending_bytes=10))[0] == 503
    with pytest.raises(ValueError, match="Limits must be positive"):
        Limits(examples=0)


def test_many_lists_set_off_no_collections(arithmetic):
    """Each hundreds of them would, and each collection looks through those that are there."""
    body = b'{"signature_name": "reversed", "instances": [' + b"[]," * 100_000 + b"[1]]}"
    collections = []

    def count(phase, info):
        collections.append(phase)

    async def scenario(client):
        gc.callbacks.append(count)
        try:
            response = await client.post("/v1/models/m:predict", content=body)
        finally:
            gc.callbacks.remove(count)
        return response.status_code, gc.isenabled()

    assert serve(scenario, ServedModel("m", arithmetic)) == (400, True)
    assert len(collections) < 50


def test_a_request_that_takes_too_long(arithmetic):
    async def stalled():
        yield b"{"
        await asyncio.Event().wait()

    async def scenario(client):
        response = await client.post("/v1/models/m:predict", content=stalled())
        return response.status_code, response.json()

    answer = serve(scenario, ServedModel("m", arithmetic), limits=Limits(timeout_secs=0.1))
    assert answer == (504, {"error": "No answer within 0.1 seconds."})


def test_an_image_that_would_take_gigabytes(arithmetic):
    jpeg = bytearray(tf.io.encode_jpeg(np.zeros((5, 4, 1), np.uint8)).numpy())
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = 2 * (40_000).to_bytes(2, "big")
    image = {"b64": base64.b64encode(jpeg).decode()}
    answers = ask(
        arithmetic,
        ("POST", "/v1/models/m:predict", {"signature_name": "encoded", "instances": [image]}),
        ("POST", "/v1/models/m:regress", {"signature_name": "regress", "examples": [{"image": image, "x": 1.0}]}),
    )
    message = "An image has 1,600,000,000 pixels, the limit is 67,108,864."
    assert answers == [(413, {"error": message})] * 2


def test_many_images_of_one_request(arithmetic):
    image = {"b64": base64.b64encode(tf.io.encode_png(np.zeros((30, 30, 1), np.uint8)).numpy()).decode()}
    requests = [
        ("POST", "/v1/models/m:predict", {"signature_name": "encoded", "instances": [image] * count})
        for count in (2, 3)
    ]
    within, beyond = ask(arithmetic, *requests, limits=Limits(request_pixels=2000))
    assert within[0] == 200
    assert beyond == (413, {"error": "The request's images have more than 2,000 pixels. Send several requests."})


def test_an_image_in_too_many_pieces(arithmetic):
    image = {"b64": base64.b64encode(b"\xff\xd8" + b"\xff\xe1\x00\x02" * 30_000).decode()}
    (answer,) = ask(arithmetic, ("POST", "/v1/models/m:predict", {"signature_name": "encoded", "instances": [image]}))
    assert answer[0] == 400
    assert answer[1]["error"].startswith("Images are in too many pieces to find their sizes")


@pytest.mark.parametrize("module", ["starlette.applications", "prometheus_client"])
def test_without_the_extra(small, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    package = module.partition(".")[0]
    with pytest.raises(ImportError, match=rf"needs {package}, .* pip install \"keras-shipyard\[server\]\""):
        create_app([ServedModel("m", small)])


def test_who_hangs_up(small):
    async def scenario(client):
        server = Server([ServedModel("n", small)], Limits(), Batching(), 1.0)
        sent = []

        async def receive():
            return {"type": "http.disconnect"}

        async def send(message):
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/v1/models/n:predict", "headers": [], "query_string": b""}
        await server(scope, receive, send)
        return sent[0]["status"], server._pending_bytes

    assert serve(scenario, ServedModel("m", small)) == (499, 0)


def test_who_hangs_up_while_waiting_is_not_computed(small, monkeypatch):
    run, begun, computed, go_on = LoadedSignature.run, threading.Event(), [], threading.Event()

    def slow(self, arrays):
        if set(numbers := np.ravel(arrays.get("a", ())).tolist()) & {1, 2, 3}:  # not what loading asks
            begun.set()
            go_on.wait(60)
            computed.extend(numbers)
        return run(self, arrays)

    monkeypatch.setattr(LoadedSignature, "run", slow)
    # Each alone, one at a time: the second waits for the first.
    server = Server([ServedModel("n", small)], Limits(), Batching(max_size=1, in_flight=1), 1.0)

    def call(number, hangs_up):
        body = json.dumps({"instances": [{"z": [1, 2], "a": number}]}).encode()
        messages = [{"type": "http.request", "body": body}]
        statuses = []

        async def receive():
            if messages:
                return messages.pop()
            await hangs_up.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            statuses.append(message.get("status"))

        scope = {"type": "http", "method": "POST", "path": "/v1/models/n:predict", "headers": [], "query_string": b""}
        return server(scope, receive, send), statuses

    async def scenario():
        async with server.lifespan(None):
            never, now = asyncio.Event(), asyncio.Event()
            calls = [call(1, never), call(2, now), call(3, never)]
            first, gone, last = (asyncio.create_task(running) for running, _ in calls)
            await asyncio.to_thread(begun.wait, 60)
            now.set()
            await gone  # while the first is still being computed
            go_on.set()
            await asyncio.gather(first, last)
            return [statuses[0] for _, statuses in calls], server._pending_bytes

    assert asyncio.run(scenario()) == ([200, 499, 200], 0)
    assert computed == [1, 3]


def test_a_mistake_of_ours_is_an_error_of_one_request(arithmetic, monkeypatch):
    run = LoadedSignature.run

    def broken(self, arrays):
        if len(arrays.get("x", ())) == 3:
            raise KeyError("a bug")
        return run(self, arrays)

    monkeypatch.setattr(LoadedSignature, "run", broken)
    bad, good = ask(
        arithmetic,
        ("POST", "/v1/models/m:predict", {"signature_name": "half", "instances": [1, 2, 3]}),
        ("POST", "/v1/models/m:predict", {"signature_name": "half", "instances": [1]}),
    )
    assert bad == (500, {"error": "Internal error: KeyError"})
    assert good == (200, {"predictions": [0.5]})


def test_health_and_readiness(small, tmp_path):
    async def scenario(client):
        return [(r.status_code, r.text) for r in (await client.get("/healthz"), await client.get("/readyz"))]

    assert serve(scenario, ServedModel("m", small)) == [(200, "ok"), (200, "ok")]
    there, missing = ServedModel("m", small), ServedModel("n", tmp_path)
    assert serve(scenario, there, missing) == [(200, "ok"), (503, "not available: n")]


def test_names_of_models_are_their_own(small):
    with pytest.raises(ValueError, match=r"names of their own, got \['m', 'm'\]"):
        create_app([ServedModel("m", small), ServedModel("m", small)])
    with pytest.raises(ValueError, match="names of their own"):
        create_app([])


def test_a_hot_swap_under_load_drops_nothing(small, offset_by_100, tmp_path):
    """Clients ask all the time while versions come and go; every answer is right for some version that was there."""
    base = tmp_path / "versions"
    shutil.copytree(small, base / "1")

    async def scenario(client):
        stop = asyncio.Event()
        answers = []

        async def ask_on():
            while not stop.is_set():
                response = await client.post("/v1/models/m:predict", json={"instances": [_ROW]})
                answers.append((response.status_code, response.json()["predictions"][0]["total"]))

        async def version():
            return (await client.get("/v1/models/m")).json()["model_version_status"]

        clients = [asyncio.create_task(ask_on()) for _ in range(4)]
        for number in range(2, 5):
            await asyncio.to_thread(shutil.copytree, (offset_by_100, small)[number % 2], base / f".tmp-{number}")
            os.rename(base / f".tmp-{number}", base / str(number))
            while (await version())[0]["version"] != str(number) or (await version())[0]["state"] != "AVAILABLE":
                await asyncio.sleep(0.01)
            if number == 3:
                shutil.rmtree(base / "2")
        count = len(answers)
        while len(answers) < count + 8:  # those that are answered by the last one
            await asyncio.sleep(0.01)
        stop.set()
        await asyncio.gather(*clients)
        return answers, await version()

    answers, versions = serve(scenario, ServedModel("m", base), poll_secs=0.02)
    assert {status for status, _ in answers} == {200}
    totals = [total for _, total in answers]
    assert totals[0] == 6.5
    assert totals[-1] == 106.5
    assert set(totals) == {6.5, 106.5}
    assert [version["state"] for version in versions] == ["AVAILABLE", "END", "END", "END"]


def test_many_clients(arithmetic):
    """Answers are those of the request that was sent, however they were joined."""

    async def scenario(client):
        async def one(number):
            body = {"signature_name": "half", "instances": [number] * (1 + number % 3)}
            response = await client.post("/v1/models/m:predict", json=body)
            return response.json() == {"predictions": [number / 2] * (1 + number % 3)}

        return all(await asyncio.gather(*(one(number) for number in range(200))))

    assert serve(scenario, ServedModel("m", arithmetic))


def test_the_event_loop_is_free_while_tensorflow_computes(arithmetic, monkeypatch):
    released = threading.Event()
    run = LoadedSignature.run

    def slow(self, arrays):
        if self.name == "half" and arrays["x"].size == 5:
            assert released.wait(30)
        return run(self, arrays)

    monkeypatch.setattr(LoadedSignature, "run", slow)

    async def scenario(client):
        body = {"signature_name": "half", "instances": [1] * 5}
        waiting = asyncio.create_task(client.post("/v1/models/m:predict", json=body))
        health = [(await client.get("/healthz")).status_code for _ in range(20)]
        other = await client.post("/v1/models/m:predict", json={"signature_name": "root", "instances": [4]})
        was_waiting = not waiting.done()
        released.set()
        return health, other.json(), was_waiting, (await waiting).json()

    health, other, was_waiting, answer = serve(scenario, ServedModel("m", arithmetic))
    assert health == [200] * 20
    assert other == {"predictions": [2.0]}
    assert was_waiting
    assert answer == {"predictions": [0.5] * 5}
