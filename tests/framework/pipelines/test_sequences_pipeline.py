import math

import keras
import numpy as np
import pytest
import tensorflow as tf

import framework
from framework import tasks
from framework.data import records
from framework.data.checking import skipped_examples
from framework.data.evaluate import eval_dataset
from framework.data.sequences.bucketing import BucketedSource
from framework.data.train import Position, train_dataset

SEQUENCES = framework.get_pipeline("sequences")
DECLARED = {
    "points": framework.Feature((None, 2)),
    "words": framework.Feature((None,), "string"),
    "code": framework.Feature((None,), "int64"),
    "age": framework.Feature((), "float32"),
    "shop": framework.Feature((), "string"),
}


def examples(count, seed):
    """Curves that rise or fall, of 2 to 60 steps, most of them short; the other features know nothing."""
    random = np.random.default_rng(seed)
    for _ in range(count):
        label, length = int(random.integers(0, 2)), int(np.clip(random.lognormal(2.5, 0.7), 2, 60))
        curve = (2 * label - 1) * np.linspace(-1.0, 1.0, length) + random.normal(0.0, 0.1, length)
        yield (
            {
                "points": np.stack([curve, 100.0 + random.normal(size=length)], axis=1).astype(np.float32),
                "words": random.choice(["so", "it", "is"], length, p=[0.6, 0.3, 0.1]),
                "code": random.integers(0, 5, length),
                "age": np.float32(random.normal(40.0, 10.0)),
                "shop": str(random.choice(["north", "south"])),
            },
            label,
        )


@pytest.fixture(scope="module")
def curves(tmp_path_factory):
    """200 examples for training and 60 for validation, which describe themselves."""
    directory = tmp_path_factory.mktemp("sequences") / "curves"
    for split, count in (("train", 200), ("validation", 60)):
        records.write(
            list(examples(count, count)),
            directory,
            split=split,
            task=tasks.Classification(class_names=["falls", "rises"]),
            features=DECLARED,
            kind=records.SequenceSchema,
            layout=records.Layout(shards=2),
        )
    return directory


def test_a_run_is_trained_exported_called_and_loaded(curves, tmp_path):
    traced = []

    @framework.register_model(name="traced_gru")
    def traced_gru(inputs, task, *, units: int = 8):
        class Watched(keras.layers.Layer):
            def call(self, steps):
                traced.append(tuple(steps.shape))
                return steps

        return framework.get_model("gru")({**inputs, "points": Watched()(inputs["points"])}, task, units=units)

    run = framework.fit(
        traced_gru,
        "sequences",
        run_dir=tmp_path / "run",
        epochs=3,
        batch_size=16,
        pipeline_options={"path": str(curves), "test": 0.1},
        optimization=framework.Optimization(learning_rate=1e-2, steps_per_execution=4),
        verbose=0,
    )
    # Batches of a dozen lengths, several of them in one execution, and no shape of its own for any: only the batch that
    # makes the metrics' variables has one, and the two with which exports are compared.
    assert run.best.metrics["val_accuracy"] > 0.8
    lengths = {shape[1] for shape in traced if len(shape) == 3}
    assert None in lengths
    assert len([shape for shape in traced if shape[1] is not None]) <= 3

    test = next(iter(run.pipeline.require_source("test").batches(5)))
    raw = {name: value.numpy() for name, value in test.features.items()}
    expected = run.predict(raw)
    served = tf.saved_model.load(str(run.export_dir)).signatures
    protos = tf.constant(run.pipeline.serialize(raw))
    prepared = run.pipeline.preprocess({name: tf.constant(value) for name, value in raw.items()})
    padded = dict(raw)
    for name, junk in (("points", 9.0), ("words", b"junk"), ("code", 3)):  # beyond the end lies what a client likes
        more = np.full((5, 7, *raw[name].shape[2:]), junk, raw[name].dtype)
        padded[name] = np.concatenate([raw[name], more], axis=1)
    requests = {
        "serialized": {"examples": protos},
        "features": prepared,
        "serving_default": {name: tf.constant(value) for name, value in padded.items()},
    }
    assert set(served) == set(requests)
    for name, request in requests.items():
        answer = served[name](**request)
        np.testing.assert_allclose(answer["probabilities"], expected["probabilities"], atol=1e-5, err_msg=name)
    for row in range(5):  # alone, without the padding that its neighbours bring
        one = run.predict({name: value[row : row + 1] for name, value in raw.items()})
        np.testing.assert_allclose(one["probabilities"][0], expected["probabilities"][row], atol=1e-5)

    again = framework.Run.load(run.run_dir, model=traced_gru)
    np.testing.assert_array_equal(again.predict(raw)["class_name"], expected["class_name"])


def test_statistics_are_those_of_the_training_steps(curves):
    pipeline = SEQUENCES(str(curves), test=0, max_length=0.9).with_statistics()
    train = [features for features, _ in examples(200, 200)]
    steps = np.concatenate([features["points"] for features in train])
    statistics = pipeline.statistics
    np.testing.assert_allclose(statistics["points/mean"], steps.mean(axis=0, dtype=np.float64), rtol=1e-5)
    np.testing.assert_allclose(statistics["points/deviation"], steps.std(axis=0, dtype=np.float64), rtol=1e-4)
    assert statistics["words"].tolist() == ["so", "it", "is"]
    lengths = np.array([len(features["words"]) for features in train])
    for percent in (0, 5, 25, 50, 75, 95, 99, 100):
        expected = np.percentile(lengths, percent, method="inverted_cdf")
        assert statistics[f"length/p{percent}"] == pytest.approx(expected, abs=1)
    assert np.mean(lengths <= statistics["length/longest"][0]) >= 0.9


def test_what_the_model_gets(curves):
    pipeline = SEQUENCES(str(curves), test=0, types={"code": "numeric"}).with_statistics()
    assert {name: (feature.shape, feature.dtype) for name, feature in pipeline.interface().items()} == {
        "points": ((None, 2), "float32"),
        "words": ((None,), "int64"),
        "code": ((None,), "float32"),
        "mask": ((None,), "bool"),
        "age": ((), "float32"),
        "shop": ((2,), "float32"),
    }
    assert pipeline.features["length"] == framework.Feature((), "int64")
    (batch,) = eval_dataset(pipeline, "validation", batch_size=60)
    inputs, labels = batch
    given = list(examples(60, 60))
    for row, (features, label) in enumerate(given):
        length = len(features["words"])
        assert inputs["mask"][row].numpy().tolist() == [True] * length + [False] * (inputs["mask"].shape[1] - length)
        standard = (features["points"] - pipeline.statistics["points/mean"]) / pipeline.statistics["points/deviation"]
        np.testing.assert_allclose(inputs["points"][row, :length], standard, rtol=1e-4, atol=1e-5)
        ids = [["so", "it", "is"].index(word) + 1 for word in features["words"]]
        assert inputs["words"][row, :length].numpy().tolist() == ids
        assert labels[row] == label
        for name in ("points", "words", "code"):
            assert not inputs[name][row, length:].numpy().any()


@pytest.mark.parametrize("keep", ["first", "last"])
def test_long_examples_are_cut(curves, keep):
    pipeline = SEQUENCES(str(curves), test=0, max_length=5, keep=keep).with_statistics()
    (batch,) = eval_dataset(pipeline, "validation", batch_size=60)
    assert batch[0]["points"].shape == (60, 5, 2)
    features = next(features for features, _ in examples(60, 60) if len(features["words"]) > 5)
    row = [len(features["words"]) > 5 for features, _ in examples(60, 60)].index(True)
    words = features["words"][:5] if keep == "first" else features["words"][-5:]
    assert batch[0]["words"][row].numpy().tolist() == [["so", "it", "is"].index(word) + 1 for word in words]
    assert SEQUENCES(str(curves), max_length=5).source("train").lengths.max() == 5


def test_batches_of_like_length_leave_little_padding(curves):
    bucketed = SEQUENCES(str(curves), test=0).with_statistics()
    mixed = SEQUENCES(str(curves), test=0, bucketing=None).with_statistics()
    assert isinstance(bucketed.source("train"), BucketedSource)
    assert not isinstance(mixed.source("train"), BucketedSource)

    def padding(pipeline):
        masks = [batch[0]["mask"].numpy().ravel() for batch in train_dataset(pipeline, batch_size=16, seed=0).take(13)]
        return 1.0 - np.concatenate(masks).mean()

    without, with_buckets = bucketed.source("train").padding(16)
    assert padding(bucketed) == pytest.approx(with_buckets, abs=1e-6)
    assert with_buckets < 0.2 < 0.5 < without
    assert padding(mixed) == pytest.approx(without, abs=0.05)


def test_resume_at_any_step_gives_the_same_rest(curves):
    pipeline = SEQUENCES(str(curves)).with_statistics()
    steps = math.ceil(pipeline.source("train").num_examples / 16)

    def read(start):
        batches = train_dataset(pipeline, batch_size=16, seed=5, start=start).take(
            2 * steps - start.epoch * steps - start.step
        )
        return [(batch[0]["points"].numpy(), batch[1].numpy()) for batch in batches]

    whole = read(Position())
    assert len({points.shape[1] for points, _ in whole}) > 5
    for start in (Position(0, 1), Position(0, steps - 1), Position(1, 3)):
        rest = read(start)
        for (points, labels), (other, other_labels) in zip(
            whole[start.epoch * steps + start.step :], rest, strict=True
        ):
            np.testing.assert_array_equal(points, other)
            np.testing.assert_array_equal(labels, other_labels)


def test_a_split_that_is_not_there_is_made(curves):
    pipeline = SEQUENCES(str(curves), test=0.25)
    sizes = [pipeline.source(phase).num_examples for phase in ("train", "validation", "test")]
    np.testing.assert_allclose(sizes, [150, 60, 50], atol=1)
    train, test = pipeline.source("train").source, pipeline.source("test")
    assert sorted([*train.indices, *test.indices]) == list(range(200))
    lengths = [len(features["words"]) for features, _ in examples(200, 200)]
    np.testing.assert_array_equal(pipeline.source("train").lengths, np.array(lengths)[train.indices])


def test_records_of_others(tmp_path):
    (tmp_path / "data").mkdir()
    with tf.io.TFRecordWriter(str(tmp_path / "data" / "all.tfrecord")) as writer:
        for features, label in examples(60, 1):
            proto = tf.train.SequenceExample()
            for step in features["points"]:
                proto.feature_lists.feature_list["xy/values"].feature.add().float_list.value.extend(step)
            proto.context.feature["class"].int64_list.value.append(label)
            writer.write(proto.SerializeToString())
    seen = SEQUENCES(str(tmp_path / "data"), labels="int64 from class", num_classes=2)
    assert seen.features == {"xy_values": framework.Feature((None, 2)), "length": framework.Feature((), "int64")}
    said = SEQUENCES(
        str(tmp_path / "data" / "*.tfrecord"),
        {"curve": "float32(None, 2) from xy/values"},
        "int64 from class",
        num_classes=2,
    )
    assert set(said.features) == {"curve", "length"}
    assert said.task == tasks.Classification(2)
    assert [said.source(phase).num_examples for phase in ("train", "validation", "test")] == [48, 6, 6]


def test_labels_that_are_text(tmp_path):
    data = [(features, ["falls", "rises"][label]) for features, label in examples(60, 1)]
    records.write(data, tmp_path, features=DECLARED, kind=records.SequenceSchema)
    pipeline = SEQUENCES(str(tmp_path))
    assert pipeline.task == tasks.Classification(class_names=["falls", "rises"])
    expected = [label for _, label in examples(60, 1)]
    for phase in ("train", "validation", "test"):
        source = pipeline.source(phase)
        indices = (source.source if isinstance(source, BucketedSource) else source).indices
        (batch,) = source.batches(60)
        assert batch.labels.numpy().tolist() == [expected[index] for index in indices]


def test_files_for_a_test_alone(curves):
    pipeline = SEQUENCES({"test": f"{curves}/validation-*"}, {"points": "float32(None, 2)"}, "int64", num_classes=2)
    assert [pipeline.has(phase) for phase in ("train", "validation", "test")] == [False, False, True]


def test_compressed_files_are_a_stream(tmp_path):
    records.write(
        list(examples(40, 0)),
        tmp_path,
        task=tasks.Classification(2),
        features=DECLARED,
        kind=records.SequenceSchema,
        layout=records.Layout(gzip=True),
    )
    pipeline = SEQUENCES(str(tmp_path), test=0, validation=0, max_length=0.5).with_statistics()
    assert not pipeline.source("train").random_access
    longest = int(pipeline.statistics["length/longest"][0])
    for batch in train_dataset(pipeline, batch_size=8, seed=0).take(5):
        assert batch[0]["points"].shape[1] <= longest


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"types": {"point": "numeric"}}, r"types= names no feature: 'point'\. Did you mean 'points'\?"),
        ({"types": {"words": "numeric"}}, "types= has 'numeric' for 'words', .*; expected 'categorical'"),
        ({"types": {"points": "categorical"}}, "types= has 'categorical' for 'points', .*; expected 'numeric'"),
        ({"types": {"code": "text"}}, "expected 'numeric' or 'categorical'"),
        ({"types": {"length": "numeric"}}, "types= names no feature: 'length'"),
        ({"max_length": 0}, "max_length is a number of steps or a share"),
        ({"max_length": 1.5}, "max_length is a number of steps or a share"),
        ({"keep": "middle"}, "keep must be 'first' or 'last'"),
        ({"bucketing": 0.0}, "spread is by what share"),
    ],
)
def test_what_can_not_be_is_refused_at_once(curves, options, message):
    with pytest.raises(ValueError, match=message):
        SEQUENCES(str(curves), **options)


def test_bad_records_are_named_or_skipped(curves, tmp_path):
    data = records.DataSet.find(curves, kind=records.SequenceSchema)
    good = data.schema.serialize(next(iter(data.source("validation").batches(60))).map(np.asarray)).tolist()
    broken = tf.train.SequenceExample.FromString(good[7])
    broken.feature_lists.feature_list["points"].feature.pop()
    good[7] = broken.SerializeToString()
    with tf.io.TFRecordWriter(str(tmp_path / "train.tfrecord")) as writer:
        for record in good:
            writer.write(record)
    said = data.schema.describe()
    options = {"features": said["features"], "labels": said["labels"], "num_classes": 2}
    place = r"train.tfrecord, offset \d+: wrong length: its feature lists have different numbers of steps"
    with pytest.raises(tf.errors.OpError, match=place):
        list(SEQUENCES(str(tmp_path), **options, validation=0, test=0).source("train").batches(60))
    skipping = SEQUENCES(str(tmp_path), **options, on_error="skip", max_bad_share=0.3)
    ((phase, (bad,)),) = skipped_examples(skipping).items()
    assert (bad.kind, bad.place.partition(",")[0]) == ("wrong length", "train.tfrecord")
    left = skipping.without_bad({phase: [bad.index]}).with_statistics()
    assert left.require_source(phase).num_examples == skipping.source(phase).num_examples - 1
    read = sum(len(batch[1]) for batch in eval_dataset(left, phase, batch_size=16))
    assert read == left.require_source(phase).num_examples


def test_what_lies_before_a_broken_place_is_used(tmp_path):
    data = [(features, ["falls", "rises"][label]) for features, label in examples(60, 1)]
    records.write(data, tmp_path, features=DECLARED, kind=records.SequenceSchema)
    (path,) = tmp_path.glob("train-*")
    path.write_bytes(path.read_bytes()[:-1])
    (tmp_path / "dataset.json").unlink()
    options = {"features": {"points": "float32(None, 2)"}, "labels": "string"}
    with pytest.raises(ValueError, match="ends 1 bytes before it does"):
        SEQUENCES(str(tmp_path), **options)
    pipeline = SEQUENCES(str(tmp_path), **options, on_error="skip", max_bad_share=0.1).with_statistics()
    assert [bad.kind for bad in pipeline.left_out] == ["corrupt record"]
    sizes = {phase: pipeline.source(phase).num_examples for phase in ("train", "validation", "test")}
    assert sum(sizes.values()) == 59
    lengths = [len(features["words"]) for features, _ in examples(60, 1)]
    train = pipeline.source("train")
    np.testing.assert_array_equal(train.lengths, np.array(lengths)[train.source.indices])
    steps = math.ceil(sizes["train"] / 16)
    read = [batch[1].numpy() for batch in train_dataset(pipeline, batch_size=16, seed=0).take(steps)]
    assert sum(map(len, read)) == sizes["train"]


def test_a_request_with_a_length_beyond_its_steps_is_refused(curves):
    pipeline = SEQUENCES(str(curves), test=0).with_statistics()
    raw = dict(next(iter(pipeline.source("validation").batches(3))).features)
    raw["length"] += 100
    with pytest.raises(tf.errors.InvalidArgumentError, match="between 0 and the number of steps"):
        pipeline.preprocess(raw)
