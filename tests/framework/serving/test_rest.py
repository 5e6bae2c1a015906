"""The REST API's pure functions. Forms and statuses are those of TensorFlow Serving's documentation and tests."""

import base64
import gzip
import json
import math

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow.core.protobuf import error_codes_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2

from framework.serving.definitions import as_json, signature_definitions
from framework.serving.rest import answers
from framework.serving.rest.arrays import to_array
from framework.serving.rest.errors import RequestError, request_error
from framework.serving.rest.examples import serialized_examples
from framework.serving.rest.paths import Target, parse_path
from framework.serving.rest.requests import decompress, parse_json, predict_inputs, signature_name


def spec(dtype, *shape):
    return tf.TensorSpec(shape, dtype)


def parsed(document):
    return parse_json(json.dumps(document).encode())


ONE = {"x": spec("float32", None)}
THREE = {"tag": spec("string", None), "signal": spec("float32", None, 5), "sensor": spec("int32", None, 2, 2)}


@pytest.mark.parametrize(
    ("method", "path", "target"),
    [
        ("GET", "/v1/models/m", Target("m", "status")),
        ("GET", "/v1/models/m/versions/99", Target("m", "status", version=99)),
        ("GET", "/v1/models/m/labels/stable", Target("m", "status", label="stable")),
        ("GET", "/v1/models/m/metadata", Target("m", "metadata")),
        ("GET", "/v1/models/m/versions/099/metadata", Target("m", "metadata", version=99)),
        ("GET", "/v1/models/m/labels/a%2Fb%3Ac/metadata", Target("m", "metadata", label="a/b:c")),
        ("GET", "/V1/Models/M/Metadata", Target("M", "metadata")),
        ("POST", "/v1/models/m:predict", Target("m", "predict")),
        ("POST", "/v1/models/m%21%2F%3A%5B%5D:classify", Target("m!/:[]", "classify")),
        ("POST", "/v1/models/m/versions/9223372036854775807:regress", Target("m", "regress", version=2**63 - 1)),
        ("POST", "/v1/models/m/labels/stable:predict", Target("m", "predict", label="stable")),
        ("POST", "/v1/models/m:PREDICT", Target("m", "predict")),
    ],
)
def test_paths(method, path, target):
    assert parse_path(method, path) == target


@pytest.mark.parametrize(
    ("method", "path", "message"),
    [
        ("GET", "/v1/foo", "Malformed request: GET /v1/foo"),
        ("GET", "/v1/models/m:predict", "Malformed request"),
        ("GET", "/v1/models/debug/m", "Malformed request"),
        ("GET", "/v1/models", "Missing model name"),
        ("POST", "/v1/models", "Malformed request"),
        ("POST", "/v1/models/m", "Malformed request"),
        ("POST", "/v1/models/m/metadata", "Malformed request"),
        ("POST", "/v1/models/m/version/50:regress", "Malformed request"),
        ("POST", "/v1/models/m/versions/HELLO:regress", "Malformed request"),
        ("POST", "/v1/models/m/versions/-1:regress", "Malformed request"),
        ("POST", "/v1/models/m/versions/٣:regress", "Malformed request"),
        ("POST", "/v1/models/m/versions/50/labels/l:regress", "Malformed request"),
        ("POST", "/v1/models/m/versions/18446744073709551615:predict", "Failed to convert version"),
        ("POST", f"/v1/models/m/versions/{'9' * 5000}:predict", "Failed to convert version"),
        ("PUT", "/v1/models/m:predict", "Malformed request: PUT"),
    ],
)
def test_malformed_paths(method, path, message):
    with pytest.raises(RequestError, match=message) as caught:
        parse_path(method, path)
    assert caught.value.status == 400


def test_targets_in_messages():
    assert str(Target("half", "predict")) == "Latest(half)"
    assert str(Target("half", "predict", version=50)) == "Specific(half, 50)"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "The document is empty"),
        (b" \n", "The document is empty"),
        (b"instances = [1, 2]", "at offset: 0"),
        (b'{"instances": [1,]}', "at offset"),
        (b"[1]", r"\[1\] Is not object"),
        (b"3", "Is not object"),
        (b'{"a": "\xff"}', "not UTF-8 at offset: 7"),
        (b'{"a": ' + b"9" * 5000 + b"}", "a number is too long"),
        (b'{"a": ' + b"[" * 200_000, "nested too deeply"),
        (b'{"a": ' + b'{"b":' * 200_000, "nested too deeply"),
        (b'{"a": 1} {"b": 2}', "at offset: 9"),
        (b'{"instances": [1], "instances": [2]}', "an object has the key 'instances' twice"),
        (b'{"instances": [{"x": 1, "y": 2, "x": 3}]}', "an object has the key 'x' twice"),
        (b"{" + b'"a": 1, ' * 100_000 + b'"a": 1}', "the key 'a' twice"),
    ],
)
def test_bodies_that_are_no_json_object(body, message):
    with pytest.raises(RequestError, match=message) as caught:
        parse_json(body)
    assert caught.value.status == 400
    assert len(str(caught.value)) < 200


def test_json_has_more_numbers_than_the_standard():
    document = parse_json(b'\xef\xbb\xbf{"instances": [NaN, Infinity, -Infinity, 1e3]}')
    arrays, _ = predict_inputs(document, ONE)
    np.testing.assert_array_equal(arrays["x"], np.asarray([np.nan, np.inf, -np.inf, 1000], np.float32))


def test_gzip():
    plain = b'{"instances": [1]}'
    assert decompress(gzip.compress(plain), 18) == plain
    for body, limit, status in (
        (gzip.compress(plain), 17, 413),
        (gzip.compress(b"0" * 10_000_000), 1000, 413),
        (plain, 1000, 400),
        (gzip.compress(plain)[:-3], 1000, 400),
        (gzip.compress(plain) + gzip.compress(plain), 1000, 400),
        (gzip.compress(plain) + b"more", 1000, 400),
        (b"", 1000, 400),
    ):
        with pytest.raises(RequestError) as caught:
            decompress(body, limit)
        assert caught.value.status == status


def test_signature_names():
    assert signature_name({}, "serving_default") == "serving_default"
    assert signature_name({"signature_name": ""}, "serving_default") == "serving_default"
    assert signature_name({"signature_name": "half"}, "serving_default") == "half"
    with pytest.raises(RequestError, match="'signature_name' key must be a string value, got 5"):
        signature_name({"signature_name": 5}, "serving_default")


@pytest.mark.parametrize(
    ("document", "inputs", "expected"),
    [
        ({"instances": [1.0, 2.0]}, ONE, {"x": [1.0, 2.0]}),
        ({"instances": [{"x": 1}, {"x": 2.5}]}, ONE, {"x": [1.0, 2.5]}),
        ({"inputs": [1.0, 2.0]}, ONE, {"x": [1.0, 2.0]}),
        ({"inputs": {"x": [1.0, 2.0], "y": "passed over"}}, ONE, {"x": [1.0, 2.0]}),
        ({"instances": [[[1, 2]], [[3, 4]]]}, {"x": spec("int32", None, 1, 2)}, {"x": [[[1, 2]], [[3, 4]]]}),
        ({"instances": ["foo", {"b64": "/wA="}]}, {"s": spec("string", None)}, {"s": [b"foo", b"\xff\x00"]}),
        ({"instances": [[{"b64": "Zm9v"}], ["ö"]]}, {"s": spec("string", None, 1)}, {"s": [[b"foo"], ["ö".encode()]]}),
        ({"instances": [{"s": {"b64": "Zm9v"}}]}, {"s": spec("string", None)}, {"s": [b"foo"]}),
        ({"inputs": {"b64": "Zm9v"}}, {"s": spec("string")}, {"s": b"foo"}),
        ({"inputs": 3}, {"x": spec("int64")}, {"x": 3}),
        ({"inputs": []}, ONE, {"x": []}),
        ({"inputs": []}, {"x": spec("int32", None)}, {"x": []}),
        ({"inputs": [[], []]}, {"s": spec("string", None, None)}, {"s": [[], []]}),
        ({"inputs": [True, False]}, {"x": spec("bool", None)}, {"x": [True, False]}),
        ({"inputs": [[1, 2], [3, 4]]}, {"x": tf.TensorSpec(None, "float64")}, {"x": [[1.0, 2.0], [3.0, 4.0]]}),
        ({"inputs": [2**64 - 1, 1]}, {"x": spec("uint64", None)}, {"x": [2**64 - 1, 1]}),
        ({"inputs": [2**63 - 1, -(2**63)]}, {"x": spec("int64", None)}, {"x": [2**63 - 1, -(2**63)]}),
        ({"inputs": [2**80, 0.5]}, {"x": spec("float64", None)}, {"x": [2.0**80, 0.5]}),
        ({"instances": [2**24 - 1, 0.1]}, ONE, {"x": [16777215.0, 0.1]}),
    ],
)
def test_what_requests_mean(document, inputs, expected):
    arrays, is_row = predict_inputs(parsed(document), inputs)
    assert is_row == ("instances" in document)
    assert set(arrays) == set(inputs)
    for name, values in expected.items():
        is_text = inputs[name].dtype == tf.string
        assert arrays[name].dtype == (object if is_text else inputs[name].dtype.as_numpy_dtype)
        assert arrays[name].tolist() == (values if is_text else np.asarray(values, arrays[name].dtype).tolist())


_ROW = {"tag": "foo", "signal": [1, 2, 3, 4, 5], "sensor": [[1, 2], [3, 4]]}
_OTHER = {"tag": "bar", "signal": [3, 4, 1, 2, 5], "sensor": [[4, 5], [6, 8]]}


def test_rows_and_columns_mean_the_same():
    rows, _ = predict_inputs({"instances": [_ROW, _OTHER]}, THREE)
    columns, _ = predict_inputs({"inputs": {name: [_ROW[name], _OTHER[name]] for name in _ROW}}, THREE)
    assert rows["sensor"].tolist() == [_ROW["sensor"], _OTHER["sensor"]]
    for name in THREE:
        np.testing.assert_array_equal(rows[name], columns[name])


def _nested(value, depth):
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("document", "inputs", "message"),
    [
        ({}, ONE, "Missing 'inputs' or 'instances' key"),
        ({"instances": [1], "inputs": [1]}, ONE, "only one of 'inputs' or 'instances'"),
        ({"instances": 1}, ONE, "Expecting 'instances' to be a list"),
        ({"instances": {"x": 1}}, ONE, "Expecting 'instances' to be a list"),
        ({"instances": []}, ONE, "No values in 'instances'"),
        ({"instances": [1, 2]}, THREE, "plain list, but the signature has several inputs"),
        ({"instances": [{"x": 1}, 2]}, ONE, "Expecting object but got value/list at item 1"),
        ({"instances": [1, {"x": 2}]}, ONE, "Expecting value/list but got object at item 1"),
        ({"instances": [{"b64": "Zm9v"}, {"s": "foo"}]}, {"s": spec("string", None)}, "got object at item 1"),
        ({"instances": [_ROW, {**_OTHER, "more": 1}]}, THREE, "element: 1 .* must be equal to: sensor, signal, tag"),
        ({"instances": [_ROW, {"tag": "a"}]}, THREE, "element: 1 .* keys are tag"),
        ({"inputs": [1]}, THREE, "plain value/list, but the signature has several inputs"),
        ({"inputs": {"tag": ["a"]}}, THREE, "Missing named input: signal"),
        ({"inputs": {"y": [1]}}, ONE, "Missing named input: x in 'inputs' object, which has y"),
        ({"instances": [1, [2]]}, ONE, "values beside lists"),
        ({"instances": [[1, 2], [3]]}, {"x": spec("float32", None, 2)}, "lists of different lengths"),
        ({"instances": [["a"], ["a", "b"]]}, {"x": spec("string", None, 2)}, "lists of different lengths"),
        ({"instances": [["a"], "a"]}, {"x": spec("string", None, 1)}, "values beside lists"),
        ({"instances": ["a"]}, ONE, "not of expected type: float32"),
        ({"instances": [True]}, ONE, "not of expected type: float32"),
        ({"instances": [1.5, True]}, ONE, "not of expected type: float32"),
        ({"instances": [None]}, ONE, "not of expected type: float32"),
        ({"instances": [1.0, None]}, ONE, "not of expected type: float32"),
        ({"instances": [{"b64": "Zm9v"}]}, ONE, "not of expected type: float32"),
        ({"instances": [1]}, {"x": spec("bool", None)}, "not of expected type: bool"),
        ({"instances": [True, 1]}, {"x": spec("bool", None)}, "not of expected type: bool"),
        ({"instances": [1.0]}, {"x": spec("int32", None)}, "not of expected type: int32"),
        ({"instances": [2, True]}, {"x": spec("int32", None)}, "not of expected type: int32"),
        ({"instances": [2**31]}, {"x": spec("int32", None)}, "outside the range of int32"),
        ({"instances": [256]}, {"x": spec("uint8", None)}, "outside the range of uint8"),
        ({"instances": [-1]}, {"x": spec("uint64", None)}, "outside the range of uint64"),
        ({"instances": [2**63]}, {"x": spec("int64", None)}, "outside the range of int64"),
        ({"instances": [2**63, -1]}, {"x": spec("int64", None)}, "outside the range of int64"),
        ({"instances": [2**80]}, {"x": spec("int64", None)}, "outside the range of int64"),
        ({"instances": [float("nan")]}, {"x": spec("int64", None)}, "not of expected type: int64"),
        ({"instances": [10**400]}, ONE, "without loss of precision"),
        ({"instances": [10**400, 0.5]}, {"x": spec("float64", None)}, "without loss of precision"),
        ({"instances": [16777217]}, ONE, "without loss of precision"),
        ({"instances": [-(2**24)]}, ONE, "without loss of precision"),
        ({"instances": [9007199254740993]}, {"x": spec("float64", None)}, "without loss of precision"),
        ({"instances": [1.7e308]}, ONE, "without loss of precision"),
        ({"instances": [1]}, {"s": spec("string", None)}, "not of expected type: string"),
        ({"instances": [{"s": {"b64": 1}}]}, {"s": spec("string", None)}, "not of expected type: string"),
        ({"instances": [{"b64": "Zm9v!"}]}, {"s": spec("string", None)}, "isn't base64"),
        ({"instances": ["\ud800"]}, {"s": spec("string", None)}, "half of a surrogate pair"),
        ({"instances": [[1], [2]]}, ONE, r"'x' has shape \[2, 1\], expected is \[None\]"),
        ({"inputs": 1.0}, ONE, r"'x' has shape \[\], expected is \[None\]"),
        ({"instances": [[1.0, 2.0]]}, {"x": spec("float32", None, 3)}, r"\[1, 2\], expected is \[None, 3\]"),
        ({"instances": [1]}, {}, "takes no inputs"),
        ({"instances": _nested("a", 70)}, {"s": tf.TensorSpec(None, "string")}, "nested more than 64 deep"),
        ({"instances": _nested(1, 70)}, {"x": tf.TensorSpec(None, "float32")}, "nested more than 64 deep"),
    ],
)
def test_what_does_not_fit(document, inputs, message):
    with pytest.raises(RequestError, match=message) as caught:
        predict_inputs(parsed(document), inputs)
    assert caught.value.status == 400


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "complex64", "uint16"])
def test_dtypes_without_json(dtype):
    with pytest.raises(RequestError, match=f"is {dtype}, for which") as caught:
        to_array([1], tf.as_dtype(dtype), "x")
    assert caught.value.status == 501


def test_base64_may_lack_its_padding_and_have_lines():
    values = [{"b64": "/w"}, {"b64": ""}, {"b64": "Zm9v\nYmFy\n"}]
    assert to_array(values, tf.string, "s").tolist() == [b"\xff", b"", b"foobar"]


@pytest.mark.parametrize("number", [b"1e999", b"-1e999", b"1" * 400 + b".0"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_number_that_is_too_big_is_no_infinity(number, dtype):
    """Python's `json` says so; what was written as infinity is one."""
    body = b'{"instances": [' + number + b', Infinity], "examples": [{"x": ' + number + b"}]}"
    with pytest.raises(RequestError, match="without loss of precision"):
        predict_inputs(parse_json(body), {"x": spec(dtype, None)})
    with pytest.raises(RequestError, match="that float can't hold"):
        serialized_examples(parse_json(body))


@pytest.mark.parametrize("dtype", ["float32", "int32", "bool"])
def test_text_among_numbers_takes_no_memory(dtype):
    """NumPy would make an array of texts of it, each as long as the longest: here of 80 GB."""
    body = json.dumps({"instances": ["x" * 200_000] + [1] * 100_000}).encode()
    with pytest.raises(RequestError, match=f"'xxxxx.* is not of expected type: {dtype}"):
        predict_inputs(parse_json(body), {"x": spec(dtype, None)})


_LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just({"b64": "Zm9v"})
_JSON = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xab"), inner), max_leaves=12
)
_INPUTS = st.sampled_from([ONE, THREE, {"s": spec("string", None)}, {"i": tf.TensorSpec(None, "int8")}])


@settings(max_examples=150, deadline=None)
@given(_JSON, _INPUTS, st.sampled_from(["instances", "inputs"]))
def test_any_json_is_refused_or_fits(value, inputs, key):
    try:
        arrays, _ = predict_inputs({key: value}, inputs)
    except RequestError:
        return
    for name, array in arrays.items():
        assert inputs[name].shape.is_compatible_with(array.shape)
        assert array.dtype == (object if inputs[name].dtype == tf.string else inputs[name].dtype.as_numpy_dtype)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(width=32), max_size=4).map(lambda values: np.asarray(values, np.float32)))
def test_floats_survive_the_round_trip(values):
    text = answers.predictions({"y": values}, is_row=True)
    np.testing.assert_array_equal(np.asarray(json.loads(text)["predictions"], np.float32), values)


def _loads(body):
    return json.loads(body.decode())


def test_answers_in_rows_and_columns():
    y = np.asarray([[1.0, 2.0], [3.0, 4.0]], np.float32)
    assert _loads(answers.predictions({"y": y}, is_row=True)) == {"predictions": [[1.0, 2.0], [3.0, 4.0]]}
    assert _loads(answers.predictions({"y": y}, is_row=False)) == {"outputs": [[1.0, 2.0], [3.0, 4.0]]}
    several = {"y": y, "id": np.asarray([3, 4])}
    assert _loads(answers.predictions(several, is_row=True)) == {
        "predictions": [{"y": [1.0, 2.0], "id": 3}, {"y": [3.0, 4.0], "id": 4}]
    }
    assert _loads(answers.predictions(several, is_row=False)) == {
        "outputs": {"y": [[1.0, 2.0], [3.0, 4.0]], "id": [3, 4]}
    }
    assert _loads(answers.predictions({"sum": np.float32(2.5)[...]}, is_row=False)) == {"outputs": 2.5}
    assert _loads(answers.predictions({"y": y[:0]}, is_row=True)) == {"predictions": []}


def test_numbers_in_answers():
    values = np.asarray([9e6, 999999, 0.5, 3e-4, 3e-5, 555557.5, 0.1, np.nan, np.inf, -np.inf], np.float32)
    text = answers.predictions({"y": values}, is_row=True)
    assert text == (b'{"predictions":[9e+06,999999.0,0.5,0.0003,3e-05,555557.5,0.1,NaN,Infinity,-Infinity]}')
    for dtype in (np.float16, np.float64, np.int8, np.uint64, np.bool_):
        array = np.asarray([0, 1], dtype)
        assert _loads(answers.predictions({"y": array}, is_row=True)) == {"predictions": array.tolist()}


def test_text_and_bytes_in_answers():
    texts = np.asarray([b"caf\xc3\xa9", b"\xff"], object)
    assert _loads(answers.predictions({"name": texts, "name_bytes": texts}, is_row=True)) == {
        "predictions": [
            {"name": "café", "name_bytes": {"b64": base64.b64encode(b"caf\xc3\xa9").decode()}},
            {"name": {"b64": "/w=="}, "name_bytes": {"b64": "/w=="}},
        ]
    }
    assert _loads(answers.predictions({"name": texts.reshape(1, 2)}, is_row=False)) == {
        "outputs": [["café", {"b64": "/w=="}]]
    }


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({}, "no outputs"),
        ({"sum": np.float32(1)[...]}, "inconsistent batch sizes.*sum"),
        ({"a": np.zeros(2), "b": np.zeros(1)}, "inconsistent batch sizes.*Ask with 'inputs'"),
        ({"c": np.zeros(2, np.complex64)}, "type: complex64"),
    ],
)
def test_what_cannot_be_answered_in_rows(outputs, message):
    with pytest.raises(RequestError, match=message) as caught:
        answers.predictions(outputs, is_row=True)
    assert caught.value.status == 400


def test_outputs_of_different_shapes():
    ragged = np.empty(2, object)
    ragged[:] = [np.asarray([1, 2]), np.asarray([3])]
    assert _loads(answers.predictions({"y": ragged}, is_row=True)) == {"predictions": [[1, 2], [3]]}


def _examples(document):
    return [tf.train.Example.FromString(proto) for proto in serialized_examples(parsed(document))]


def test_examples():
    first, second = _examples(
        {
            "context": {"day": 3, "user": "u"},
            "examples": [
                {"x": 1.5, "list": [1, 2], "flag": True, "none": []},
                {"x": [1.5, -2.0], "image": {"b64": "/w=="}, "words": ["a", "ö"], "day": 4},
            ],
        }
    )
    assert first.features.feature["x"].float_list.value == [1.5]
    assert first.features.feature["list"].int64_list.value == [1, 2]
    assert first.features.feature["flag"].int64_list.value == [1]
    assert first.features.feature["none"].WhichOneof("kind") is None
    assert first.features.feature["day"].int64_list.value == [3]
    assert second.features.feature["x"].float_list.value == [1.5, -2.0]
    assert second.features.feature["image"].bytes_list.value == [b"\xff"]
    assert second.features.feature["words"].bytes_list.value == [b"a", "ö".encode()]
    assert second.features.feature["day"].int64_list.value == [4]
    assert second.features.feature["user"].bytes_list.value == [b"u"]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "Key 'examples' is expected"),
        ({"examples": {"x": 1}}, "Key 'examples' is expected"),
        ({"examples": []}, "empty array"),
        ({"examples": [1]}, "Example must be JSON object but example 0 is 1"),
        ({"examples": [{"x": 1}], "context": [1]}, "JSON object but 'context' is"),
        ({"examples": [{"x": 1}, {"x": None}]}, "Feature 'x' of example 1 is"),
        ({"examples": [{"x": [[1]]}]}, "Feature 'x' of example 0 is"),
        ({"examples": [{"x": {"y": 1}}]}, "Feature 'x' of example 0 is"),
        ({"examples": [{"x": [1, 1.5]}]}, "all whole or all decimal"),
        ({"examples": [{"x": [1, "a"]}]}, "Feature 'x' of example 0 is"),
        ({"examples": [{"x": 2**63}]}, "outside the range of int64"),
        ({"examples": [{"x": 1.7e308}]}, "that float can't hold"),
        ({"examples": [{"x": {"b64": "?"}}]}, "isn't base64"),
        ({"examples": [{"\ud800": 1}]}, "half of a surrogate pair"),
    ],
)
def test_examples_that_are_none(document, message):
    with pytest.raises(RequestError, match=message) as caught:
        _examples(document)
    assert caught.value.status == 400


def test_non_finite_examples():
    (example,) = _examples({"examples": [{"x": [math.inf, math.nan]}]})
    values = example.features.feature["x"].float_list.value
    assert values[0] == math.inf
    assert math.isnan(values[1])


def test_classifications():
    classes = np.asarray([[b"no", b"yes"]], object)
    scores = np.asarray([[0.25, 0.75]], np.float32)
    assert _loads(answers.classifications(classes, scores, 1)) == {"results": [[["no", 0.25], ["yes", 0.75]]]}
    assert _loads(answers.classifications(None, scores, 1)) == {"results": [[["", 0.25], ["", 0.75]]]}
    assert _loads(answers.classifications(classes, None, 1)) == {"results": [[["no", 0.0], ["yes", 0.0]]]}
    for arguments in (
        (classes, scores, 2),
        (None, scores[0], 2),
        (None, scores.astype(np.float64), 1),
        (scores, scores, 1),
        (classes, scores[:, :1], 1),
        (None, None, 1),
    ):
        with pytest.raises(RequestError, match="Expected"):
            answers.classifications(*arguments)


def test_regressions():
    values = np.asarray([0.1, 2.0], np.float32)
    assert answers.regressions(values, 2) == b'{"results":[0.1,2.0]}'
    assert answers.regressions(values[:, np.newaxis], 2) == b'{"results":[0.1,2.0]}'
    for outputs, count in ((values, 1), (values.reshape(1, 2), 1), (values.astype(np.float64), 2), (values[0], 1)):
        with pytest.raises(RequestError, match="Expected output Tensor shape"):
            answers.regressions(outputs, count)


def _proto_as_json(proto):
    return json_format.MessageToDict(proto, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def test_status_is_tensorflow_servings_proto():
    response = get_model_status_pb2.GetModelStatusResponse()
    for version, state, code, message in ((124, "END", "NOT_FOUND", "no file"), (123, "AVAILABLE", "OK", "")):
        status = response.model_version_status.add(version=version)
        status.state = get_model_status_pb2.ModelVersionStatus.State.Value(state)
        status.status.error_code = error_codes_pb2.Code.Value(code)
        status.status.error_message = message
    given = [(124, "END", "NOT_FOUND", "no file"), (123, "AVAILABLE", "OK", "")]
    assert _loads(answers.status(given)) == _proto_as_json(response)


def test_metadata_is_tensorflow_servings_proto(small):
    definitions = signature_definitions(small)
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.model_spec.name = "m"
    response.model_spec.version.value = 7
    signatures = get_model_metadata_pb2.SignatureDefMap(signature_def=definitions)
    said = _loads(answers.metadata("m", 7, {name: as_json(value) for name, value in definitions.items()}))
    assert said["model_spec"] == _proto_as_json(response.model_spec)
    assert said["metadata"] == {"signature_def": _proto_as_json(signatures)}


def test_errors():
    assert _loads(answers.error('a "b"\n\ud800')) == {"error": 'a "b"\n\ud800'}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (tf.errors.InvalidArgumentError, 400),
        (tf.errors.FailedPreconditionError, 400),
        (tf.errors.OutOfRangeError, 400),
        (tf.errors.UnauthenticatedError, 401),
        (tf.errors.PermissionDeniedError, 403),
        (tf.errors.NotFoundError, 404),
        (tf.errors.AbortedError, 409),
        (tf.errors.AlreadyExistsError, 409),
        (tf.errors.ResourceExhaustedError, 429),
        (tf.errors.CancelledError, 499),
        (tf.errors.InternalError, 500),
        (tf.errors.UnknownError, 500),
        (tf.errors.DataLossError, 500),
        (tf.errors.UnimplementedError, 501),
        (tf.errors.UnavailableError, 503),
        (tf.errors.DeadlineExceededError, 504),
    ],
)
def test_statuses_of_operations(error, status):
    refused = request_error(error(None, None, "said so"))
    assert (refused.status, str(refused)) == (status, "said so")
