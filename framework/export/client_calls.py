"""One ready call of each signature over the network, with a real example: by REST and by gRPC."""

from __future__ import annotations

import base64
import json
import pathlib
import shlex
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import json_format

from framework.export.held_out import Arrays
from framework.export.method_names import CLASSIFY, INPUTS, REGRESS

REQUESTS = pathlib.Path("assets.extra", "requests")
MODEL = "model"
_REST = f"http://localhost:8501/v1/models/{MODEL}"
_GRPC = "localhost:8500"
_SERVICE = "tensorflow.serving.PredictionService"
# TensorFlow Serving has no reflection: a client brings the descriptions, as tensorflow/serving has them.
_PROTOS = "-import-path serving -import-path tensorflow -proto tensorflow_serving/apis/prediction_service.proto"
# What is longer lies in a file beside.
_MAX_INLINE = 1500
_DIGITS = 6


def client_calls(export_dir: pathlib.Path, signature: str, method: str, request: Arrays) -> dict[str, str]:
    """Commands that call a signature: `{"curl": ..., "grpcurl": ...}`.

    Long requests are written into the export, `assets.extra/requests/`; the commands are meant for its directory.

    Args:
        export_dir: An export that isn't published yet.
        signature: Its name.
        method: `"predict"`, `"classify"` or `"regress"`.
        request: `{input: [batch, ...]}`.
    """
    rest, grpc = rest_request(signature, method, request), grpc_request(signature, method, request)
    return {
        "curl": f"curl -d {_argument(export_dir, f'{signature}.json', rest, '@')} {_REST}:{method}",
        "grpcurl": (
            f"grpcurl -plaintext {_PROTOS} -d {_argument(export_dir, f'{signature}.grpc.json', grpc, '')} "
            f"{_GRPC} {_SERVICE}/{method.capitalize()}"
        ),
    }


def _argument(export_dir: pathlib.Path, name: str, request: Mapping[str, Any], at: str) -> str:
    """The request in quotes; or, where it is long, what makes the client read it from a file."""
    text = json.dumps(request)
    if len(text) <= _MAX_INLINE:
        return shlex.quote(text)
    path = export_dir / REQUESTS / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n", encoding="utf-8")
    return f"@{REQUESTS / name}" if at else f"@ < {REQUESTS / name}"


def rest_request(signature: str, method: str, request: Arrays) -> dict[str, Any]:
    """The body of a call of TensorFlow Serving's REST API. Real numbers are rounded to six digits."""
    if method in (CLASSIFY, REGRESS):
        examples = [_features(tf.train.Example.FromString(proto)) for proto in request[INPUTS]]
        return {"signature_name": signature, "examples": examples}
    return {"signature_name": signature, "inputs": {name: _rest_values(value) for name, value in request.items()}}


def _rest_values(value: np.ndarray) -> Any:
    if value.dtype.kind in "OSU":
        return [_rest_values(row) for row in value] if value.ndim > 1 else [_text(item) for item in value.tolist()]
    return _rounded(value.tolist())


def _features(example: tf.train.Example) -> dict[str, Any]:
    """A `tf.Example` as the REST API has it: a list of one is a single value."""
    found: dict[str, Any] = {}
    for name, feature in example.features.feature.items():
        kind = feature.WhichOneof("kind")
        values = list(getattr(feature, kind).value) if kind else []
        values = [_text(value) if isinstance(value, bytes) else _rounded(value) for value in values]
        found[name] = values[0] if len(values) == 1 else values
    return found


def _text(value: str | bytes) -> Any:
    """Text as text, other bytes in base64."""
    if isinstance(value, bytes):
        text = value.decode("utf-8", errors="replace")
        if "\ufffd" in text or not all(character.isprintable() or character.isspace() for character in text):
            return {"b64": base64.b64encode(value).decode("ascii")}
        return text
    return value


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value


def grpc_request(signature: str, method: str, request: Arrays) -> dict[str, Any]:
    """The message of a call of TensorFlow Serving's gRPC API, as protobuf's JSON has it."""
    spec = {"modelSpec": {"name": MODEL, "signatureName": signature}}
    if method in (CLASSIFY, REGRESS):
        examples = [json_format.MessageToDict(tf.train.Example.FromString(proto)) for proto in request[INPUTS]]
        return {**spec, "input": {"exampleList": {"examples": examples}}}
    inputs = {name: json_format.MessageToDict(tf.make_tensor_proto(value)) for name, value in request.items()}
    return {**spec, "inputs": inputs}
