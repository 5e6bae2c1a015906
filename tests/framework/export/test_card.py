"""The model card, and the calls in it."""

import asyncio
import json
import re
import shlex

import httpx
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import json_format
from tensorflow_serving.apis import classification_pb2, predict_pb2, regression_pb2

from framework.export.card import write_card
from framework.export.client_calls import client_calls, grpc_request, rest_request
from framework.export.versions import read_manifest
from framework.serving.rest.examples import serialized_examples
from framework.serving.rest.requests import predict_inputs
from framework.serving.server import ServedModel, create_app


@pytest.fixture(scope="module")
def card(full):
    return (full.path / "model_card.md").read_text(encoding="utf-8")


def tables(text):
    """`{heading: rows}` of the tables, cells as text."""
    found = {}
    heading = ""
    for line in text.splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        elif line.startswith("|"):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            found.setdefault(heading, []).append(cells)
    return found


def test_tables_have_as_many_cells_in_every_row(card):
    for heading, rows in tables(card).items():
        assert len({len(row) for row in rows}) == 1, heading
        assert set(rows[1]) == {"---"}, heading


def test_what_it_says(full, card):
    found = tables(card)
    assert card.startswith("# ToyTable, version 1\n\nEpoch 2, 20 optimizer steps, ")
    assert ["`val_accuracy`", *[f"{full.metrics['val_accuracy']:.5g}"] * 2] in found["Metrics"]
    matrix = read_manifest(full.path)["confusion"][""]["matrix"]
    assert found["Confusion"][2:] == [["stays", *map(str, matrix[0])], ["leaves", *map(str, matrix[1])]]
    [colour] = [row for row in found["Data and intended inputs"] if row[0] == "`colour`"]
    assert colour[1:3] == ["string", "[batch]"]
    assert re.fullmatch(r"blue \(\d+\), green \(\d+\), red \(\d+\)", colour[3])
    assert [row[0] for row in found["By shop"][2:]] == ["14", "15", "3", "92"]
    assert [row[0] for row in found["Proof"][2:]] == [
        f"`{name}`" for name in ("serving_default", "serialized", "features", "saliency", "classify")
    ]
    assert "Formats" not in found


def commands(card, tool):
    """The calls of a tool, `{signature: words}`."""
    found = {}
    signature = None
    for line in card.splitlines():
        heading = re.fullmatch(r"### `(\w+)`", line)
        signature = heading[1] if heading else signature
        if line.startswith(f"{tool} "):
            found[signature] = shlex.split(line)
    return found


def expected_arrays(full):
    return full.exporter.requests.of(1)


def test_curl_sends_a_real_example(full, card):
    found = commands(card, "curl")
    assert set(found) == set(full.exporter.signatures.functions)
    for name, (_, _, body, url) in found.items():
        document = json.loads(body)
        assert document["signature_name"] == name
        assert url == f"http://localhost:8501/v1/models/model:{'classify' if name == 'classify' else 'predict'}"
        if name == "classify":
            got = full.pipeline.parse(tf.constant(serialized_examples(document)))
            expected = full.pipeline.parse(tf.constant(expected_arrays(full)[name]["inputs"]))
        else:
            specs = {key: feature.spec(key) for key, feature in full.exporter.signatures.inputs[name].items()}
            got, _ = predict_inputs(document, specs)
            expected = expected_arrays(full)[name]
        for key, value in expected.items():
            assert_close(got[key], value)


def test_the_server_answers_what_curl_sends(full, card):
    """As the signature does, asked without rounding."""
    loaded = tf.saved_model.load(str(full.path))

    async def answers():
        app = create_app([ServedModel("model", full.path.parent)])
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client,
        ):
            return {
                name: await client.post(url, content=body) for name, (_, _, body, url) in commands(card, "curl").items()
            }

    for name, response in asyncio.run(answers()).items():
        assert response.status_code == 200, response.text
        request = {key: tf.constant(value) for key, value in expected_arrays(full)[name].items()}
        expected = loaded.signatures[name](**request)
        if name == "classify":
            ((label, score),) = [max(row, key=lambda pair: pair[1]) for row in response.json()["results"]]
            best = np.argmax(expected["scores"])
            assert label == expected["classes"].numpy()[0, best].decode()
            assert score == pytest.approx(float(expected["scores"][0, best]), rel=1e-4)
            continue
        outputs = response.json()["outputs"]
        assert set(outputs) == set(expected)
        for key, value in expected.items():
            got = np.asarray(outputs[key])
            if value.dtype == tf.string:
                assert got.tolist() == np.vectorize(bytes.decode)(value.numpy()).tolist()
            else:
                np.testing.assert_allclose(got, value, rtol=1e-3, atol=1e-5)


def assert_close(got, expected):
    got, expected = np.asarray(got), np.asarray(expected)
    if expected.dtype.kind in "OSU":
        assert [tf.compat.as_bytes(item) for item in got] == [tf.compat.as_bytes(item) for item in expected]
    else:
        np.testing.assert_allclose(got, expected, rtol=1e-5)  # rounded to six digits


def test_grpcurl_sends_a_real_example(full, card):
    found = commands(card, "grpcurl")
    assert set(found) == set(full.exporter.signatures.functions)
    for name, words in found.items():
        body, (address, method) = words[words.index("-d") + 1], words[-2:]
        assert address == "localhost:8500"
        assert method == f"tensorflow.serving.PredictionService/{'Classify' if name == 'classify' else 'Predict'}"
        expected = expected_arrays(full)[name]
        if name == "classify":
            request = json_format.Parse(body, classification_pb2.ClassificationRequest())
            assert request.input.example_list.examples[0] == tf.train.Example.FromString(expected["inputs"][0])
        else:
            request = json_format.Parse(body, predict_pb2.PredictRequest())
            assert request.inputs.keys() == expected.keys()
            for key, value in expected.items():
                assert_close(tf.make_ndarray(request.inputs[key]), value)
        assert (request.model_spec.name, request.model_spec.signature_name) == ("model", name)


def test_long_requests_lie_in_files_beside(tmp_path):
    image = {"image": np.zeros((1, 40, 40, 3), np.uint8)}
    calls = client_calls(tmp_path, "serving_default", "predict", image)
    assert calls["curl"].startswith("curl -d @assets.extra/requests/serving_default.json http://")
    assert " -d @ < assets.extra/requests/serving_default.grpc.json localhost:8500 " in calls["grpcurl"]
    folder = tmp_path / "assets.extra" / "requests"
    rest = json.loads((folder / "serving_default.json").read_text())
    assert rest == rest_request("serving_default", "predict", image)
    grpc = json_format.Parse((folder / "serving_default.grpc.json").read_text(), predict_pb2.PredictRequest())
    np.testing.assert_array_equal(tf.make_ndarray(grpc.inputs["image"]), image["image"])


def test_bytes_and_quotes_survive():
    values = np.array([b"\xff\x00", b"it's", b"\x01", "gr\u00fcn".encode()], object)
    body = rest_request("s", "predict", {"x": values})
    assert body["inputs"]["x"] == [{"b64": "/wA="}, "it's", {"b64": "AQ=="}, "gr\u00fcn"]
    got, _ = predict_inputs(body, {"x": tf.TensorSpec((None,), tf.string)})
    assert [tf.compat.as_bytes(item) for item in got["x"]] == values.tolist()


def test_a_regression_is_asked_by_examples():
    proto = tf.train.Example(
        features=tf.train.Features(
            feature={
                "x": tf.train.Feature(float_list=tf.train.FloatList(value=[1.5, 2.0])),
                "n": tf.train.Feature(int64_list=tf.train.Int64List(value=[3])),
            }
        )
    ).SerializeToString()
    request = {"inputs": np.array([proto], object)}
    assert rest_request("regress", "regress", request)["examples"] == [{"x": [1.5, 2.0], "n": 3}]
    message = json_format.ParseDict(grpc_request("regress", "regress", request), regression_pb2.RegressionRequest())
    assert message.input.example_list.examples[0] == tf.train.Example.FromString(proto)


def test_what_is_missing_or_long_leaves_a_readable_card(full, tmp_path):
    manifest = read_manifest(full.path)
    classes = [f"class|{index}" for index in range(40)]
    matrix = np.diag(np.arange(1, 41))
    matrix[3, 5] = 9
    worst = [["cat", "dog", 7]]
    manifest |= {
        "task": {"type": "Heads", "tasks": {"a": {"type": "Classification", "class_names": classes}}},
        "confusion": {
            "a": {"class_names": classes, "matrix": matrix.tolist()},
            "b": {"classes": 900, "correct": 80, "of": 99, "worst": worst},
        },
        "data": None,
        "slices": {"shop": {}},
        "metrics": {"loss": "NaN"},
        "proof": {"batch_sizes": [1, 3], "not_called": {"own": "nobody knows"}, "metrics": {"not_computed": "so"}},
        "formats": [
            {
                **{"format": "litert", "signature": "features", "size_bytes": 2_500_000, "metric": "auc", "value": 0.9},
                **{"latency_ms": {"1": 0.5, "32": 4.0}, "max_difference": 1e-6},
            }
        ],
        "formats_refused": {"litert_int8": "auc goes from 0.9 to 0.5\nmore"},
    }
    write_card(tmp_path, manifest, {})
    text = (tmp_path / "model_card.md").read_text(encoding="utf-8")
    found = tables(text)
    assert all(len({len(row) for row in rows}) == 1 for rows in found.values())
    assert found["Confusion of a"][2] == ["class\\|3", "class\\|5", "9"]
    assert "820 of 829 correct" in text
    assert found["Confusion of b"][2] == ["cat", "dog", "7"]
    assert found["Metrics"][2] == ["`loss`", "NaN", ""]
    assert "Not recomputed through a signature: so." in text
    assert found["Formats"][2] == ["`litert`", "`features`", "2.50 MB", "0.50 ms", "4.00 ms", "auc 0.9", "1e-06"]
    assert "`litert_int8` is missing: auc goes from 0.9 to 0.5\n" in text
    assert found["Proof"][-1] == ["`own`", "not called: nobody knows"]
    assert "and 25 more" in text
