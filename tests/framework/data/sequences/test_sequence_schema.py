import numpy as np
import pytest
import tensorflow as tf

from framework.data import records
from framework.data.records.sequence_schema import infer_features, parse_schema
from framework.data.records.verify import verify
from framework.data.sources import Example
from framework.features import Feature
from framework.media import Image

TEXTS = {"points": "float32(None, 2) from xy", "words": "string(None)", "time": "float64(None)", "age": "uint8"}


def schema(**changes):
    return records.SequenceSchema.parse_description(
        **{"features": TEXTS, "labels": "int64 from class", "weights": None, **changes}
    )


def example():
    features = {
        "points": np.arange(12, dtype=np.float32).reshape(2, 3, 2),
        "words": np.array([["a", "b", "c"], ["d", "", ""]], object),
        "time": np.array([[0.1, 0.2, 0.3], [1e300, 0.0, 0.0]]),
        "age": np.array([7, 255], np.uint8),
        "length": np.array([3, 1]),
    }
    features["points"][1, 1:] = 0
    return Example(features, np.array([1, 0]))


def test_what_is_serialized_is_parsed():
    written = schema().serialize(example())
    parsed = schema().parse(tf.constant(written))
    for name, values in example().features.items():
        got = parsed.features[name].numpy()
        np.testing.assert_array_equal(np.char.decode(got.astype("S")) if got.dtype == object else got, values)
    assert parsed.features["time"].dtype == tf.float64  # kept to the bit, which a list of floats couldn't
    assert parsed.labels.numpy().tolist() == [1, 0]
    requests = schema().serialize_features(example().features)
    assert set(schema().parse_features(tf.constant(requests))) == {*TEXTS, "length"}
    proto = tf.train.SequenceExample.FromString(written[1])
    assert set(proto.context.feature) == {"age", "class"}
    assert {key: len(value.feature) for key, value in proto.feature_lists.feature_list.items()} == {
        "xy": 1,
        "words": 1,
        "time": 1,
    }


def test_it_describes_itself():
    made = parse_schema(schema().describe())
    assert made == schema()
    assert isinstance(made, records.SequenceSchema)
    assert type(parse_schema(records.Schema.of({"x": Feature()}, Feature()).describe())) is records.Schema
    assert schema().raw == {
        "points": Feature((None, 2)),
        "words": Feature((None,), "string"),
        "time": Feature((None,), "float64"),
        "age": Feature((), "uint8"),
        "length": Feature((), "int64"),
    }
    assert schema().spec.features["length"] == tf.TensorSpec((None,), tf.int64)
    with pytest.raises(ValueError, match=r"Records are tf.train.Example or tf.train.SequenceExample, got 'xml'"):
        parse_schema({**schema().describe(), "proto": "xml"})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": {"x": "float32(3)"}}, "No feature is a sequence"),
        ({"features": {**TEXTS, "length": "int64"}}, r"'length' is how many steps .* 'duration': 'int64 from length'"),
        ({"labels": "int64(None)"}, "The label has a value each step; tasks have one a sequence"),
        ({"labels": "string(None) from words"}, "The label has a value each step"),
        ({"features": {"x": "float32(None, None)"}}, "first axis varies"),
    ],
)
def test_what_can_not_be_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        schema(**changes)


def changed(change):
    proto = tf.train.SequenceExample.FromString(schema().serialize(example())[0])
    change(proto.context.feature, proto.feature_lists.feature_list)
    return proto.SerializeToString()


def too_large(context):
    context["age"].int64_list.value[0] = 256


FAULTS = [
    (lambda context, lists: context.pop("age"), "missing feature", "feature 'age'", "is missing"),
    (lambda context, lists: lists.pop("xy"), "missing feature", "feature 'points' (key 'xy')", "no such feature list"),
    (lambda context, lists: context["class"].float_list.value.append(1), "wrong type", "label", "expected int64_list"),
    (lambda context, lists: context["age"].int64_list.value.append(1), "wrong length", "feature 'age'", "has 2 values"),
    (lambda context, lists: too_large(context), "value out of range", "feature 'age'", "uint8"),
    (
        lambda context, lists: lists["xy"].feature[1].float_list.value.append(1),
        "wrong length",
        "feature 'points' (key 'xy')",
        "in step 1 has 3 values",
    ),
    (lambda context, lists: lists["words"].feature.pop(), "wrong length", None, "different numbers of steps"),
    (lambda context, lists: context.pop("class"), "missing feature", "label (key 'class')", "is missing"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "kind", "feature", "reason"), FAULTS)
def test_a_fault_is_named_and_is_one_to_the_parser(change, kind, feature, reason):
    record = changed(change)
    fault = schema().fault(record)
    assert fault.kind == kind
    assert fault.feature is feature is None or feature in fault.feature
    assert reason in fault.reason
    with pytest.raises(tf.errors.InvalidArgumentError):
        schema().parse(tf.constant([record]))


def test_what_is_no_proto_is_corrupt():
    assert schema().fault(schema().serialize(example())[0]) is None
    assert str(schema().fault(b"\xff\xff")) == "corrupt record: its 2 bytes are no tf.train.SequenceExample"


def data_set(directory, **settings):
    lengths = [3, 0, 5, 1, 4, 2, 6]
    examples = [
        ({"points": np.full((length, 2), index, np.float32), "words": ["w"] * length, "age": index}, index % 2)
        for index, length in enumerate(lengths)
    ]
    declared = {"points": Feature((None, 2)), "words": Feature((None,), "string"), "age": Feature((), "int64")}
    records.write(examples, directory, features=declared, kind=records.SequenceSchema, **settings)
    return lengths


@pytest.mark.parametrize("gzip", [False, True])
def test_a_data_set_is_written_read_and_verified(tmp_path, gzip):
    lengths = data_set(tmp_path, layout=records.Layout(shards=2, gzip=gzip))
    found = records.DataSet.find(tmp_path, kind=records.SequenceSchema)
    source = found.source("train")
    assert source.random_access == (not gzip)
    seen = {}
    for example in source.batches(3):
        for row, age in enumerate(example.features["age"].numpy()):
            length = int(example.features["length"][row])
            points = example.features["points"][row].numpy()
            np.testing.assert_array_equal(points[:length], age)
            np.testing.assert_array_equal(points[length:], 0)
            seen[int(age)] = length
    assert seen == dict(enumerate(lengths))
    assert list(verify(found.files["train"], found.schema, shards=found.shards("train"))) == []
    # The same call again changes nothing.
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("train*")}
    data_set(tmp_path, layout=records.Layout(shards=2, gzip=gzip))
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("train*")} == before


def test_feature_lists_of_different_lengths_are_not_written(tmp_path):
    declared = {"a": Feature((None,)), "b": Feature((None,))}
    examples = [({"a": [1.0], "b": [1.0]}, 0), ({"a": [1.0, 2.0], "b": [1.0]}, 0)]
    with pytest.raises(ValueError, match=r"Example 1 can't be written: .*got {'a': 2, 'b': 1}"):
        records.write(examples, tmp_path, features=declared, kind=records.SequenceSchema)
    too_long = example()._replace(features={**example().features, "length": np.array([3, 4])})
    with pytest.raises(ValueError, match=r"got {'length': 4, 'xy': 3, 'words': 3, 'time': 3}"):
        schema().serialize(too_long)


def test_a_bad_record_is_named_with_its_place(tmp_path):
    path = str(tmp_path / "train.tfrecord")
    good = schema().serialize(example()).tolist()
    with tf.io.TFRecordWriter(path) as writer:
        for record in (*good, changed(FAULTS[1][0])):
            writer.write(record)
    source = records.RecordSource([path], schema())
    with pytest.raises(tf.errors.OpError, match=r"train.tfrecord, offset \d+: missing feature: feature 'points'"):
        list(source.batches(3))
    (problem,) = verify([path], schema())
    assert (problem.kind, problem.feature) == ("missing feature", "feature 'points' (key 'xy')")


def test_a_pipeline_s_source_becomes_sequences(tmp_path):
    data_set(tmp_path / "a")
    source = records.DataSet.find(tmp_path / "a", kind=records.SequenceSchema).source("train")
    records.write(source, tmp_path / "b", kind=records.SequenceSchema)
    again = records.DataSet.find(tmp_path / "b", kind=records.SequenceSchema)
    assert again.schema.raw == source.schema.raw
    for one, other in zip(source.batches(4), again.source("train").batches(4), strict=True):
        for name, values in one.features.items():
            np.testing.assert_array_equal(other.features[name], values)


def test_the_other_kind_of_records_is_refused(tmp_path):
    data_set(tmp_path / "sequences")
    records.write([({"x": 1.0}, 0)], tmp_path / "examples")
    with pytest.raises(ValueError, match=r"are tf\.train\.SequenceExample, expected tf\.train\.Example"):
        records.DataSet.find(tmp_path / "sequences")
    with pytest.raises(ValueError, match=r"are tf\.train\.Example, expected tf\.train\.SequenceExample"):
        records.DataSet.find(tmp_path / "examples", kind=records.SequenceSchema)


def test_what_is_seen_in_records_of_others(tmp_path):
    data_set(tmp_path)
    (path,) = map(str, tmp_path.glob("train*.tfrecord"))
    assert records.seen_keys([path]) == {
        "age": "int64",
        "label": "int64",
        "points": "float32(None, 2)",
        "words": "string(None)",
    }
    assert infer_features([path], "int64", "int64 from age") == {
        "points": "float32(None, 2) from points",
        "words": "string(None) from words",
    }
    (tmp_path / "dataset.json").unlink()
    found = records.DataSet.find(str(tmp_path), labels="int64", kind=records.SequenceSchema)
    assert found.schema.raw["points"] == Feature((None, 2))
    with pytest.raises(ValueError, match=r"Nobody says what is in .* 'points': 'float32\(None, 2\)'"):
        records.DataSet.find(str(tmp_path), kind=records.SequenceSchema)


def test_an_image_of_a_whole_sequence_is_seen_and_taken_for_text(tmp_path):
    features = {"cover": Image((4, 4, 3)), "x": Feature((None,))}
    data = [({"cover": tf.io.encode_png(np.zeros((2, 2, 3), np.uint8)).numpy(), "x": [1.0]}, 0)]
    records.write(data, tmp_path, features=features, kind=records.SequenceSchema)
    (path,) = map(str, tmp_path.glob("train*.tfrecord"))
    assert records.seen_keys([path])["cover"] == "image(height, width, 3)"
    assert infer_features([path], "int64") == {"cover": "string from cover", "x": "float32(None) from x"}


def test_records_that_are_no_protos_are_refused(tmp_path):
    with tf.io.TFRecordWriter(str(tmp_path / "all.tfrecord")) as writer:
        writer.write(b"a line of text")
    with pytest.raises(ValueError, match=r"all.tfrecord, offset 0: the record is no tf\.train\.Example"):
        records.DataSet.find(str(tmp_path), labels="int64", kind=records.SequenceSchema)


def test_an_encoded_image_may_be_of_the_whole_sequence():
    made = records.SequenceSchema.of({"cover": Image((4, 4, 3)), "x": Feature((None,))}, Feature((), "int64"))
    assert made.spec.features["cover"].dtype == tf.string
    assert parse_schema(made.describe()) == made
