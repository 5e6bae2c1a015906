import sys

import datasets
import numpy as np
import pytest
import tensorflow as tf
from foreign_data import NAMES, no_network, png, rows

import framework
from framework.data.checking import skipped_examples
from framework.data.evaluate import eval_dataset
from framework.data.phases import PHASES

HF = framework.get_pipeline("hf")
FEATURES = datasets.Features(
    {
        "image": datasets.Image(),
        "label": datasets.ClassLabel(names=list(NAMES)),
        "x": datasets.Value("float64"),
        "count": datasets.Value("int16"),
        "vector": datasets.List(datasets.Value("float32"), length=3),
        "flag": datasets.Value("bool"),
        "words": datasets.Value("large_string"),
        "shop": datasets.Value("string"),
        "tags": datasets.List(datasets.Value("string")),
    }
)


def part(count, seed):
    found = [{**row, "image": {"bytes": png(row["image"]), "path": None}} for row in rows(count, seed)]
    return datasets.Dataset.from_list(found, features=FEATURES)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A training and a test split."""
    directory = tmp_path_factory.mktemp("hf") / "saved"
    datasets.disable_progress_bars()
    datasets.DatasetDict({"train": part(90, 0), "test": part(30, 1)}).save_to_disk(directory)
    return directory


@pytest.fixture
def table(tmp_path):
    """The columns that need no library of their own, as a dict."""
    found = list(rows(40, 0))
    return {name: [row[name] for row in found] for name in ("x", "count", "flag", "words", "shop", "label")}


def of_table(table, tmp_path, **options):
    datasets.Dataset.from_dict(table).save_to_disk(tmp_path / "table")
    return HF(str(tmp_path / "table"), **options)


def test_a_run_is_trained_exported_called_and_loaded(saved, tmp_path):
    options = {"path": str(saved), "columns": ["image", "x"], "image_size": [8, 8]}
    with no_network():
        run = framework.fit(
            "mlp",
            "hf",
            run_dir=tmp_path / "run",
            pipeline_options=options,
            epochs=8,
            batch_size=16,
            optimization=framework.Optimization(learning_rate=3e-3),
            verbose=0,
        )
    assert run.best.metrics["val_accuracy"] > 0.8
    assert run.pipeline.task.class_names == NAMES

    test = run.pipeline.require_source("test").gather(tf.range(5))
    stored = {name: value.numpy() for name, value in test.features.items()}
    expected = run.predict(stored)
    served = tf.saved_model.load(str(run.export_dir)).signatures
    pixels = run.pipeline.features["image"].decode(test.features["image"][0])[tf.newaxis]
    x = test.features["x"]
    requests = {
        "serving_default": {"image": pixels, "x": x[:1]},
        "encoded": {"image": test.features["image"], "x": x},
        "serialized": {"examples": tf.constant(run.pipeline.serialize(stored))},
    }
    for name, request in requests.items():
        answer = served[name](**request)["probabilities"]
        np.testing.assert_allclose(answer, expected["probabilities"][: len(answer)], atol=1e-5)
    assert set(served) == {*requests, "features"}

    again = framework.Run.load(run.run_dir)
    np.testing.assert_array_equal(again.predict(stored)["class_name"], expected["class_name"])


def test_columns_and_rows_are_those_of_the_data_set(saved):
    pipeline = HF(str(saved), validation=0)
    assert {name: (feature.shape, feature.dtype) for name, feature in pipeline.features.items()} == {
        "image": ((224, 224, 3), "uint8"),
        "x": ((), "float64"),
        "count": ((), "int16"),
        "vector": ((3,), "float32"),
        "flag": ((), "bool"),
        "words": ((), "string"),
        "shop": ((), "string"),
    }  # but for "tags", which vary in length
    source = pipeline.source("train")
    assert source.num_examples == 90
    expected = list(rows(90, 0))
    indices = [7, 0, 89]
    example = source.gather(tf.constant(indices, tf.int64))
    for name in ("x", "count", "flag", "vector"):
        want = np.array([expected[index][name] for index in indices], pipeline.features[name].dtype)
        np.testing.assert_array_equal(example.features[name], want)
    assert [word.decode() for word in example.features["words"].numpy()] == [expected[i]["words"] for i in indices]
    assert example.labels.numpy().tolist() == [expected[index]["label"] for index in indices]
    np.testing.assert_array_equal(tf.io.decode_png(example.features["image"][0]), expected[7]["image"])
    assert source.place(7) == f"{saved}, split 'train', row 7"


def test_what_the_model_gets(saved):
    pipeline = HF(
        str(saved), columns=["x", "count", "words", "shop"], types={"shop": "categorical", "count": "categorical"}
    )
    interface = pipeline.with_statistics().interface()
    assert interface["x"].shape == ()
    assert interface["shop"].shape == (2,)
    assert interface["count"].shape == (9,)
    assert (interface["words"].shape, interface["words"].dtype) == ((3,), "int64")


def test_no_image_is_decoded_to_learn_of_the_other_columns(tmp_path):
    found = [{**row, "image": {"bytes": b"no image", "path": None}} for row in rows(20, 0)]
    datasets.Dataset.from_list(found, features=FEATURES).save_to_disk(tmp_path / "bad")
    pipeline = HF(str(tmp_path / "bad"), columns=["image", "x"], validation=0, test=0)
    assert pipeline.with_statistics().statistics["x/mean"] == pytest.approx(np.mean([row["x"] for row in found]))


def test_names_that_a_signature_can_t_have_and_a_path_at_home(table, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    of_table({**table, "x (m)": table["x"]}, tmp_path, label="label")
    pipeline = HF("~/table", label="label")
    assert "x_m" in pipeline.features
    assert pipeline.renamed == {"x_m": "x (m)"}


def test_a_split_that_is_not_there_is_made(saved):
    pipeline = HF(str(saved), validation=0.2)
    sizes = {phase: pipeline.source(phase).num_examples for phase in PHASES}
    assert sizes == {"train": 72, "validation": 18, "test": 30}
    train, validation = (pipeline.source(phase).indices for phase in PHASES[:2])
    assert sorted([*train, *validation]) == list(range(90))
    labels = np.array([row["label"] for row in rows(90, 0)])
    assert abs(labels[validation].mean() - labels.mean()) < 0.06  # by class
    other = HF(str(saved), validation=0.2, seed=1)
    assert not np.array_equal(other.source("validation").indices, validation)
    assert HF(str(saved), validation=0).source("validation") is None
    assert HF(str(saved), sample="train[:50%]", validation=0).source("train").num_examples == 45


def test_splits_can_have_other_names(saved):
    pipeline = HF(str(saved), splits={"train": "test", "validation": "train"}, test=0)
    assert pipeline.source("train").num_examples == 30
    assert pipeline.source("validation").num_examples == 90
    assert pipeline.source("test") is None


def test_the_fingerprint_is_that_of_the_rows(saved, tmp_path):
    pipeline = HF(str(saved), validation=0)
    prints = [pipeline.source(phase).fingerprint() for phase in ("train", "test")]
    assert len(set(prints)) == 2
    for elsewhere, seed in ((tmp_path / "same", 0), (tmp_path / "other", 5)):
        datasets.DatasetDict({"train": part(90, seed), "test": part(30, 1)}).save_to_disk(elsewhere)
        again = [HF(str(elsewhere), validation=0).source(phase).fingerprint() for phase in ("train", "test")]
        assert (again[0] == prints[0]) == (seed == 0)
        assert again[1] == prints[1]


@pytest.mark.parametrize("kind", ["parquet", "csv", "json"])
def test_plain_files(table, tmp_path, kind, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    made = datasets.Dataset.from_dict(table)
    folder = tmp_path / "files"
    folder.mkdir()
    getattr(made, f"to_{kind}")(folder / f"train.{kind}")
    with no_network():
        for path in (folder / f"train.{kind}", folder):
            pipeline = HF(str(path), label="label", columns=["x", "shop"], test=0, validation=0)
            assert pipeline.source("train").num_examples == 40
            got = pipeline.source("train").gather([3]).features
            assert got["x"].numpy().tolist() == pytest.approx([table["x"][3]])


def test_a_folder_of_images(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    for index, row in enumerate(rows(12, 0)):
        path = tmp_path / "images" / NAMES[row["label"]] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(row["image"]))
    with no_network():
        pipeline = HF(str(tmp_path / "images"), image_size=[4, 4], validation=0, test=0)
        assert pipeline.task.class_names == NAMES
        source = pipeline.source("train")
        example = source.gather(tf.range(source.num_examples))
    decoded = [pipeline.decode({"image": image})["image"].numpy().mean() for image in example.features["image"]]
    assert ((np.array(decoded) > 110) == example.labels.numpy().astype(bool)).all()


@pytest.mark.parametrize(
    ("label", "task", "expected"),
    [
        ("shop", None, framework.tasks.Classification(class_names=("north", "south"))),
        ("flag", None, framework.tasks.BinaryClassification(class_names=("false", "true"))),
        ("x", None, framework.tasks.Regression()),
        ("count", "regression", framework.tasks.Regression()),
        ("label", None, framework.tasks.Classification(class_names=("0", "1"))),
    ],
)
def test_the_label_tells_the_task(table, tmp_path, label, task, expected):
    pipeline = of_table(table, tmp_path, label=label, columns=["words"], task=task, validation=0, test=0)
    assert pipeline.task == expected
    labels = pipeline.source("train").gather(tf.range(40, dtype=tf.int64)).labels.numpy()
    values = np.array(table[label])
    names = list(getattr(expected, "class_names", ()))
    want = np.array([names.index(str(value).lower()) for value in values]) if names else values
    np.testing.assert_allclose(labels, want, rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label": "lable"}, r"label= names the column 'lable', .* Did you mean 'label'\?"),
        ({"label": "tags"}, "which varies in length"),
        ({"label": "vector"}, "expected one number or text"),
        ({"columns": ["imgae"]}, r"Did you mean 'image'\?"),
        ({"columns": ["image", "tags"]}, "columns= names the column 'tags' .* varies in length"),
        ({"columns": ["label"]}, "The label 'label' is among columns="),
        ({"types": {"x": "text"}}, "Column 'x' .* is numeric; it can't be text"),
        ({"types": {"x": "categorical"}}, "Column 'x' .* floats are no categories"),
        ({"types": {"nothing": "text"}}, "types= has 'nothing'"),
        ({"splits": {"train": "training"}}, r"has no split 'training'\. Did you mean 'train'\?"),
        ({"splits": {"test": "test"}}, "splits= maps train, validation, test"),
        ({"task": "regresion"}, r"task must be one of .* Did you mean 'regression'\?"),
        ({"sample": "validation[:10%]", "validation": 0}, "there are \\['train', 'test'\\]"),
        ({"validation": 0.9, "test": 0.3}, "leave nothing to train on"),
        ({"image_size": [8]}, "Image shape is"),
    ],
)
def test_what_can_not_be_is_refused_at_once(saved, options, message):
    with pytest.raises(ValueError, match=message):
        HF(str(saved), **options)


def test_a_value_that_is_missing_is_said(table, tmp_path):
    holes = {**table, "x": [None, *table["x"][1:]], "shop": [None, *table["shop"][1:]]}
    pipeline = of_table(holes, tmp_path, label="label", columns=["x"], validation=0, test=0)
    assert np.isnan(pipeline.source("train").gather([0]).features["x"].numpy())  # which the encoding has a place for
    assert pipeline.with_statistics().interface()["x"].shape == (2,)
    with pytest.raises(ValueError, match=r"Column 'shop' .* has no value in 1 of 40 rows"):
        HF(str(tmp_path / "table"), label="label", columns=["shop"])
    with pytest.raises(ValueError, match=r"Column 'shop' .* has no value in 1 of 40 rows"):
        HF(str(tmp_path / "table"), label="shop", columns=["x"])


def test_images_that_can_not_be_decoded_are_named_or_skipped(tmp_path):
    found = [{**row, "image": {"bytes": png(row["image"]), "path": None}} for row in rows(40, 0)]
    found[5]["image"]["bytes"] = found[5]["image"]["bytes"][:50]
    datasets.Dataset.from_list(found, features=FEATURES).save_to_disk(tmp_path / "broken")
    options = {"path": str(tmp_path / "broken"), "columns": ["image"], "image_size": [4, 4], "validation": 0, "test": 0}
    with pytest.raises(tf.errors.OpError, match=r"split 'train', row 5: undecodable image"):
        list(eval_dataset(HF(**options), "train", batch_size=8))
    ((phase, (bad,)),) = skipped_examples(HF(**options, on_error="skip", max_bad_share=0.1)).items()
    assert (phase, bad.index, bad.kind) == ("train", 5, "undecodable image")


def test_nothing_is_downloaded(tmp_path):
    with no_network(), pytest.raises(FileNotFoundError, match=r"no file or folder mnist\. Nothing is downloaded"):
        HF("mnist")
    (tmp_path / "x.txt").touch()
    with pytest.raises(ValueError, match="isn't a file of a known kind"):
        HF(str(tmp_path / "x.txt"))


def test_without_the_library(saved, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ImportError, match=r'pip install "keras-shipyard\[hf\]"'):
        HF(str(saved))
