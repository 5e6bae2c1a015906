"""The pipeline over records: the same tensors as the pipeline they were made of, a run, and each of its signatures."""

import shutil

import numpy as np
import pytest
import tensorflow as tf

import framework
from framework import Feature, tasks
from framework.data import records
from framework.data.checking import skipped_examples
from framework.data.evaluate import eval_dataset
from framework.data.train import Position, train_dataset
from framework.training.plan import resolve_pipeline


@pytest.fixture(scope="module")
def digits():
    return framework.get_pipeline("digits")()


@pytest.fixture(scope="module")
def directory(digits, tmp_path_factory):
    path = tmp_path_factory.mktemp("records") / "digits"
    records.write_pipeline(digits, path, layout=records.Layout(shards=3))
    return str(path)


def same(one, other):
    tf.nest.map_structure(np.testing.assert_array_equal, one, other)


def as_digits(directory):
    """The digits pipeline over the records: everything but the source is its own."""

    class DigitsFromRecords(framework.get_pipeline("digits")):
        def source(self, phase):
            return records.DataSet.find(directory).source(phase)

    return DigitsFromRecords()


def test_the_same_batches_as_the_pipeline_they_were_made_of(digits, directory):
    ours = as_digits(directory)
    for start in (Position(), Position(1, 3)):
        batches = [train_dataset(data, batch_size=64, seed=3, start=start).take(3) for data in (ours, digits)]
        for one, other in zip(*batches, strict=True):
            same(one, other)  # in the same order, augmented in the same way
    for phase in ("train", "validation", "test"):
        for one, other in zip(*(eval_dataset(d, phase, batch_size=100) for d in (ours, digits)), strict=True):
            same(one, other)


def test_the_data_set_says_what_it_is(digits, directory):
    pipeline = framework.get_pipeline("records")(directory)
    assert pipeline.features == digits.features
    assert pipeline.task == digits.task
    for phase in ("train", "validation", "test"):
        (one,) = pipeline.source(phase).batches(2000)
        (other,) = digits.source(phase).batches(2000)
        same(one[:2], other[:2])
    (batch,) = eval_dataset(pipeline, "test", batch_size=500).take(1)
    (image,) = [example.features["image"] for example in digits.source("test").batches(500)]
    np.testing.assert_allclose(batch[0]["image"], image.numpy() / 255.0, rtol=1e-6)


def test_a_run_its_reload_and_every_signature(directory, tmp_path):
    run = framework.fit(
        "mlp",
        "records",
        pipeline_options={"path": directory},
        run_dir=tmp_path / "run",
        epochs=2,
        batch_size=64,
        hparams={"width": 16},
        verbose=0,
    )
    again = framework.Run.load(tmp_path / "run")
    assert again.evaluate("test") == pytest.approx(run.evaluate("test"))
    served = tf.saved_model.load(str(run.export_dir)).signatures
    # A client's protos may be the records themselves: a label in them is passed over.
    protos = [proto for _, proto, _ in records.read_records(f"{directory}/test-00000-of-00001.tfrecord")][:20]
    (batch,) = framework.get_pipeline("records")(directory).source("test").batches(20).take(1)
    image = batch.features["image"]
    answers = [
        served["serialized"](examples=tf.constant(protos)),
        served["serving_default"](image=image),
        served["features"](image=tf.cast(image, tf.float32) / 255.0),
        run.predict({"image": image}),
    ]
    for answer in answers:
        np.testing.assert_allclose(answer["logits"], answers[0]["logits"], rtol=1e-5, atol=1e-5)
    assert "encoded" not in served


def jpeg(value):
    return tf.io.encode_jpeg(np.full((6, 9, 3), value, np.uint8), quality=100).numpy()


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """What another program may have written: its own keys, an image, codes of any number, more than is asked for."""
    base = tmp_path_factory.mktemp("theirs")

    def feature(values):
        if isinstance(values[0], bytes):
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
        if isinstance(values[0], float):
            return tf.train.Feature(float_list=tf.train.FloatList(value=values))
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))

    for name, count in (("train-00000-of-00002", 20), ("train-00001-of-00002", 20), ("validation.gz", 12)):
        with tf.io.TFRecordWriter(str(base / name), "GZIP" if name.endswith("gz") else "") as writer:
            for index in range(count):
                lists = {
                    "image/encoded": [jpeg(index)],
                    "image/class": [1 + index % 2],
                    "codes": list(range(index % 3 + 1)),
                    "age": [float(index)],
                    "unused": [b"text"],
                }
                features = {key: feature(values) for key, values in lists.items()}
                writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())
    return str(base)


THEIRS = {
    "features": {"image": "image(4, 4, 3) from image/encoded", "codes": "int64(None)", "years": "float32 from age"},
    "labels": "int64 from image/class",
    "num_classes": 3,
}


def test_other_peoples_records(theirs):
    pipeline = resolve_pipeline("records", {"path": theirs, **THEIRS}).with_statistics()
    assert pipeline.features == {
        "image": framework.Image((4, 4, 3)),
        "codes": Feature((None,), "int64"),
        "years": Feature(),
    }
    assert pipeline.task == tasks.Classification(3)
    assert pipeline.source("train").num_examples == 40
    assert pipeline.source("test") is None
    assert not pipeline.source("validation").random_access
    ((inputs, labels),) = eval_dataset(pipeline, "validation", batch_size=12)
    assert labels.numpy().tolist() == [1 + index % 2 for index in range(12)]
    assert inputs["codes"].shape == (12, 3)
    np.testing.assert_allclose(inputs["image"][:, 0, 0, 0], np.arange(12) / 255.0, atol=1e-6)
    ages = np.tile(np.arange(20.0), 2)
    np.testing.assert_allclose(inputs["years"], (np.arange(12) - ages.mean()) / ages.std(), rtol=1e-5)
    raw = resolve_pipeline("records", {"path": theirs, **THEIRS, "standardize": False}).with_statistics()
    ((inputs, _),) = eval_dataset(raw, "validation", batch_size=12)
    assert inputs["years"].numpy().tolist() == list(range(12))


def test_splits_by_pattern(theirs):
    path = {"train": f"{theirs}/train-00000*", "test": f"{theirs}/train-00001*"}
    pipeline = framework.get_pipeline("records")(path, **THEIRS)
    assert [pipeline.has(phase) for phase in ("train", "validation", "test")] == [True, False, True]
    assert pipeline.source("train") is pipeline.source("train")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, r"There seem to be .*'age': 'float32', 'codes': 'int64\(None\)', 'image/class': 'int64'"),
        ({"features": {"years": "float32 from age"}}, "Nobody says"),
        ({**THEIRS, "num_classes": None}, "How many classes"),
        ({**THEIRS, "features": {"years": "float31"}}, "'float31' isn't a feature"),
        ({**THEIRS, "task": {"type": "Sorting"}}, "no task 'Sorting'"),
    ],
)
def test_what_has_to_be_said(theirs, options, says):
    with pytest.raises(ValueError, match=says):
        framework.get_pipeline("records")(theirs, **options)


def test_tasks_that_are_given(theirs):
    make = framework.get_pipeline("records")
    binary = make(theirs, **{**THEIRS, "num_classes": None}, task={"type": "BinaryClassification", "threshold": 0.3})
    assert binary.task == tasks.BinaryClassification(threshold=0.3)
    assert make(theirs, **{**THEIRS, "num_classes": None}, task=tasks.Classification(5)).task.num_classes == 5
    named = make(theirs, **{**THEIRS, "num_classes": None}, class_names=["none", "one", "two"])
    assert named.task.class_names == ("none", "one", "two")
    amounts = make(theirs, {"codes": "int64(None)"}, "float32 from age")
    assert amounts.task == tasks.Regression()


def test_a_wrong_label_is_refused_before_training(theirs, tmp_path):
    pipeline = framework.get_pipeline("records")(theirs, **{**THEIRS, "num_classes": 2})
    with pytest.raises(ValueError, match="Label out of range"):
        framework.fit("mlp", pipeline, run_dir=tmp_path / "run")


def test_bad_records_are_left_out_where_that_is_wanted(directory, tmp_path):
    copy = shutil.copytree(directory, tmp_path / "copy")
    path = copy / "train-00001-of-00003.tfrecord"
    data = bytearray(path.read_bytes())
    data[20] ^= 1
    path.write_bytes(bytes(data))
    pipeline = framework.get_pipeline("records")(str(copy))
    pipeline.bad_examples = framework.BadExamples(on_error="skip")
    found = skipped_examples(pipeline)
    assert {phase: [(one.place, one.kind) for one in bad] for phase, bad in found.items()} == {
        "train": [(f"{path.name}, offset 0", "corrupt record")]
    }
    clean = pipeline.without_bad({phase: [bad.index for bad in found[phase]] for phase in found})
    batches = eval_dataset(clean, "train", batch_size=500)
    assert sum(len(labels) for _, labels in batches) == pipeline.source("train").num_examples - 1


def test_nothing_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="no files of records that match"):
        framework.get_pipeline("records")(str(tmp_path))
