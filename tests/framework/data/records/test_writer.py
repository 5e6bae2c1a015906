"""What is written: which files, what they hold, and what becomes of a call that was interrupted."""

import gzip
import json

import filelock
import numpy as np
import pytest
import tensorflow as tf

import framework
from framework import Feature, tasks
from framework.data import records
from framework.data.caching import CachedSource
from framework.data.records import DataSet, Layout, Sidecar, read_records, write
from framework.data.sources import ArraySource, DatasetSource, Subset

NUM_EXAMPLES = 23
VALUES = np.random.default_rng(0).normal(size=(NUM_EXAMPLES, 3)).astype(np.float32)
LABELS = np.arange(NUM_EXAMPLES) % 4
SOURCE = ArraySource({"x": VALUES}, LABELS)


def examples(count=NUM_EXAMPLES):
    return [({"x": VALUES[index]}, int(LABELS[index])) for index in range(count)]


def stored(directory):
    """Every record of the training files, in the files' order."""
    return [record for path in sorted(directory.glob("train-*")) for _, record, _ in read_records(str(path))]


def names(directory):
    return sorted(path.name for path in directory.iterdir() if not path.name.startswith("."))


def values_of(directory, split="train"):
    """`x` of all examples, in the order of the source."""
    source = DataSet.find(directory).source(split)
    return np.concatenate([example.features["x"] for example in source.batches(7)])


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("shards", [1, 4, 23])
def test_shards_are_named_and_of_nearly_one_size(tmp_path, compressed, shards):
    sidecar = write(SOURCE, tmp_path, layout=Layout(shards=shards, gzip=compressed), task=tasks.Classification(4))
    ending = ".tfrecord.gz" if compressed else ".tfrecord"
    expected = [f"train-{number:05d}-of-{shards:05d}{ending}" for number in range(shards)]
    assert names(tmp_path) == ["dataset.json", *expected]
    split = sidecar.splits["train"]
    assert [shard.file for shard in split.shards] == expected
    assert {shard.examples for shard in split.shards} <= {23 // shards, 23 // shards + 1}
    assert split.examples == 23
    assert split.bytes == sum((tmp_path / name).stat().st_size for name in expected)
    assert split.summary.classes == {"label": {0: 6, 1: 6, 2: 6, 3: 5}}
    assert stored(tmp_path) == sidecar.schema.serialize(SOURCE.arrays).tolist()
    assert Sidecar.load(tmp_path).splits == sidecar.splits
    assert list(records.verify_data_set(DataSet.find(tmp_path))) == []
    assert not list(tmp_path.glob(".parts"))


def test_the_same_examples_make_the_same_bytes(tmp_path):
    layout = Layout(shards=2, gzip=True)
    one, other = (write(SOURCE, tmp_path / name, layout=layout) for name in "ab")
    assert one == other


def test_other_peoples_reader(tmp_path):
    write(SOURCE, tmp_path, layout=Layout(shards=3, gzip=True))
    spec = {"x": tf.io.FixedLenFeature([3], tf.float32), "label": tf.io.FixedLenFeature([], tf.int64)}
    dataset = tf.data.TFRecordDataset([str(path) for path in sorted(tmp_path.glob("train-*"))], "GZIP")
    found = list(dataset.map(lambda record: tf.io.parse_single_example(record, spec)))
    np.testing.assert_array_equal([example["x"] for example in found], VALUES)
    np.testing.assert_array_equal([example["label"] for example in found], LABELS)


@pytest.mark.parametrize(
    "feed",
    [
        lambda: SOURCE,
        lambda: DatasetSource(tf.data.Dataset.from_tensor_slices(({"x": VALUES}, LABELS))),
        lambda: examples(),
        lambda: tuple(examples()),
        lambda: ArraySource({"x": VALUES}, LABELS, np.ones(NUM_EXAMPLES)),
    ],
)
def test_all_kinds_of_examples(tmp_path, feed):
    write(feed(), tmp_path, layout=Layout(shards=3))
    np.testing.assert_array_equal(values_of(tmp_path), VALUES)


def test_a_generator_says_how_many_it_has(tmp_path):
    write((example for example in examples()), tmp_path, num_examples=NUM_EXAMPLES, layout=Layout(shards=2))
    np.testing.assert_array_equal(values_of(tmp_path), VALUES)
    with pytest.raises(TypeError, match="How many examples has a generator"):
        write((example for example in examples()), tmp_path / "other")


@pytest.mark.parametrize(
    ("count", "says"), [(22, "more than the 22"), (24, "end before the one at index 23"), (0, "no examples to write")]
)
def test_a_generator_that_has_not_what_it_says(tmp_path, count, says):
    with pytest.raises(ValueError, match=says):
        write((example for example in examples()), tmp_path, num_examples=count, layout=Layout(shards=2))
    assert not (tmp_path / "dataset.json").exists()


def test_what_is_told_from_the_first_example(tmp_path):
    features = {
        "python": 0.5,
        "whole": 3,
        "flag": True,
        "text": "ü",
        "bytes": b"\0a\0",
        "double": np.float64(0.1),
        "list": [1.5, 2.5],
        "matrix": np.ones((2, 2), np.uint8),
        "half": tf.constant([1.5], tf.bfloat16),
    }
    sidecar = write([(features, {"kind": 1, "size": 0.5}, 2.0)], tmp_path)
    assert sidecar.schema.describe() == {
        "features": {
            "python": "float32",
            "whole": "int64",
            "flag": "bool",
            "text": "string",
            "bytes": "string",
            "double": "float64",
            "list": "float32(2)",
            "matrix": "uint8(2, 2)",
            "half": "bfloat16(1)",
        },
        "labels": {"kind": "int64", "size": "float32"},
        "weights": "float32",
    }
    (example,) = DataSet.find(tmp_path).source("train").batches(1)
    assert example.features["text"].numpy() == ["ü".encode()]
    assert example.features["bytes"].numpy().tolist() == [b"\0a\0"]
    assert example.features["double"].numpy() == [0.1]
    assert example.features["half"].numpy().astype(float).tolist() == [[1.5]]
    assert (example.labels["size"].numpy(), example.weights.numpy()) == ([0.5], [2.0])


def test_what_is_declared(tmp_path):
    features = {"image": framework.Image((4, 4, 3)), "codes": Feature((None,), "int16")}
    data = [({"image": b"jpeg", "codes": list(range(length))}, length) for length in range(3)]
    sidecar = write(data, tmp_path, features=features, labels=Feature((), "uint8"))
    assert sidecar.schema.describe()["features"] == {"image": "image(4, 4, 3)", "codes": "int16(None)"}
    assert sidecar.schema.describe()["labels"] == "uint8"
    (example,) = DataSet.find(tmp_path).source("train").batches(3)
    assert example.features["codes"].numpy().tolist() == [[0, 0], [0, 0], [0, 1]]


@pytest.mark.parametrize(
    ("second", "arguments", "says"),
    [
        (({"x": [1.0, 2.0]}, 0), {}, r"Example 1 isn't like .*'x' has shape \(1, 2\)"),
        (({"x": [1.0, 2.0, 1e300]}, 0), {}, "Example 1 .*1e\\+300, which float32 can't hold"),
        (({"y": [1.0, 2.0, 3.0]}, 0), {}, r"missing: \['x'\], unknown: \['y'\]"),
        (({"x": VALUES[0]}, 0.5), {}, "Example 1 .*0.5, which int64 can't hold"),
        (({"x": VALUES[0]}, 0, 1.0), {}, "Example 1 has the weight 1.0"),
        (3, {}, "Example 1 isn't like .*got 3"),
        (({"x": VALUES[0]}, 0), {"features": {"z": Feature()}}, r"features \['z'\], which examples don't have"),
        (({"x": VALUES[0]}, 0), {"num_examples": 1}, "num_examples is 1, but there are 2 examples"),
        (({"x": VALUES[0]}, 0), {"layout": Layout(shards=3)}, "2 examples of 'train' can't fill 3 files"),
    ],
)
def test_what_cannot_be_written(tmp_path, second, arguments, says):
    with pytest.raises(ValueError, match=says):
        write([({"x": VALUES[0]}, 0), second], tmp_path, **arguments)
    assert names(tmp_path) == [] if tmp_path.exists() else True


@pytest.mark.parametrize(
    ("first", "says"),
    [
        (({}, 0), "at least one feature"),
        (({"x": [[1], [1, 2]]}, 0), "The feature 'x' of the first example isn't an array"),
        (({"x": 1.0}, [[1], [1, 2]]), "The label of the first example isn't an array"),
    ],
)
def test_a_first_example_that_tells_nothing(tmp_path, first, says):
    with pytest.raises(ValueError, match=says):
        write([first], tmp_path)


def test_numbers_as_large_as_a_float_can_hold(tmp_path):
    data = [({"x": np.float64(value)}, 0) for value in (1e300, -1e300, 3e300)]
    numbers = write(data, tmp_path, layout=Layout(shards=3)).splits["train"].summary.numbers["feature 'x'"]
    assert (numbers.least, numbers.largest) == (-1e300, 3e300)
    assert (numbers.mean, numbers.deviation) == pytest.approx((1e300, np.sqrt(8 / 3) * 1e300))


def test_what_a_cache_holds_decoded_is_written_as_it_was(tmp_path):
    jpegs = [tf.io.encode_jpeg(np.full((6, 9, 3), value, np.uint8)).numpy() for value in range(4)]
    features = {"image": framework.Image((8, 8, 3))}
    cached = CachedSource(ArraySource({"image": jpegs}, [0, 1, 0, 1]), features, framework.Pipeline.decode)
    sidecar = write(Subset(cached, [3, 0]), tmp_path, features=features)
    assert sidecar.schema.describe()["features"] == {"image": "image(8, 8, 3)"}
    (example,) = DataSet.find(tmp_path).source("train").batches(2)
    assert example.features["image"].numpy().tolist() == [jpegs[3], jpegs[0]]


@pytest.mark.parametrize("arguments", [{"shards": 0}, {"shards": 100_000}, {"threads": 0}])
def test_layouts_that_cannot_be(arguments):
    with pytest.raises(ValueError, match=f"{next(iter(arguments))} must be"):
        Layout(**arguments)


def test_only_to_local_directories():
    with pytest.raises(ValueError, match="local directory"):
        write(SOURCE, "gs://bucket/data")


class _Stop(Exception):
    pass


def interrupt(directory, feed, after, **arguments):
    """Writes until so many examples are done."""
    done = []

    def on_written(count):
        done.append(count)
        if sum(done) >= after:
            raise _Stop

    with pytest.raises(_Stop):
        write(feed(), directory, on_written=on_written, **arguments)


@pytest.mark.parametrize("feed", [lambda: SOURCE, examples, lambda: iter(examples())])
@pytest.mark.parametrize("compressed", [False, True])
def test_an_interrupted_call_goes_on(tmp_path, feed, compressed):
    layout = Layout(shards=5, gzip=compressed, threads=1)
    number = {"num_examples": NUM_EXAMPLES} if not hasattr(feed(), "__len__") and feed() is not SOURCE else {}
    write(feed(), tmp_path / "whole", layout=layout, **number)
    interrupt(tmp_path / "cut", feed, 10, layout=layout, **number)
    done = names(tmp_path / "cut")
    assert 0 < len(done) < 5  # neither half a file nor a sidecar
    assert all(name.startswith("train-") for name in done)
    times = {name: (tmp_path / "cut" / name).stat().st_mtime_ns for name in done}
    written = []
    sidecar = write(feed(), tmp_path / "cut", layout=layout, on_written=written.append, **number)
    assert sidecar == Sidecar.load(tmp_path / "whole")
    assert sum(written) == NUM_EXAMPLES
    assert {name: (tmp_path / "cut" / name).stat().st_mtime_ns for name in done} == times
    assert not list((tmp_path / "cut").glob(".tmp-*"))
    assert not (tmp_path / "cut" / ".parts").exists()


def test_a_damaged_file_is_written_again(tmp_path):
    layout = Layout(shards=3)
    before = write(SOURCE, tmp_path, layout=layout)
    path = tmp_path / "train-00001-of-00003.tfrecord"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b"x")
    (tmp_path / "train-00002-of-00003.tfrecord").unlink()
    assert write(SOURCE, tmp_path, layout=layout) == before
    assert path.read_bytes() == whole
    assert list(records.verify_data_set(DataSet.find(tmp_path))) == []


def test_a_finished_call_changes_nothing(tmp_path):
    write(SOURCE, tmp_path, layout=Layout(shards=2))
    times = {path: path.stat().st_mtime_ns for path in tmp_path.glob("train-*")}
    write(SOURCE, tmp_path, layout=Layout(shards=2))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("train-*")} == times


@pytest.mark.parametrize(
    ("feed", "layout", "says"),
    [
        (SOURCE, Layout(shards=3), "made of other data or in another way: train-00000-of-00002"),
        (SOURCE, Layout(shards=2, gzip=True), "made of other data or in another way"),
        (ArraySource({"x": VALUES + 1}, LABELS), Layout(shards=2), "made of other data or in another way"),
        (ArraySource({"y": VALUES}, LABELS), Layout(shards=2), "another data set: its schema is"),
    ],
)
def test_files_of_another_call_are_not_mixed_in(tmp_path, feed, layout, says):
    write(SOURCE, tmp_path, layout=Layout(shards=2))
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    with pytest.raises(FileExistsError, match=says):
        write(feed, tmp_path, layout=layout)
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_other_peoples_files_are_not_overwritten(tmp_path):
    (tmp_path / "train-00000-of-00001.tfrecord").write_bytes(b"theirs")
    with pytest.raises(FileExistsError, match="made of other data"):
        write(SOURCE, tmp_path)
    assert (tmp_path / "train-00000-of-00001.tfrecord").read_bytes() == b"theirs"


def test_a_list_with_other_examples_is_noticed(tmp_path):
    layout = Layout(shards=5)
    interrupt(tmp_path, examples, 10, layout=layout)
    changed = [({"x": features["x"] + 1}, label) for features, label in examples()]
    with pytest.raises(FileExistsError, match="holds other examples"):
        write(changed, tmp_path, layout=layout)


def test_another_task_is_another_data_set(tmp_path):
    write(SOURCE, tmp_path, task=tasks.Classification(4))
    with pytest.raises(FileExistsError, match=r"its task is .*'num_classes': 4.* is .*'num_classes': 5"):
        write(SOURCE, tmp_path, split="test", task=tasks.Classification(5))
    assert list(write(SOURCE, tmp_path, split="test").splits) == ["train", "test"]
    assert Sidecar.load(tmp_path).task["num_classes"] == 4


def test_one_writer_waits_for_the_other(tmp_path):
    tmp_path.mkdir(exist_ok=True)
    seen = []

    def on_written(count):
        with pytest.raises(filelock.Timeout):
            filelock.FileLock(tmp_path / ".lock", timeout=0, is_singleton=False).acquire()
        seen.append(count)

    write(SOURCE, tmp_path, on_written=on_written)
    assert sum(seen) == NUM_EXAMPLES


def test_weights_of_one_split_alone(tmp_path):
    write(SOURCE, tmp_path, split="validation")
    write(ArraySource({"x": VALUES}, LABELS, np.arange(NUM_EXAMPLES)), tmp_path)
    data_set = DataSet.find(tmp_path)
    assert list(data_set.files) == ["train", "validation"]
    assert data_set.source("validation").spec.weights is None
    (example,) = data_set.source("train").batches(NUM_EXAMPLES)
    assert example.weights.numpy().tolist() == list(range(NUM_EXAMPLES))


def test_a_pipeline_with_all_its_splits(tmp_path):
    pipeline = framework.testing.toy_table(num_examples=64)
    sidecar = records.write_pipeline(
        pipeline, tmp_path, layout=Layout(shards=4), made_from={"pipeline": "toy", "options": {}}
    )
    assert {name: len(split.shards) for name, split in sidecar.splits.items()} == {
        "train": 4,
        "validation": 1,
        "test": 1,
    }
    assert records.parse_task(sidecar.task) == pipeline.task
    assert json.loads((tmp_path / "dataset.json").read_text())["made_from"] == {"pipeline": "toy", "options": {}}
    for phase in sidecar.splits:
        (got,) = DataSet.find(tmp_path).source(phase).batches(64)
        (expected,) = pipeline.source(phase).batches(64)
        tf.nest.map_structure(np.testing.assert_array_equal, got.features, expected.features)
        np.testing.assert_array_equal(got.labels, expected.labels)
    with pytest.raises(ValueError, match="none of the splits"):
        records.write_pipeline(
            framework.pipeline_from_arrays(VALUES, LABELS, validation=None), tmp_path / "none", phases=["test"]
        )


def test_compressed_bytes_hold_neither_time_nor_name(tmp_path):
    write(SOURCE, tmp_path, layout=Layout(gzip=True))
    (path,) = tmp_path.glob("train-*")
    assert path.read_bytes()[3:8] == bytes(5)  # no flags, no time
    assert len(gzip.decompress(path.read_bytes())) > path.stat().st_size
