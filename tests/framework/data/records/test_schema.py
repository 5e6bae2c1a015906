"""What is in a record, written and read back, and read by other people's means."""

import hypothesis
import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import framework
from framework import Feature
from framework.data.records import Field, Schema
from framework.data.sources import ArraySource, Example

INTEGERS = "int8 int16 int32 int64 uint8 uint16 uint32 uint64".split()
FLOATS = "float16 bfloat16 float32 float64".split()
SHAPES = [(), (3,), (2, 3), (None,), (None, 2)]


def numpy_dtype(dtype):
    return np.dtype(ml_dtypes.bfloat16) if dtype == "bfloat16" else np.dtype(dtype)


def values(draw, dtype, shape):
    """An array of any values that a dtype has."""
    shape = tuple(draw(st.integers(0, 3)) if axis is None else axis for axis in shape)
    if dtype == "string":
        items = draw(st.lists(st.binary(max_size=8), min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
        array = np.empty(len(items), object)
        array[:] = items
        return array.reshape(shape)
    if dtype == "bool":
        return draw(arrays.arrays(bool, shape))
    if dtype in INTEGERS:
        return draw(arrays.arrays(dtype, shape))
    # Any bits; NaNs are compared as such, since a conversion may change which one it is.
    bits = draw(arrays.arrays(f"uint{8 * numpy_dtype(dtype).itemsize}", shape))
    return bits.view(numpy_dtype(dtype))


@st.composite
def features_and_values(draw):
    dtype = draw(st.sampled_from([*INTEGERS, *FLOATS, "bool", "string"]))
    shape = draw(st.sampled_from(SHAPES))
    return Feature(shape, dtype), values(draw, dtype, shape)


def assert_identical(got, expected):
    assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
    if expected.dtype == object:
        assert got.tolist() == expected.tolist()
    else:
        same_bits = np.frombuffer(got.tobytes(), np.uint8) == np.frombuffer(expected.tobytes(), np.uint8)
        is_nan = (
            np.repeat(np.isnan(np.ravel(expected)), expected.dtype.itemsize) if expected.dtype.kind in "fV" else False
        )
        assert np.all(same_bits | is_nan)
        if expected.dtype.kind in "fV":
            assert np.array_equal(np.isnan(got), np.isnan(expected))


@hypothesis.settings(deadline=None, max_examples=150)
@hypothesis.given(features_and_values())
def test_reading_is_the_opposite_of_writing(drawn):
    feature, value = drawn
    schema = Schema.of({"x": feature}, Feature((), "int64"), weighted=True)
    batch = Example({"x": value[np.newaxis]}, np.array([7]), np.array([0.1], np.float32))
    (record,) = schema.serialize(batch)
    assert schema.fault(record) is None
    example = schema.parse(tf.constant([record]))
    assert_identical(example.features["x"].numpy(), value[np.newaxis])
    assert (example.labels.numpy().tolist(), example.weights.numpy()) == ([7], np.float32(0.1))
    assert example.features["x"].dtype.name == feature.dtype
    assert_identical(schema.parse_features(tf.constant([record]))["x"].numpy(), value[np.newaxis])
    assert schema.parse_features(schema.serialize_features(batch.features))["x"].dtype.name == feature.dtype


def test_what_other_peoples_readers_see():
    features = {
        "half": Feature((2,), "float16"),
        "double": Feature((2,), "float64"),
        "large": Feature((), "uint64"),
        "pixel": Feature((2,), "uint8"),
        "image": framework.Image((4, 4, 3)),
        "flag": Feature((), "bool"),
    }
    schema = Schema.of(features, {"a": Feature((), "int64"), "b": Feature((), "float32")})
    assert schema.lists == {
        "half": "float_list",
        "double": "int64_list",
        "large": "int64_list",
        "pixel": "int64_list",
        "image": "bytes_list",
        "flag": "int64_list",
        "label/a": "int64_list",
        "label/b": "float_list",
    }
    doubles = np.array([[np.pi, -1e300]])
    example = Example(
        {
            "half": np.array([[1.5, -2]], np.float16),
            "double": doubles,
            "large": np.array([2**64 - 3], np.uint64),
            "pixel": np.array([[0, 255]], np.uint8),
            "image": np.array([b"bytes"], object),
            "flag": np.array([True]),
        },
        {"a": np.array([3]), "b": np.array([0.25], np.float32)},
    )
    (record,) = schema.serialize(example)
    fixed = {
        "half": tf.io.FixedLenFeature([2], tf.float32),
        "double": tf.io.FixedLenFeature([2], tf.int64),
        "large": tf.io.FixedLenFeature([], tf.int64),
        "pixel": tf.io.FixedLenFeature([2], tf.int64),
        "image": tf.io.FixedLenFeature([], tf.string),
        "flag": tf.io.FixedLenFeature([], tf.int64),
        "label/a": tf.io.FixedLenFeature([], tf.int64),
        "label/b": tf.io.FixedLenFeature([], tf.float32),
    }
    seen = {key: tensor.numpy() for key, tensor in tf.io.parse_single_example(record, fixed).items()}
    # As the sidecar's how_to_read says.
    assert seen["double"].view("float64").tolist() == doubles[0].tolist()
    assert np.asarray(seen["large"]).view("uint64") == 2**64 - 3
    assert seen["half"].tolist() == [1.5, -2.0]
    assert seen["pixel"].tolist() == [0, 255]
    assert (seen["image"], seen["flag"], seen["label/a"], seen["label/b"]) == (b"bytes", 1, 3, 0.25)


def test_a_label_and_a_weight_have_keys_of_their_own():
    schema = Schema.of({"label": Feature(), "weight": Feature()}, Feature((), "int64"), weighted=True)
    assert sorted(schema.listed) == ["_label", "_weight", "label", "weight"]
    assert Schema.parse_description(**schema.describe()) == schema


def test_a_description_says_everything():
    schema = Schema(
        {
            "image": Field(framework.Image((8, 8, 3), aspect="crop"), "image/encoded"),
            "x": Field(Feature((None, 2)), "x"),
        },
        {"kind": Field(Feature((), "int64"), "image/class"), "size": Field(Feature(), "label/size")},
        Field(Feature(), "weight"),
    )
    assert schema.describe() == {
        "features": {"image": "image(8, 8, 3) crop from image/encoded", "x": "float32(None, 2)"},
        "labels": {"kind": "int64 from image/class", "size": "float32"},
        "weights": "float32",
    }
    assert Schema.parse_description(**schema.describe()) == schema


def test_the_spec_is_that_of_stored_features():
    schema = Schema.parse_description({"image": "image(8, 8, 3)", "x": "float64(None)"}, "int64(2)")
    assert schema.spec == Example(
        {"image": tf.TensorSpec((None,), tf.string), "x": tf.TensorSpec((None, None), tf.float64)},
        tf.TensorSpec((None, 2), tf.int64),
    )
    assert schema.is_ragged
    assert not Schema.parse_description({"x": "float64"}, "int64").is_ragged


def test_a_source_of_decoded_images_makes_records_of_numbers():
    image = framework.Image((2, 2, 3))
    decoded = ArraySource({"image": np.zeros((3, 2, 2, 3), np.uint8)}, np.arange(3))
    encoded = ArraySource({"image": [b"a", b"b", b"c"]}, np.arange(3))
    assert Schema.of_source(decoded, {"image": image}).describe()["features"] == {"image": "uint8(2, 2, 3)"}
    assert Schema.of_source(encoded, {"image": image}).describe()["features"] == {"image": "image(2, 2, 3)"}
    assert Schema.of_source(encoded, {}).describe()["features"] == {"image": "string"}


@pytest.mark.parametrize(
    ("features", "label", "says"),
    [
        ({}, "int64", "at least one feature"),
        ({"x": "complex64(2)"}, "int64", "The feature 'x' is complex64. Records hold bool, int8"),
        ({"x": "float32"}, "float8_e5m2", "The label is float8_e5m2"),
        ({"not a name": "float32"}, "int64", "a signature can't have"),
        ({"x": "float32(2, None)"}, "int64", "first axis varies"),
        ({"x": "float32"}, "int64 from x", "The key 'x' is both"),
    ],
)
def test_schemas_that_cannot_be(features, label, says):
    with pytest.raises(ValueError, match=says):
        Schema.parse_description(features, label)


def test_two_things_may_be_made_of_one_key():
    schema = Schema.parse_description({"x": "int64 from a"}, "int64 from a")
    (record,) = proto(a=[5])
    example = schema.parse(tf.constant([record]))
    assert (int(example.features["x"][0]), int(example.labels[0])) == (5, 5)


def proto(**lists):
    features = {}
    for key, items in lists.items():
        if isinstance(items[0], bytes):
            features[key] = tf.train.Feature(bytes_list=tf.train.BytesList(value=items))
        elif isinstance(items[0], float):
            features[key] = tf.train.Feature(float_list=tf.train.FloatList(value=items))
        else:
            features[key] = tf.train.Feature(int64_list=tf.train.Int64List(value=items))
    return [tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()]


GOOD = {"a": [1.0, 2.0], "b": [7], "c": [1, 2, 3, 4], "h": [65504.0, np.inf, np.nan], "label": [1]}
SCHEMA = {"x": "float32(2) from a", "b": "uint8", "c": "int64(None, 2)", "h": "float16(3)"}


@pytest.mark.parametrize(
    ("change", "kind", "feature", "says"),
    [
        ({"a": None}, "missing feature", "feature 'x' (key 'a')", "is missing"),
        ({"label": None}, "missing feature", "label", "is missing"),
        ({"a": [1.0]}, "wrong length", "feature 'x' (key 'a')", "has 1 values, a wrong length for the shape (2,)"),
        ({"c": [1, 2, 3]}, "wrong length", "feature 'c'", "has 3 values"),
        ({"a": [1, 2]}, "wrong type", "feature 'x' (key 'a')", "data type int64_list, expected float_list for float32"),
        ({"c": [b"1"]}, "wrong type", "feature 'c'", "data type bytes_list, expected int64_list"),
        ({"b": [256]}, "value out of range", "feature 'b'", "256 to 256, outside the range of uint8"),
        ({"b": [-1]}, "value out of range", "feature 'b'", "outside the range"),
        (
            {"h": [0.0, -1e6, np.inf]},
            "value out of range",
            "feature 'h'",
            "-1000000.0 to 0.0, outside the range of float1",
        ),
    ],
)
def test_faults_are_named_and_are_errors_of_the_parser_too(change, kind, feature, says):
    schema = Schema.parse_description(SCHEMA, "int64")
    assert schema.fault(proto(**GOOD)[0]) is None
    (record,) = proto(**{key: items for key, items in {**GOOD, **change}.items() if items is not None})
    fault = schema.fault(record)
    assert (fault.kind, fault.feature) == (kind, feature)
    assert says in str(fault)
    with pytest.raises(tf.errors.InvalidArgumentError):
        schema.parse(tf.constant([record]))


def test_what_varies_in_length_may_be_missing():
    schema = Schema.parse_description(SCHEMA, "int64")
    (record,) = proto(**{key: items for key, items in GOOD.items() if key != "c"})
    assert schema.fault(record) is None
    assert schema.parse(tf.constant([record])).features["c"].shape == (1, 0, 2)


@pytest.mark.parametrize(
    "record",
    [b"garbage", proto(**GOOD)[0][:-1], proto(**GOOD)[0] + b"\x0a"],
    # A proto's map comes in another order in each process, of which xdist would make other tests.
    ids=["garbage", "cut off", "more behind it"],
)
def test_what_is_no_example(record):
    fault = Schema.parse_description(SCHEMA, "int64").fault(record)
    assert fault.kind == "corrupt record"
    assert f"{len(record)} bytes are no tf.Example" in str(fault)


def test_a_label_that_is_text_becomes_a_class_id():
    label = Field(Feature((), "int64"), "kind", ("cat", "dog", "ü"))
    schema = Schema({"x": Field(Feature(), "x")}, label)
    assert schema.spec.labels == tf.TensorSpec((None,), tf.int64)
    assert schema.describe()["labels"] == "string from kind"
    assert schema.lists["kind"] == "bytes_list"
    example = Example({"x": np.zeros(3, np.float32)}, np.array([2, 0, 1]))
    written = schema.serialize(example)
    assert tf.train.Example.FromString(written[0]).features.feature["kind"].bytes_list.value == ["ü".encode()]
    dataset = tf.data.Dataset.from_tensors(written.tolist()).map(schema.parse)
    for parsed in (schema.parse(tf.constant(written.tolist())), *dataset):
        assert parsed.labels.numpy().tolist() == [2, 0, 1]
    assert schema.fault(written[0]) is None


@pytest.mark.parametrize(
    ("value", "kind", "says"),
    [
        (b"dig", "label out of range", "is 'dig', expected one of the classes 'cat', 'dog'. Did you mean 'dog'?"),
        (b"", "label out of range", "is '', expected one of the classes 'cat', 'dog'"),
        (b"\xff", "label out of range", "is '\ufffd', expected"),
        (1, "wrong type", "has the data type int64_list, expected bytes_list for names of classes"),
    ],
)
def test_a_label_that_is_no_class_is_named_and_is_an_error_of_the_parser_too(value, kind, says):
    schema = Schema({"x": Field(Feature(), "x")}, Field(Feature((), "int64"), "kind", ("cat", "dog")))
    (record,) = proto(x=[0.5], kind=[value])
    fault = schema.fault(record)
    assert (fault.kind, fault.feature) == (kind, "label (key 'kind')")
    assert fault.reason.startswith(says)
    with pytest.raises(tf.errors.InvalidArgumentError):
        schema.parse(tf.constant([record]))


def test_a_float_list_is_not_taken_for_float64():
    fault = Schema.parse_description({"a": "float64(2)"}, "int64").fault(proto(**GOOD)[0])
    assert "a float_list holds float32: declare that" in fault.reason
