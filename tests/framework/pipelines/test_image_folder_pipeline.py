import os
import pathlib

import numpy as np
import pytest
import tensorflow as tf

import framework
from framework.data.bad_examples import BadExampleError
from framework.data.checking import skipped_examples
from framework.data.evaluate import eval_dataset
from framework.data.sampling import Balanced
from framework.data.train import Position, train_dataset
from framework.export import read_manifest
from framework.testing import assert_pipeline_conforms
from framework.training.run_directory import RunDirectory

COUNT, SIZE = 60, 16
MOVING = {"rotation": 20.0, "zoom": 0.2, "shift": 0.1}


def stripes(lying, random):
    """An image of some size, and its label to be told from its pixels alone."""
    height, width = random.integers(17, 60, 2)
    waves = 110 + 100 * np.sin(np.arange(height if lying else width) * random.uniform(0.4, 0.8))
    waves = waves[:, None] if lying else waves[None]
    pixels = waves[..., None] + random.normal(0, 10, (height, width, 3))
    pixels[..., 0 if lying else 2] += 40  # so that a small model learns it quickly, too
    return np.clip(pixels, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    random = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("stripes")
    for number in range(COUNT):
        lying = number % 3 == 0
        pixels = stripes(lying, random)
        encoded = tf.io.encode_jpeg(pixels, quality=92) if number % 2 else tf.io.encode_png(pixels)
        path = folder / ("standing", "lying")[lying] / f"{number}{('.png', '.JPG')[number % 2]}"
        path.parent.mkdir(exist_ok=True)
        tf.io.write_file(str(path), encoded)
    return folder


@pytest.fixture
def spoilt(folder, tmp_path):
    """The same with half a JPEG and a text, each under a name that belongs to the training split."""
    spoilt = tmp_path / "spoilt"
    for path in folder.glob("*/*"):
        (spoilt / path.parent.name).mkdir(parents=True, exist_ok=True)
        os.link(path, spoilt / path.parent.name / path.name)
    return spoilt


def pipeline_of(folder, **options):
    return framework.get_pipeline("image_folder")(folder, size=SIZE, **options)


def training(pipeline, steps=4, seed=0, start=None, batch_size=16):
    batches = train_dataset(pipeline, batch_size=batch_size, seed=seed, start=start).take(steps)
    return [(inputs["image"].numpy(), labels.numpy()) for inputs, labels in batches]


def evaluated(pipeline, phase="validation"):
    return np.concatenate([inputs["image"] for inputs, _ in eval_dataset(pipeline, phase, batch_size=16)])


def test_it_trains_exports_and_comes_back(folder, tmp_path):
    run = framework.fit(
        "small_cnn",
        "image_folder",
        pipeline_options={"path": str(folder), "size": [SIZE, SIZE], "rotation": 5.0, "warp": "opencv"},
        run_dir=tmp_path / "run",
        epochs=10,
        batch_size=8,
        hparams={"width": 16, "dropout": 0.0},
    )
    assert run.best.metrics["val_accuracy"] > 0.85
    assert read_manifest(run.export_dir)["task"]["class_names"] == ["lying", "standing"]

    path = next((folder / "lying").iterdir())
    live = run.predict([path.read_bytes()])
    assert live["class_name"].tolist() == [b"lying"]
    signatures = tf.saved_model.load(str(run.export_dir)).signatures
    assert set(signatures) == {"serving_default", "serialized", "encoded", "features"}
    for name, inputs in {
        "encoded": {"image": tf.constant([path.read_bytes()])},
        "serving_default": {"image": tf.io.decode_image(path.read_bytes())[tf.newaxis]},
        "serialized": {"examples": tf.constant(run.pipeline.serialize({"image": [path.read_bytes()]}))},
    }.items():
        np.testing.assert_allclose(signatures[name](**inputs)["probabilities"], live["probabilities"], atol=1e-5)

    again = framework.Run.load(tmp_path / "run")
    assert again.evaluate("test") == run.evaluate("test")
    assert again.pipeline.source("train").fingerprint() == run.pipeline.source("train").fingerprint()


@pytest.mark.parametrize(
    "options",
    [
        {"warp": "opencv", "aspect": "pad", "channels": 1, "scale": "standardize", **MOVING},
        {"cache": "memory", "crop": 0.3, "color": 0.3},
    ],
    ids=["decoded", "cached"],
)
def test_it_conforms_with_options(folder, options):
    assert_pipeline_conforms(pipeline_of(folder, **options))


def test_options_in_every_form_are_written_down(folder):
    for path in (folder, str(folder)):
        assert pipeline_of(path).options["path"] == str(folder)
    assert pipeline_of(folder).features == {"image": framework.Image((SIZE, SIZE, 3))}
    other = framework.get_pipeline("image_folder")(folder, size=(8, 12), channels=1, aspect="pad")
    assert other.features == {"image": framework.Image((8, 12, 1), aspect="pad")}


@pytest.mark.parametrize(
    ("warp", "cache", "crop"),
    [
        ("tensorflow", None, None),
        ("tensorflow", None, 0.4),
        ("opencv", None, None),
        ("opencv", None, 0.4),
        ("opencv", "memory", 0.4),
    ],
)
def test_training_images_depend_on_seed_epoch_and_example_alone(folder, warp, cache, crop):
    pipeline = pipeline_of(folder, warp=warp, cache=cache, crop=crop, color=0.2, **MOVING)
    whole = training(pipeline, steps=6)
    steps_of_an_epoch = -(-pipeline.source("train").num_examples // 16)
    for (images, labels), (same_images, same_labels) in zip(
        whole[1:], training(pipeline, steps=5, start=Position(0, 1)), strict=True
    ):
        np.testing.assert_array_equal(images, same_images)
        np.testing.assert_array_equal(labels, same_labels)
    # In batches of another size an example is the same.
    flat = np.concatenate([images for images, _ in whole[:steps_of_an_epoch]])
    np.testing.assert_array_equal(training(pipeline, steps=1, batch_size=40)[0][0], flat[:40])
    assert (training(pipeline, steps=1, seed=1)[0][0] != whole[0][0]).any()


@pytest.mark.parametrize("cache", [None, "memory"])
def test_both_warps_move_alike(folder, cache):
    """They draw the same, and differ by an interpolation."""
    options = {"cache": cache, **MOVING}
    one = training(pipeline_of(folder, warp="opencv", **options), steps=2)
    other = training(pipeline_of(folder, warp="tensorflow", **options), steps=2)
    unmoved = training(pipeline_of(folder, flip=False), steps=2)
    for (images, labels), (other_images, other_labels), (plain, _) in zip(one, other, unmoved, strict=True):
        np.testing.assert_array_equal(labels, other_labels)
        apart = abs(images - other_images).mean(axis=(1, 2, 3))
        assert apart.max() < (0.004 if cache else 0.15)
        assert apart.mean() < 0.2 * abs(images - plain).mean()


def test_evaluation_is_never_augmented(folder):
    plain = evaluated(pipeline_of(folder, flip=False))
    for options in ({"warp": "opencv", "crop": 0.2, **MOVING}, {"cache": "memory", "color": 0.5, "mixup": 0.3}):
        np.testing.assert_array_equal(evaluated(pipeline_of(folder, **options)), plain)


def test_labels_survive(folder):
    """What is lying still lies in its training image, however it was changed."""
    pipeline = pipeline_of(folder, warp="opencv", crop=0.6, color=0.3, **MOVING)
    for images, labels in training(pipeline, steps=6):
        along = abs(np.diff(images, axis=1)).mean(axis=(1, 2, 3)) > abs(np.diff(images, axis=2)).mean(axis=(1, 2, 3))
        assert (along == (labels == 0)).mean() > 0.9  # stripes that were cut out may be flat


def test_mixup_mixes_labels(folder):
    ((images, labels),) = training(pipeline_of(folder, mixup=0.5), steps=1)
    assert images.shape == (16, SIZE, SIZE, 3)
    assert labels.shape == (16, 2)
    np.testing.assert_allclose(labels.sum(axis=1), 1.0, rtol=1e-6)
    assert ((labels > 0.01) & (labels < 0.99)).any()


def test_images_are_standardized_by_the_training_split(folder):
    pipeline = pipeline_of(folder, scale="standardize", flip=False).with_statistics()
    images = evaluated(pipeline, "train")
    np.testing.assert_allclose(images.mean(axis=(0, 1, 2)), 0.0, atol=1e-4)
    np.testing.assert_allclose(images.std(axis=(0, 1, 2)), 1.0, atol=1e-4)
    assert abs(evaluated(pipeline).mean()) > 1e-3


def test_images_may_stay_as_they_are(folder):
    pixels = evaluated(pipeline_of(folder, scale="pixels"))
    assert pixels.dtype == np.float32
    np.testing.assert_allclose(pixels / 255, evaluated(pipeline_of(folder)), rtol=1e-6)
    np.testing.assert_array_equal(pixels, np.round(pixels))


def test_classes_come_equally_often(folder):
    pipeline = pipeline_of(folder, balance=True)
    assert isinstance(pipeline.source("train"), Balanced)
    labels = np.concatenate([labels for _, labels in training(pipeline, steps=8, batch_size=14)])
    assert abs(labels.mean() - 0.5) < 0.02
    assert not isinstance(pipeline.source("validation"), Balanced)


def test_a_cache_on_disk_serves_later_runs(folder, tmp_path):
    options = {"cache": "disk", "cache_dir": str(tmp_path / "cache"), **MOVING}
    first = training(pipeline_of(folder, **options), steps=2)
    (path,) = (path for path in (tmp_path / "cache").iterdir() if path.is_dir())
    written = path.stat().st_mtime_ns
    second = training(pipeline_of(folder, **options), steps=2)
    np.testing.assert_array_equal(first[1][0], second[1][0])
    assert path.stat().st_mtime_ns == written


def test_a_cache_and_an_export_of_what_clients_send(folder, tmp_path):
    """Requests to prove it with are made of the files, not of what the cache holds."""
    run = framework.fit(
        "small_cnn",
        "image_folder",
        pipeline_options={"path": str(folder), "size": SIZE, "cache": "memory"},
        run_dir=tmp_path,
        epochs=1,
        batch_size=8,
        hparams={"width": 4, "hidden": 8},
    )
    assert {"serialized", "encoded"} <= set(read_manifest(run.export_dir)["signatures"])


def half_a_jpeg(folder, phase="train"):
    """Cuts a JPEG of a split short; its place."""
    source = pipeline_of(folder).source(phase)
    places = [source.place(index) for index in range(source.num_examples)]
    place = next(place for place in places if place.endswith(".JPG"))
    content = (folder / place).read_bytes()
    (folder / place).unlink()
    (folder / place).write_bytes(content[: len(content) // 2])
    return place


@pytest.mark.parametrize("cache", [None, "memory"])
def test_half_an_image_is_named(spoilt, cache):
    place = half_a_jpeg(spoilt)
    pipeline = pipeline_of(spoilt, cache=cache)  # its beginning is all right
    with pytest.raises(tf.errors.OpError, match=f"{place}: undecodable image"):
        training(pipeline)


def test_an_evaluation_names_half_an_image(spoilt, tmp_path):
    run = framework.fit(
        "small_cnn",
        "image_folder",
        pipeline_options={"path": str(spoilt), "size": SIZE},
        run_dir=tmp_path / "run",
        epochs=1,
        batch_size=8,
        hparams={"width": 4, "hidden": 8},
    )
    place = half_a_jpeg(spoilt, "test")
    with pytest.raises(BadExampleError, match=rf"^{place}: undecodable image .*on_error='skip'"):
        run.evaluate("test")


@pytest.mark.parametrize("cache", [None, "memory"])
def test_bad_files_are_skipped_and_counted(spoilt, tmp_path, cache):
    place = half_a_jpeg(spoilt)
    (spoilt / "lying" / "readme.txt").write_text("no image", encoding="utf-8")
    with pytest.raises(BadExampleError, match=r"1 of the 61 files .*1 no images.*lying/readme\.txt"):
        pipeline_of(spoilt)
    options = {"path": str(spoilt), "size": SIZE, "on_error": "skip", "max_bad_share": 0.2, "cache": cache}
    run = framework.fit(
        "small_cnn",
        "image_folder",
        pipeline_options=options,
        run_dir=tmp_path / "run",
        epochs=1,
        batch_size=8,
        hparams={"width": 4, "hidden": 8},
    )
    found = framework.files.read_json(RunDirectory(run.run_dir).bad_examples)
    assert {bad["place"]: bad["kind"] for bads in found.values() for bad in bads} == {
        place: "undecodable image",
        "lying/readme.txt": "not an image",
    }
    with pytest.raises(BadExampleError, match=r"At most a share of 0\.01 is skipped"):
        skipped_examples(framework.get_pipeline("image_folder")(**options | {"max_bad_share": 0.01}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": "zero"}, "scale must be one of 'unit', 'pixels', 'standardize', got 'zero'"),
        ({"warp": "pillow"}, "got warp='pillow'; expected 'tensorflow' or 'opencv'"),
        ({"cache": "ram"}, "cache must be one of None, 'memory', 'disk', got 'ram'"),
        ({"cache": "disk"}, "cache='disk' and cache_dir= go together"),
        ({"cache_dir": "x"}, "cache='disk' and cache_dir= go together"),
        ({"rotation": 400}, r"rotation is 400; expected degrees in \[0, 180\]"),
        ({"crop": 0.0}, r"got crop=0\.0; expected a number in \(0, 1\]"),
        ({"color": 2.0}, r"got color=2\.0; expected a number in \[0, 1\]"),
        ({"mixup": -1.0}, r"mixup is -1\.0; expected 0 or more"),
        ({"aspect": "fit"}, "aspect must be one of"),
        ({"on_error": "ignore"}, "on_error must be 'raise' or 'skip'"),
    ],
)
def test_options_out_of_range_are_refused(folder, options, message):
    with pytest.raises(ValueError, match=message):
        pipeline_of(folder, **options)


def test_a_path_under_the_home_folder(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder.parent))
    assert pipeline_of(f"~/{folder.name}").task.class_names == ("lying", "standing")
    assert pathlib.Path(pipeline_of(f"~/{folder.name}").options["path"]).name == folder.name
