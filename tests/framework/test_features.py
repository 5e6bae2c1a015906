import re

import numpy as np
import pytest
import tensorflow as tf

from framework.features import Feature, as_batch, check_names, describe, parse_examples, serialize_examples


def test_shape_and_dtype_become_plain_values():
    feature = Feature([np.int64(2), None], tf.uint8)
    assert feature == Feature((2, None), "uint8")
    assert type(feature.shape[0]) is int
    assert Feature((3,), np.float16).dtype == "float16"
    assert describe({"a": feature}) == {"a": {"shape": [2, None], "dtype": "uint8"}}


@pytest.mark.parametrize("shape", [3, 2.5, None, ("3",), (2.0,), "ab"])
def test_a_shape_is_integers_and_none(shape):
    with pytest.raises(TypeError, match=r"must be a tuple of integers and None .* Got "):
        Feature(shape)


def test_a_negative_axis_is_refused():
    with pytest.raises(ValueError, match=r"negative axis: \(2, -1\)\. Use None"):
        Feature((2, -1))


@pytest.mark.parametrize("dtype", ["text", "float23", None])
def test_an_unknown_dtype_is_refused(dtype):
    with pytest.raises(TypeError, match="isn't a TensorFlow dtype"):
        Feature((), dtype)


def test_three_forms():
    feature = Feature((2, 3), "uint8")
    assert feature.spec("x") == tf.TensorSpec((None, 2, 3), tf.uint8, name="x")
    assert feature.spec(batch=5).shape == (5, 2, 3)
    symbolic = feature.keras_input("x")
    assert (symbolic.name, symbolic.shape, symbolic.dtype) == ("x", (None, 2, 3), "uint8")
    assert feature.parse_spec() == tf.io.FixedLenFeature((2, 3), tf.int64)


@pytest.mark.parametrize(
    "batched", [np.zeros((4, 2), np.float32), tf.zeros((4, 2)), tf.TensorSpec((None, 2), tf.float32)]
)
def test_of_a_batch_drops_its_axis(batched):
    assert Feature.of(batched) == Feature((2,), "float32")


@pytest.mark.parametrize(
    ("dtype", "storage"),
    [("uint8", "int64"), ("bool", "int64"), ("float16", "float32"), ("float64", "float32"), ("string", "string")],
)
def test_storage(dtype, storage):
    assert Feature((), dtype).storage_dtype == storage


def test_only_the_first_axis_may_vary_in_an_example():
    spec = Feature((None, 2), "uint8").parse_spec()
    assert spec == tf.io.FixedLenSequenceFeature((2,), tf.int64, allow_missing=True)
    with pytest.raises(ValueError, match=r"whose first axis varies, got shape \(2, None\)"):
        Feature((2, None)).parse_spec()


RAW = {
    "pixels": np.array([[0, 255], [7, 8]], np.uint8),
    "half": np.array([0.5, -2.0], np.float16),
    "flag": np.array([True, False]),
    "big": np.array([2**40, -1], np.int64),
    "text": np.array([b"a", b"\xff\x00"], object),
}


def serialize(raw):
    return serialize_examples(raw, {name: Feature.of(value) for name, value in raw.items()})


@pytest.mark.parametrize("graph", [False, True])
def test_parsing_gives_back_what_was_written(graph):
    features = {name: Feature.of(value) for name, value in RAW.items()}
    parse = tf.function(parse_examples) if graph else parse_examples
    parsed = parse(tf.constant(serialize(RAW)), features)
    assert list(parsed) == list(RAW)
    for name, value in RAW.items():
        assert parsed[name].dtype.name == features[name].dtype
        assert parsed[name].numpy().tolist() == value.tolist()


def test_the_same_values_make_the_same_bytes():
    """A map's entries come in their keys' order, not in that of a hash which differs from process to process."""
    values = {f"x{number:02}": np.zeros(1, np.float32) for number in range(30)}
    (proto,) = serialize(values)
    assert re.findall(rb"x\d\d", proto) == [name.encode() for name in values]


def test_parsing_ignores_other_features_and_pads_varying_ones():
    rows = [
        tf.train.Example(
            features=tf.train.Features(
                feature={
                    "ids": tf.train.Feature(int64_list=tf.train.Int64List(value=range(count))),
                    "other": tf.train.Feature(int64_list=tf.train.Int64List(value=[1])),
                }
            )
        ).SerializeToString()
        for count in (3, 0, 1)
    ]
    parsed = parse_examples(tf.constant(rows), {"ids": Feature((None,), "int32")})
    assert {name: value.numpy().tolist() for name, value in parsed.items()} == {"ids": [[0, 1, 2], [0] * 3, [0] * 3]}


@pytest.mark.parametrize("value", [300, -1])
def test_a_parsed_value_outside_of_the_dtype_is_an_error(value):
    protos = tf.constant(serialize({"pixel": np.array([1, value], np.int64)}))
    assert parse_examples(protos, {"pixel": Feature((), "int64")})["pixel"].numpy().tolist() == [1, value]
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"pixel.* has values outside the range of uint8 \[0, 255\]"
    ):
        tf.function(parse_examples)(protos, {"pixel": Feature((), "uint8")})


@pytest.mark.parametrize(
    ("protos", "feature"),
    [
        ([b"no proto"], Feature((2,), "uint8")),
        (serialize({"other": RAW["pixels"]}), Feature((2,), "uint8")),  # missing
        (serialize({"x": RAW["half"]}), Feature((), "uint8")),  # another type
        (serialize({"x": RAW["pixels"]}), Feature((3,), "uint8")),  # another length
    ],
)
def test_what_cant_be_parsed_is_an_error(protos, feature):
    with pytest.raises(tf.errors.InvalidArgumentError):
        parse_examples(tf.constant(protos), {"x": feature})


def test_as_batch_converts_to_the_declared_dtypes():
    features = {"x": Feature((2,), "uint8"), "y": Feature((), "float32"), "z": Feature((), "string")}
    batch = as_batch({"z": ["a", b"b"], "y": [1, 2], "x": [[1.0, 2.0], [3.0, 255.0]]}, features)
    assert list(batch) == ["x", "y", "z"]
    assert batch["x"].dtype == np.uint8
    assert batch["y"].dtype == np.float32
    assert batch["z"].tolist() == ["a", b"b"]


def test_as_batch_takes_one_array_for_one_feature():
    assert as_batch([[1, 2]], {"x": Feature((None,), "int64")})["x"].tolist() == [[1, 2]]
    with pytest.raises(ValueError, match=r"Expected a dict with the features \['x', 'y'\], got list"):
        as_batch([1], {"x": Feature(), "y": Feature()})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"x": [1.0]}, r"missing: \['y'\], unknown: \[\]"),
        ({"x": [1.0], "y": [1], "z": [1]}, r"missing: \[\], unknown: \['z'\]"),
        ({"x": [1.0, 2.0], "y": [1]}, r"same number of examples, got \{'x': 2, 'y': 1\}"),
        ({"x": 1.0, "y": [1]}, r"'x' has shape \(\), expected \(examples\)"),
        ({"x": [[1.0]], "y": [1]}, r"'x' has shape \(1, 1\), expected \(examples\)"),
        ({"x": ["a"], "y": [1]}, r"'x' has dtype <U1, expected float32"),
        ({"x": [1.0], "y": [2.5]}, r"'y' has the value 2\.5, which uint8 can't hold"),
        ({"x": [1.0], "y": [256]}, r"'y' has the value 256, which uint8 can't hold"),
        ({"x": [1.0], "y": [np.nan]}, r"'y' has the value nan, which uint8 can't hold"),
        ({"x": [1e39], "y": [1]}, r"'x' has the value 1e\+39, which float32 can't hold"),
        ({"x": [[1.0], [1.0, 2.0]], "y": [1, 1]}, r"'x' isn't an array: .*inhomogeneous"),
    ],
)
def test_as_batch_says_what_is_wrong(values, message):
    with pytest.raises(ValueError, match=message):
        as_batch(values, {"x": Feature(), "y": Feature((), "uint8")})


@pytest.mark.parametrize(("value", "shown"), [(1, "1"), (None, "None")])
def test_as_batch_wants_text_for_text(value, shown):
    with pytest.raises(ValueError, match=rf"'x' has the value {shown}, expected text"):
        as_batch({"x": ["a", value]}, {"x": Feature((), "string")})


def test_as_batch_keeps_what_is_not_finite_and_booleans_that_are():
    assert np.isnan(as_batch([np.nan, np.inf], {"x": Feature()})["x"]).tolist() == [True, False]
    assert as_batch([0, 1], {"x": Feature((), "bool")})["x"].tolist() == [False, True]
    with pytest.raises(ValueError, match="'x' has the value 2, which bool can't hold"):
        as_batch([0, 2], {"x": Feature((), "bool")})


def test_names_are_identifiers():
    check_names(["Age", "x_1", "camelCase", "inputs", "training", "match"], "data")


@pytest.mark.parametrize(
    ("name", "better"),
    [
        ("malic acid", "malic_acid"),
        ("od280/od315", "od280_od315"),
        ("a.b", "a_b"),
        ("1st", "x_1st"),
        ("_x", "x"),
        ("größe", "gr_e"),
        ("a\nb", "a_b"),
        ("x\n", "x"),
        ("", "x_"),
        ("class", "class_"),
        ("0", "x_0"),
        ("self", "self_"),
    ],
)
def test_other_names_are_refused_with_a_better_one(name, better):
    with pytest.raises(ValueError, match=r"^The data has names that a signature can't have: ") as error:
        check_names(["fine", name], "The data")
    assert f"data.rename(columns={ {name: better} })" in str(error.value)
    check_names([better], "The data")


def test_numbers_are_no_names():
    with pytest.raises(ValueError, match=r"can't have: '7'\. Expected letters"):
        check_names([7], "data")


def test_names_that_differ_in_case_alone_are_refused():
    with pytest.raises(ValueError, match="has the names 'Age' and 'age'; a signature can't tell them apart"):
        check_names(["Age", "age"], "The data")


def test_serialized_examples_are_what_a_client_sends():
    features = {"a": Feature((2,), "uint8"), "b": Feature((), "string"), "c": Feature((), "bool"), "d": Feature()}
    values = {
        "a": np.array([[1, 2]], np.uint8),
        "b": np.array([b"x\0"], object),
        "c": np.array([True]),
        "d": np.float32([0.5]),
    }
    (proto,) = serialize_examples(values, features)
    parsed = tf.train.Example.FromString(proto).features.feature
    assert list(parsed["a"].int64_list.value) == [1, 2]
    assert list(parsed["b"].bytes_list.value) == [b"x\0"]
    assert list(parsed["c"].int64_list.value) == [1]
    assert list(parsed["d"].float_list.value) == [0.5]
