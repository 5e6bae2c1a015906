import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

import framework
from framework.data.bad_examples import BadExampleError
from framework.data.checking import skipped_examples
from framework.data.train import train_dataset

COUNT = 60
QUICK = {
    "epochs": 3,
    "batch_size": 6,
    "verbose": 0,
    "optimization": framework.Optimization(learning_rate=0.03),
    "hparams": {"width": 4, "hidden": 16, "vocabulary_size": 50, "embedding_size": 4, "num_bins": 20},
}
OPTIONS = {"label": "sold", "image_size": [12, 12], "types": {"description": "text"}}


@pytest.fixture(scope="module")
def offers(tmp_path_factory):
    """A folder of photographs, and a table of offers that names them; what is red sells."""
    folder = tmp_path_factory.mktemp("offers")
    (folder / "photos").mkdir()
    random = np.random.default_rng(0)
    with open(folder / "offers.jsonl", "w", encoding="utf-8") as file:
        for number in range(COUNT):
            is_red = number % 2 == 0
            pixels = random.integers(0, 80, (12 + number % 3, 14, 3), np.uint8)
            pixels[..., 0 if is_red else 2] += 150
            name = f"photos/{number}.png"
            tf.io.write_file(str(folder / name), tf.io.encode_png(pixels))
            offer = {
                "photo": name,
                "description": " ".join(random.choice(["nice", "old", "lamp", "chair"], 4)),
                "price": float(number) if number % 7 else None,
                "kind": ("lamp", "chair")[number % 3 % 2],
                "since": f"2024-05-{1 + number % 28:02}",
                "sold": is_red,
            }
            file.write(json.dumps(offer) + "\n")
    return folder


def multimodal(path, **options):
    return framework.get_pipeline("multimodal")(path, **(OPTIONS | options))


def test_features_of_every_kind(offers):
    pipeline = multimodal(str(offers / "offers.jsonl"))
    assert {name: (type(feature).__name__, feature.dtype) for name, feature in pipeline.features.items()} == {
        "photo": ("Image", "uint8"),
        "description": ("Feature", "string"),
        "price": ("Feature", "float32"),
        "kind": ("Feature", "string"),
        "since": ("Feature", "string"),
    }
    assert pipeline.task == framework.tasks.BinaryClassification(class_names=["false", "true"])
    assert {
        name: (feature.shape, feature.dtype) for name, feature in pipeline.with_statistics().interface().items()
    } == {
        "photo": ((12, 12, 3), "float32"),
        "description": ((4,), "int64"),
        "price": ((2,), "float32"),
        "kind": ((2,), "float32"),
        "since": ((5,), "float32"),
    }


def test_images_are_not_read_to_learn_the_rest(offers, tmp_path):
    shutil.copytree(offers, tmp_path / "copy")
    pipeline = multimodal(str(tmp_path / "copy" / "offers.jsonl"))
    shutil.rmtree(tmp_path / "copy" / "photos")
    assert "price/mean" in pipeline.with_statistics().statistics


def test_bad_images_are_no_part_of_the_statistics(offers):
    pipeline = multimodal(str(offers / "offers.jsonl"), validation=0, test=0)
    without = pipeline.without_bad({"train": list(range(50))}).with_statistics().statistics
    assert without["price/mean"] == pytest.approx(np.mean([n for n in range(50, COUNT) if n % 7]))


@pytest.mark.parametrize("where", ["beside", "root", "frame"])
def test_where_images_lie(offers, tmp_path, monkeypatch, where):
    table = offers / "offers.jsonl"
    options = {}
    if where == "root":
        table = tmp_path / "offers.jsonl"
        table.write_text((offers / "offers.jsonl").read_text(encoding="utf-8"), encoding="utf-8")
        options = {"root": str(offers)}
        with pytest.raises(FileNotFoundError, match="42 of the 42 files of feature 'photo' are missing"):
            multimodal(str(table))
    data = str(table)
    if where == "frame":
        rows = [json.loads(line) for line in table.read_text(encoding="utf-8").splitlines()]
        data = {name: [row[name] for row in rows] for name in rows[0]}
        monkeypatch.chdir(offers)
    pipeline = multimodal(data, **options)
    paths = pipeline.source("train").paths("photo")
    assert {path.rpartition("/")[0] for path in paths} == {str(offers / "photos")}
    assert sorted(pipeline.source("validation").paths("photo") + paths)[0] == str(offers / "photos" / "0.png")


def test_training_augments_images_and_nothing_else(offers):
    path = str(offers / "offers.jsonl")
    plain, moved = (multimodal(path, shift=shift, flip=bool(shift)).with_statistics() for shift in (0.0, 0.2))
    (one, labels), (other, other_labels) = (next(iter(train_dataset(p, batch_size=8, seed=0))) for p in (plain, moved))
    np.testing.assert_array_equal(labels, other_labels)
    for name in one:
        assert np.array_equal(one[name], other[name]) == (name != "photo"), name


def test_bad_rows_and_bad_images(offers):
    lines = (offers / "offers.jsonl").read_text(encoding="utf-8").splitlines()
    broken = json.loads(lines[3]) | {"photo": "photos/broken.png"}
    without = json.loads(lines[4]) | {"photo": None}
    path = offers / "bad.jsonl"
    path.write_text("\n".join([*lines, json.dumps(broken), json.dumps(without), ""]), encoding="utf-8")
    (offers / "photos" / "broken.png").write_bytes(b"no image")
    with pytest.raises(BadExampleError, match=r"bad\.jsonl, line 62: wrong type \(column 'photo': None isn't the path"):
        multimodal(str(path))
    pipeline = multimodal(str(path), on_error="skip", max_bad_share=0.2, validation=0, test=0)
    assert [bad.kind for bad in pipeline.left_out] == ["wrong type"]
    found = skipped_examples(pipeline)["train"]
    assert [(bad.kind, bad.place) for bad in found] == [("not an image", "broken.png")]
    assert pipeline.without_bad({"train": [found[0].index]}).require_source("train").num_examples == COUNT


def test_trained_exported_and_called(offers, tmp_path):
    options = OPTIONS | {"path": str(offers / "offers.jsonl"), "flip": True}
    run = framework.fit(
        "multimodal",
        "multimodal",
        pipeline_options=options,
        run_dir=tmp_path / "run",
        objective="val_loss",  # the order is right from the first epoch on
        **QUICK,
    )
    assert run.evaluate("test")["accuracy"] > 0.9
    again = framework.Run.load(tmp_path / "run")
    pipeline = run.pipeline
    stored = {name: value.numpy() for name, value in next(iter(pipeline.source("test").batches(5))).features.items()}
    pixels = np.stack([tf.io.decode_png(content).numpy()[:12] for content in stored["photo"]])
    pixels_request = {**stored, "photo": pixels}
    loaded = tf.saved_model.load(str(run.export_dir))
    assert sorted(loaded.signatures) == ["encoded", "features", "serialized", "serving_default"]

    def ask(signature, **inputs):
        answer = loaded.signatures[signature](**{name: tf.constant(value) for name, value in inputs.items()})
        return answer["probabilities"].numpy()

    expected = again.predict(stored)["probabilities"]
    raw = {name: tf.constant(value) for name, value in stored.items()}
    raw["photo"] = tf.stack([pipeline.decode({"photo": tf.constant(content)})["photo"] for content in stored["photo"]])
    inputs = {name: value.numpy() for name, value in pipeline.preprocess(raw).items()}
    np.testing.assert_allclose(ask("encoded", **stored), expected, atol=1e-5)
    np.testing.assert_allclose(ask("serialized", examples=pipeline.serialize(stored)), expected, atol=1e-5)
    np.testing.assert_allclose(ask("features", **inputs), expected, atol=1e-5)
    np.testing.assert_allclose(
        ask("serving_default", **pixels_request), again.predict(pixels_request)["probabilities"], atol=1e-5
    )
