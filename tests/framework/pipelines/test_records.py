"""The pipeline over records: the same tensors as the pipeline they were made of, a run, and each of its signatures."""

import shutil

import numpy as np
import pytest
import tensorflow as tf

import framework
from framework import Feature, tasks
from framework.data import records
from framework.data.bad_examples import BadExampleError
from framework.data.checking import check_examples, skipped_examples
from framework.data.evaluate import eval_dataset
from framework.data.sources import ArraySource
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


def test_bad_examples_are_left_out_of_what_is_written(tmp_path, caplog):
    png = tf.io.encode_png(np.zeros((4, 4, 3), np.uint8)).numpy()
    images = np.array([png] * 9 + [b"\x89PNG\r\n\x1a\nhalf"], object)

    class Photos(framework.Pipeline):
        features = {"image": framework.Image((4, 4, 3))}
        task = framework.tasks.Classification(2)
        bad_examples = framework.BadExamples(on_error="skip", max_share=0.2)

        def source(self, phase):
            return framework.ArraySource({"image": images}, np.arange(10) % 2) if phase == "train" else None

    records.write_pipeline(Photos(), tmp_path / "photos")
    assert "1 examples of the train split are left out: 1 undecodable image. The first: example 9" in caplog.text
    copy = framework.get_pipeline("records")(str(tmp_path / "photos"), validation=0, test=0)
    assert copy.source("train").num_examples == 9
    assert check_examples(copy, "train") == []
    strict = Photos()
    strict.bad_examples = framework.BadExamples(on_error="skip", max_share=0.05)
    with pytest.raises(BadExampleError, match=r"At most a share of 0\.05 is skipped"):
        records.write_pipeline(strict, tmp_path / "strict")
    assert not (tmp_path / "strict").exists()


def test_what_lies_before_a_broken_place_is_trained_on(directory, tmp_path):
    copy = shutil.copytree(directory, tmp_path / "copy")
    path = copy / "train-00002-of-00003.tfrecord"
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(ValueError, match=r"train-00002-of-00003.tfrecord, offset"):
        framework.get_pipeline("records")(str(copy))
    run = framework.fit(
        "mlp",
        "records",
        pipeline_options={"path": str(copy), "on_error": "skip"},
        run_dir=tmp_path / "run",
        epochs=1,
        hparams={"width": 4},
        verbose=0,
    )
    (left_out,) = run.pipeline.left_out
    assert left_out.place.startswith(path.name)
    whole = framework.get_pipeline("records")(directory).source("train").num_examples
    assert run.pipeline.source("train").num_examples == whole - 1
    assert "skipped_corrupt_record" in (tmp_path / "run" / "history.csv").read_text()


def animals(directory, name="animals.tfrecord", count=60, **labels):
    """Records whose labels are text."""
    directory.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(directory / name)) as writer:
        for index in range(count):
            kind = labels.get(f"at_{index}", ["dog", "cat", "bird"][index % 3])
            weight = index % 3 + np.random.default_rng(index).normal(scale=0.1)
            features = {
                "weight": tf.train.Feature(float_list=tf.train.FloatList(value=[weight])),
                "kind": tf.train.Feature(bytes_list=tf.train.BytesList(value=[kind.encode()])),
            }
            writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())
    return str(directory)


ANIMALS = {"features": {"weight": "float32"}, "labels": "string from kind"}


def test_labels_that_are_text_are_classes_to_the_export(tmp_path):
    path = animals(tmp_path / "data", count=120)
    run = framework.fit(
        "mlp",
        "records",
        pipeline_options={"path": path, **ANIMALS},
        run_dir=tmp_path / "run",
        epochs=30,
        batch_size=16,
        optimization=framework.Optimization(learning_rate=0.03),
        verbose=0,
    )
    assert run.best.metrics["val_accuracy"] > 0.9
    assert run.pipeline.task == tasks.Classification(class_names=["bird", "cat", "dog"])
    served = tf.saved_model.load(str(run.export_dir)).signatures["serving_default"]
    names = served(weight=tf.constant([0.0, 1.0, 2.0]))["class_name"].numpy().tolist()
    assert names == [b"dog", b"cat", b"bird"]
    # A tenth each, every class by its share: the files know nothing of splits.
    sizes = {phase: run.pipeline.source(phase).num_examples for phase in ("train", "validation", "test")}
    assert sizes == {"train": 96, "validation": 12, "test": 12}
    (test,) = run.pipeline.source("test").batches(12)
    assert np.bincount(test.labels.numpy()).tolist() == [4, 4, 4]
    again = framework.Run.load(tmp_path / "run")
    assert again.evaluate("test") == run.evaluate("test")


def test_classes_of_text_that_are_given(tmp_path):
    make = framework.get_pipeline("records")
    path = animals(tmp_path / "data", at_7="cow")
    learned = make(path, **ANIMALS)
    assert learned.task.class_names == ("bird", "cat", "cow", "dog")
    given = make(path, **ANIMALS, class_names=["dog", "cat", "bird", "cow"], validation=0, test=0)
    (batch,) = given.source("train").batches(60)
    assert batch.labels.numpy()[:8].tolist() == [0, 1, 2, 0, 1, 2, 0, 3]
    other = make(path, **ANIMALS, class_names=["cat", "dog", "bird", "cow"], validation=0, test=0)
    assert given.source("train").fingerprint() != other.source("train").fingerprint()
    task = {"type": "Classification", "num_classes": 4, "label_smoothing": 0.1}
    assert make(path, **ANIMALS, task=task).task == tasks.Classification(
        class_names=["bird", "cat", "cow", "dog"], label_smoothing=0.1
    )
    with pytest.raises(ValueError, match="num_classes is 3, but there are 4 class_names"):
        make(path, **ANIMALS, num_classes=3)
    with pytest.raises(
        ValueError, match=r"label 'kind' is text, and nobody says which classes there are: .*Regression"
    ):
        make(path, **ANIMALS, task={"type": "Regression"})
    with pytest.raises(ValueError, match="no training split to learn its classes from"):
        make({"test": f"{path}/*"}, **ANIMALS)


def test_yes_and_no(tmp_path):
    labels = {f"at_{index}": "yes" if index % 2 else "no" for index in range(60)}
    path = animals(tmp_path / "data", **labels)
    pipeline = framework.get_pipeline("records")(path, **ANIMALS, task={"type": "BinaryClassification"})
    assert pipeline.task.class_names == ("no", "yes")
    task = {"type": "BinaryClassification", "threshold": 0.3}
    pipeline = framework.get_pipeline("records")(path, **ANIMALS, task=task, class_names=["yes", "no"])
    assert pipeline.task == tasks.BinaryClassification(class_names=("yes", "no"), threshold=0.3)
    with pytest.raises(ValueError, match=r"'bird', 'cat', 'dog'.* needs two classes"):
        framework.get_pipeline("records")(animals(tmp_path / "more"), **ANIMALS, task={"type": "BinaryClassification"})


def test_several_labels_one_of_which_is_text(tmp_path):
    path = animals(tmp_path / "data")
    options = {"features": {"weight": "float32"}, "labels": {"kind": "string from kind", "size": "float32 from weight"}}
    kind = tasks.Classification(class_names=["bird", "cat", "dog"])
    task = tasks.Heads({"kind": kind, "size": tasks.Regression()})
    pipeline = framework.get_pipeline("records")(path, **options, task=task, validation=0, test=0)
    (batch,) = pipeline.source("train").batches(60)
    assert batch.labels["kind"].numpy()[:3].tolist() == [2, 1, 0]
    unnamed = tasks.Heads({"kind": tasks.Classification(3), "size": tasks.Regression()})
    with pytest.raises(ValueError, match="nobody says which classes there are"):
        framework.get_pipeline("records")(path, **options, task=unnamed)


def test_a_label_that_is_no_class_is_named_or_skipped(tmp_path):
    path = animals(tmp_path / "data", "train.tfrecord")
    animals(tmp_path / "data", "validation.tfrecord", at_5="cow")
    pipeline = framework.get_pipeline("records")(path, **ANIMALS, on_error="skip", max_bad_share=0.02)
    says = "label out of range: label (key 'kind') is 'cow', expected one of the classes 'bird', 'cat', 'dog'"
    with pytest.raises(tf.errors.OpError) as caught:
        list(pipeline.source("validation").batches(60))
    assert says in str(caught.value)
    found = skipped_examples(pipeline)
    ((bad,),) = found.values()
    assert (bad.index, bad.kind, bad.place.partition(",")[0]) == (5, "label out of range", "validation.tfrecord")
    assert says in bad.reason


def test_splits_that_are_not_there_are_made_where_that_is_wanted(directory, tmp_path):
    make = framework.get_pipeline("records")
    whole = make(animals(tmp_path / "data", "train.tfrecord"), **ANIMALS, validation=0, test=0)
    assert [whole.has(phase) for phase in ("train", "validation", "test")] == [True, False, False]
    parts = make(str(tmp_path / "data"), **ANIMALS, validation=0.25, test=0, seed=3)
    train, validation = parts.source("train"), parts.source("validation")
    assert sorted([*train.indices, *validation.indices]) == list(range(60))
    assert len(validation.indices) == 15
    assert np.bincount(next(iter(validation.batches(15))).labels.numpy()).tolist() == [5, 5, 5]
    again = make(str(tmp_path / "data"), **ANIMALS, validation=0.25, test=0, seed=3)
    assert again.source("validation").indices.tolist() == validation.indices.tolist()
    # What describes itself says that there is no such split, too.
    sidecar = records.write(ArraySource({"x": np.arange(9.0)}, np.arange(9) % 3), tmp_path / "own")
    assert list(sidecar.splits) == ["train"]
    assert not make(str(tmp_path / "own"), num_classes=3).has("validation")


def test_nothing_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="no files of records that match"):
        framework.get_pipeline("records")(str(tmp_path))
