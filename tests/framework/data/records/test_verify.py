import numpy as np
import pytest
import tensorflow as tf

import framework
from framework import tasks
from framework.data.records import DataSet, Layout, Schema, read_records, verify, verify_data_set, write
from framework.data.sources import Example

NUM_EXAMPLES = 150


def jpeg(seed):
    return tf.io.encode_jpeg(np.random.default_rng(seed).integers(0, 256, (9, 7, 3), np.uint8)).numpy()


@pytest.fixture(params=[False, True], ids=["plain", "gzip"])
def directory(tmp_path, request):
    data = [({"image": jpeg(index), "x": index}, index % 3) for index in range(NUM_EXAMPLES)]
    write(
        data,
        tmp_path,
        features={"image": framework.Image((8, 8, 3)), "x": framework.Feature((), "uint8")},
        task=tasks.Classification(3),
        layout=Layout(shards=2, gzip=request.param),
    )
    return tmp_path


def rewrite(path, change):
    """Writes a file anew with its records changed."""
    records = change([record for _, record, _ in read_records(str(path))])
    with tf.io.TFRecordWriter(str(path), "GZIP" if path.suffix == ".gz" else "") as writer:
        for record in records:
            writer.write(record)


def kinds(problems):
    return [(problem.kind, problem.feature) for problem in problems]


def test_nothing_wrong(directory):
    checked = []
    assert list(verify_data_set(DataSet.find(directory), on_checked=checked.append)) == []
    assert sum(checked) == NUM_EXAMPLES
    assert len(checked) > 2


def test_everything_that_is_wrong_is_found(directory):
    schema = DataSet.find(directory).schema

    def record(image=None, x=0, label=0):
        features = {"image": np.array([jpeg(0) if image is None else image], object), "x": np.array([x], np.uint8)}
        return schema.serialize(Example(features, np.array([label])))[0]

    other = Schema.parse_description({"x": "int64"}, "int64")
    bad = [
        record(image=b"no image"),
        record(image=jpeg(1)[:-40]),
        record(label=3),
        record(label=-1),
        other.serialize(Example({"x": np.array([1])}, np.array([0])))[0],
        b"\x0a\xff no proto",
    ]
    path = sorted(directory.glob("train-*"))[1]
    rewrite(path, lambda records: [*records[:70], *bad, *records[70:]])
    problems = list(verify_data_set(DataSet.find(directory)))
    assert {problem.file for problem in problems} == {path.name}
    changed = [problem for problem in problems if problem.kind == "changed file"]
    assert [problem.offset for problem in changed] == [None, None]
    assert "81 records, the sidecar says 75" in str(changed[1])
    found = [problem for problem in problems if problem.kind != "changed file"]
    assert kinds(found) == [
        ("undecodable image", "feature 'image'"),
        ("undecodable image", "feature 'image'"),
        ("label out of range", "label"),
        ("label out of range", "label"),
        ("missing feature", "feature 'image'"),
        ("corrupt record", None),
    ]
    offsets = [offset for offset, _, _ in read_records(str(path))]
    assert [problem.offset for problem in found] == offsets[70:76]
    assert "Unknown image file format" in str(found[0])
    assert "label 3, expected a class id in [0, 3)" in str(found[2])
    assert str(found[5]) == f"{path.name}, offset {offsets[75]}: corrupt record: its 11 bytes are no tf.Example"


def test_checksums(tmp_path):
    schema = Schema.parse_description({"x": "int64"}, "int64")
    path = tmp_path / "data"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for number in range(200):
            writer.write(schema.serialize(Example({"x": np.array([number])}, np.array([number])))[0])
    offsets = [offset for offset, _, _ in read_records(str(path))]
    data = bytearray(path.read_bytes())
    data[offsets[3] + 14] ^= 1
    data[offsets[100]] ^= 1  # a length: what follows can't be found
    path.write_bytes(bytes(data))
    checked = []
    problems = list(verify([path], schema, on_checked=checked.append))
    assert [(problem.kind, problem.offset) for problem in problems] == [
        ("corrupt record", offsets[3]),
        ("corrupt record", offsets[100]),
    ]
    assert "what follows can't be found" in str(problems[1])
    assert sum(checked) == 100


def test_files_that_are_not_there(directory):
    path = sorted(directory.glob("train-*"))[0]
    path.unlink()
    assert [(problem.kind, problem.file) for problem in verify_data_set(DataSet.find(directory))] == [
        ("missing file", path.name)
    ]
    schema = DataSet.find(directory).schema
    assert kinds(verify(["ram://verify/none"], schema)) == [("missing file", None)]
    assert kinds(verify([path], schema)) == [("missing file", None)]


def test_labels_that_are_text(tmp_path):
    data = [({"x": index}, name) for index, name in enumerate(["cat", "dog", "cow", "cat"])]
    write(data, tmp_path, task=tasks.Classification(class_names=["cat", "dog"]))
    (problem,) = verify_data_set(DataSet.find(tmp_path))
    assert (problem.kind, problem.feature) == ("label out of range", "label")
    assert "is 'cow', expected one of the classes 'cat', 'dog'" in problem.reason
    assert list(verify_data_set(DataSet.find(tmp_path), tasks.Classification(class_names=["cat", "cow", "dog"]))) == []


def test_a_task_that_the_sidecar_does_not_say(directory):
    data_set = DataSet.find(directory)
    assert len(list(verify_data_set(data_set, tasks.Classification(2)))) == NUM_EXAMPLES // 3
