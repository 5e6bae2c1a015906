import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from foreign_data import NAMES, no_network, rows

import framework
from framework.data.records import RecordSource

TFDS = framework.get_pipeline("tfds")
FORMATS = ("tfrecord", "array_record", "parquet")
COUNTS = {"train": 60, "test": 20}


def connectors(encoded):
    kinds = tfds.features
    found = {
        "image": kinds.Image(shape=(None, None, 3)),
        "label": kinds.ClassLabel(names=list(NAMES)),
        "x": kinds.Scalar(np.float32),
        "count": kinds.Scalar(np.int16),
        "vector": kinds.Tensor(shape=(3,), dtype=np.float32),
        "flag": kinds.Scalar(np.bool_),
        "words": kinds.Text(),
        "shop": kinds.Text(),
        "tags": kinds.Sequence(kinds.Text()),
    }
    return found | ({"vector": kinds.Tensor(shape=(3,), dtype=np.float32, encoding="zlib")} if encoded else {})


class MadeRows(tfds.core.GeneratorBasedBuilder):
    """What `rows` makes, or other rows of other columns."""

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, columns, splits, **settings):
        self._columns, self._splits = columns, splits
        super().__init__(**settings)

    def _info(self):
        features = tfds.features.FeaturesDict(self._columns)
        return tfds.core.DatasetInfo(builder=self, features=features, supervised_keys=("image", "label"))

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(found) for split, found in self._splits.items()}

    def _generate_examples(self, found):
        yield from enumerate(found)


def prepare(directory, file_format, *, encoded=False, seed=0):
    """Writes a data set as the library does; returns its folder."""
    splits = {split: list(rows(count, count + seed)) for split, count in COUNTS.items()}
    return written(MadeRows(connectors(encoded), splits, data_dir=directory, file_format=file_format))


def written(builder):
    tfds.disable_progress_bar()
    builder.download_and_prepare()
    return os.fspath(builder.data_dir)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """`{file format: folder}`, each made when it is asked for."""
    made = {}

    def prepared(file_format):
        if file_format not in made:
            directory = tmp_path_factory.mktemp("tfds")
            with no_network():
                made[file_format] = (
                    prepare(directory, "tfrecord", encoded=True)
                    if file_format == "stream"
                    else prepare(directory, file_format)
                )
        return made[file_format]

    return prepared


def test_a_run_is_trained_exported_called_and_loaded(prepared, tmp_path):
    options = {"path": prepared("tfrecord"), "columns": ["image", "x"], "image_size": [8, 8]}
    with no_network():
        run = framework.fit(
            "mlp",
            "tfds",
            run_dir=tmp_path / "run",
            pipeline_options=options,
            epochs=6,
            batch_size=16,
            optimization=framework.Optimization(learning_rate=3e-3),
            verbose=0,
        )
    assert run.best.metrics["val_accuracy"] > 0.8
    assert run.pipeline.task.class_names == NAMES

    test = run.pipeline.require_source("test").gather(tf.range(5, dtype=tf.int64))
    stored = {name: value.numpy() for name, value in test.features.items()}
    expected = run.predict(stored)
    served = tf.saved_model.load(str(run.export_dir)).signatures
    pixels = run.pipeline.features["image"].decode(test.features["image"][0])[tf.newaxis]
    requests = {
        "serving_default": {"image": pixels, "x": test.features["x"][:1]},
        "encoded": test.features,
        "serialized": {"examples": tf.constant(run.pipeline.serialize(stored))},
    }
    for name, request in requests.items():
        answer = served[name](**request)["probabilities"]
        np.testing.assert_allclose(answer, expected["probabilities"][: len(answer)], atol=1e-5)
    assert set(served) == {*requests, "features"}

    again = framework.Run.load(run.run_dir)
    np.testing.assert_array_equal(again.predict(stored)["class_name"], expected["class_name"])


@pytest.mark.parametrize("file_format", [*FORMATS, "stream"])
def test_every_file_format_has_the_rows_that_were_written(prepared, file_format):
    with no_network():
        pipeline = TFDS(prepared(file_format), validation=0)
    source = pipeline.source("train")
    assert source.random_access == (file_format != "stream")
    assert isinstance(source, RecordSource) == (file_format == "tfrecord")
    assert list(pipeline.features) == ["count", "flag", "image", "shop", "vector", "words", "x"]  # but for "tags"
    (example,) = source.batches(60)
    # The library shuffles what it writes: rows are told by their numbers.
    expected = sorted(rows(60, 60), key=lambda row: row["x"])
    order = np.argsort(example.features["x"].numpy())
    assert len(order) == 60
    for name in ("x", "count", "vector", "flag"):
        want = np.array([row[name] for row in expected], pipeline.features[name].dtype)
        np.testing.assert_array_equal(example.features[name].numpy()[order], want)
    words = [text.decode() for text in example.features["words"].numpy()[order]]
    assert words == [row["words"] for row in expected]
    assert example.labels.numpy()[order].tolist() == [row["label"] for row in expected]
    np.testing.assert_array_equal(tf.io.decode_png(example.features["image"][order[7]]), expected[7]["image"])
    if source.random_access:
        np.testing.assert_array_equal(source.gather([5, 2]).features["x"], example.features["x"].numpy()[[5, 2]])
    assert "train" in source.place(3)
    assert "3" in source.place(3) or "offset" in source.place(3)


@pytest.mark.parametrize("file_format", [*FORMATS, "stream"])
def test_the_order_is_the_same_each_time(prepared, file_format):
    def read():
        with no_network():
            pipeline = TFDS(prepared(file_format), validation=0.2, columns=["x"])
        return [
            (np.concatenate([e.features["x"] for e in source.batches(7)]).tolist(), source.fingerprint())
            for source in map(pipeline.source, ("train", "validation", "test"))
        ]

    first = read()
    assert [len(values) for values, _ in first] == [48, 12, 20]
    assert read() == first
    assert len({value for values, _ in first for value in values}) == 80


@pytest.mark.parametrize("file_format", ["array_record", "stream"])
def test_the_fingerprint_is_that_of_the_files(prepared, file_format, tmp_path):
    def fingerprint(path, **options):
        return TFDS(path, validation=0, **options).source("train").fingerprint()

    path = prepared(file_format)
    other = prepare(
        tmp_path, "tfrecord" if file_format == "stream" else file_format, encoded=file_format == "stream", seed=1
    )
    assert fingerprint(path) == fingerprint(path)
    assert fingerprint(path) != fingerprint(other)
    assert fingerprint(path) != fingerprint(path, columns=["x"])


def test_what_the_model_gets(prepared):
    pipeline = TFDS(prepared("tfrecord"), columns=["count", "words", "shop"], types={"shop": "categorical"})
    interface = pipeline.with_statistics().interface()
    assert (interface["count"].shape, interface["shop"].shape) == ((), (2,))
    assert (interface["words"].shape, interface["words"].dtype) == ((3,), "int64")


@pytest.mark.parametrize(
    ("label", "task", "expected"),
    [
        (None, None, framework.tasks.Classification(class_names=NAMES)),
        ("label", "binary", framework.tasks.BinaryClassification(class_names=NAMES)),
        ("flag", None, framework.tasks.BinaryClassification(class_names=("false", "true"))),
        ("x", None, framework.tasks.Regression()),
        ("count", None, framework.tasks.Classification(class_names=[str(number) for number in range(9)])),
    ],
)
def test_the_label_tells_the_task(prepared, label, task, expected):
    pipeline = TFDS(prepared("array_record"), label, columns=["vector"], task=task, validation=0)
    assert pipeline.task == expected
    labels = pipeline.source("train").gather(tf.range(60, dtype=tf.int64)).labels.numpy()
    want = [row[label or "label"] for row in rows(60, 60)]
    np.testing.assert_allclose(np.sort(labels), np.sort(np.float32(want)))


def test_images_of_one_size_keep_it(tmp_path):
    features = {"image": tfds.features.Image(shape=(6, 4, 1)), "label": tfds.features.ClassLabel(num_classes=2)}
    examples = [{"image": np.full((6, 4, 1), 100 * (index % 2), np.uint8), "label": index % 2} for index in range(20)]
    path = written(MadeRows(features, {"train": examples}, data_dir=tmp_path))
    pipeline = TFDS(path, test=0.2)
    assert pipeline.features == {"image": framework.Image((6, 4, 1))}
    assert pipeline.task == framework.tasks.Classification(class_names=("0", "1"))
    assert [pipeline.source(phase).num_examples for phase in ("train", "validation", "test")] == [14, 2, 4]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label": "lable"}, r"Did you mean 'label'\?"),
        ({"label": "tags"}, "label= names the column 'tags' .* is a Sequence|varies in length"),
        ({"label": "shop"}, r"has the values \['north', 'south'\]; expected a ClassLabel"),
        ({"columns": ["tags"]}, "columns= names the column 'tags'"),
        ({"types": {"x": "categorical"}}, "floats are no categories"),
        ({"splits": {"train": "trian"}}, r"Did you mean 'train'\?"),
    ],
)
def test_what_can_not_be_is_refused_at_once(prepared, options, message):
    with pytest.raises(ValueError, match=message):
        TFDS(prepared("array_record"), **options)


def test_where_the_data_set_is(prepared, tmp_path, monkeypatch):
    folder = prepared("tfrecord")
    above = os.path.dirname(os.path.dirname(folder))
    assert TFDS(above).source("test").num_examples == 20  # the only one there
    monkeypatch.setenv("HOME", above)
    assert TFDS("~").source("test").num_examples == 20
    with no_network(), pytest.raises(FileNotFoundError, match=r"below it there is nothing\. Nothing is downloaded"):
        TFDS(str(tmp_path))
    with no_network(), pytest.raises(FileNotFoundError, match="which mnist hasn't"):
        TFDS("mnist")
    for version in ("1.0.0", "2.0.0"):
        (tmp_path / "two" / version).mkdir(parents=True)
        (tmp_path / "two" / version / "dataset_info.json").touch()
    with pytest.raises(FileNotFoundError, match=r"two/1\.0\.0, .*two/2\.0\.0"):
        TFDS(str(tmp_path / "two"))


def test_libraries_are_imported_only_when_used():
    code = (
        "import framework, sys; framework.get_pipeline('tfds'), framework.get_pipeline('hf'); "
        "print({'datasets', 'tensorflow_datasets'} & set(sys.modules))"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout.strip() == "set()"


def test_without_the_library(prepared, monkeypatch):
    path = prepared("tfrecord")
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(ImportError, match=r'pip install "keras-shipyard\[tfds\]"'):
        TFDS(path)
