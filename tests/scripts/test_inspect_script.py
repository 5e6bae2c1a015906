"""`scripts/inspect_pipeline.py --against`, `--phase` and `--gallery`, in this process."""

import json

import gallery
import numpy as np
import pytest
import tensorflow as tf

import framework
from framework import tasks
from framework.data import augment, random
from framework.data.profile import PROFILE, profile_source
from framework.data.ready_made import ReadyMadePipeline
from framework.training.plan import resolve_pipeline


def profile(name, **options):
    pipeline = resolve_pipeline(name, options)
    return profile_source(pipeline.require_source("train"), pipeline.features, pipeline.task)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """What a run and its export keep of the data."""
    run_dir = tmp_path_factory.mktemp("run")
    made = profile("wine")
    (run_dir / PROFILE).write_text(json.dumps(made))
    (run_dir / "export" / "3").mkdir(parents=True)
    (run_dir / "export" / "3" / "manifest.json").write_text(json.dumps({"data": made}))
    return run_dir


@pytest.mark.parametrize("place", ["", "export", "export/3"])
def test_the_training_split_doesn_t_differ_from_itself(run_script, trained, place):
    code, out, err = run_script("inspect_pipeline", "--pipeline=wine", f"--against={trained / place}")
    assert code == 0, err
    assert out.startswith("Nothing in the 107 examples of Wine's train split differs from what ")


def test_another_split_differs_a_little(run_script, trained):
    code, out, err = run_script("inspect_pipeline", "--pipeline=wine", f"--against={trained}", "--phase=test")
    assert code == 0, err
    assert out.startswith("How the 36 examples of Wine's test split differ from what")
    assert {line.split()[0] for line in out.splitlines()[2:]} == {"note"}


def test_severe_differences_are_an_exit_code(run_script, trained):
    code, out, err = run_script("inspect_pipeline", "--pipeline=digits", f"--against={trained}")
    assert code == 1, err
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[1] == "got expected"
    assert "severe alcohol no such feature float32 ()" in lines
    assert "note image a new feature nothing by this name" in lines


def test_a_bad_example_is_a_message(run_script, tmp_path):
    for name in ("dark", "light"):
        (tmp_path / name).mkdir()
        for index in range(4):
            content = tf.io.encode_jpeg(np.full((9, 9, 3), 30 + index, np.uint8)).numpy()
            (tmp_path / name / f"{index}.jpg").write_bytes(content[: len(content) // 2])
    options = ["--option", f"path={tmp_path}", "--option", "validation=0", "--option", "test=0", "--option", "size=8"]
    code, _, err = run_script("inspect_pipeline", "--pipeline=image_folder", "--batch_size=8", *options)
    assert code == 2
    assert "error: " in err
    assert ".jpg: undecodable image (feature 'image'). BadExamples(on_error='skip') leaves such examples out." in err
    assert "Traceback" not in err


def test_a_run_without_a_profile_is_named(run_script, tmp_path):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "manifest.json").write_text("{}")
    for place in (tmp_path, tmp_path / "1", tmp_path / "nothing"):
        code, _, err = run_script("inspect_pipeline", "--pipeline=wine", f"--against={place}")
        assert code == 2
        assert f"--against {place} has no profile of training data" in err


def test_bad_examples_are_left_out_as_in_training(run_script, tmp_path):
    for number in range(40):
        path = tmp_path / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(tf.io.encode_png(np.full((9, 9, 3), number, np.uint8)).numpy())
    (tmp_path / "a" / "notes.txt").write_text("no image", encoding="utf-8")
    arguments = ["--pipeline=image_folder", "--batch_size=8"]
    options = {"path": tmp_path, "size": 8, "scale": "standardize", "on_error": "skip", "max_bad_share": 0.2}
    arguments += [f"--option={name}={value}" for name, value in options.items()]
    code, out, err = run_script("inspect_pipeline", *arguments)
    assert code == 0, err
    title, row = out.splitlines()[:2]
    assert title == "Examples that are left out"
    assert row.split()[1:] == ["1", "not", "an", "image", "a/notes.txt"]


def test_a_gallery_of_digits(run_script, tmp_path):
    path = tmp_path / "pictures" / "gallery.png"
    code, out, err = run_script("inspect_pipeline", "--pipeline=digits", f"--gallery={path}")
    assert code == 0, err
    assert f"Augmentations: {path}" in out
    assert path.read_bytes().startswith(b"\x89PNG")


def test_a_gallery_needs_images(run_script, tmp_path):
    code, out, err = run_script("inspect_pipeline", "--pipeline=wine", f"--gallery={tmp_path / 'gallery.png'}")
    assert code == 0, err
    assert "There are no images to augment." in out
    assert not list(tmp_path.iterdir())


def test_every_augmentation_is_in_the_gallery():
    assert {*gallery.AUGMENTATIONS, "adjust_color"} == set(augment.__all__)


def drawn(monkeypatch, tmp_path, source, features, preprocess=None):
    """{title: images} of the gallery of a source."""
    rows = []
    monkeypatch.setattr("framework.report.image_sheet", lambda given, path: rows.extend(given))
    pipeline = ReadyMadePipeline({"train": source}, tasks.Regression(), preprocess)
    pipeline.features = features
    assert gallery.draw_gallery(pipeline, tmp_path / "gallery.png") == bool(rows)
    return dict(rows)


@pytest.mark.parametrize("kind", ["encoded", "colours", "transparent", "grey floats", "stream", "made by preprocess"])
def test_images_of_every_kind_are_augmented(monkeypatch, tmp_path, kind):
    noise = np.random.default_rng(0).integers(0, 256, (12, 9, 11, 3), dtype=np.uint8)
    preprocess = None
    feature = framework.Feature((9, 11, 3), "uint8")
    if kind == "encoded":
        values, feature = [tf.io.encode_png(image).numpy() for image in noise], framework.Image((9, 11, 3))
    elif kind == "transparent":
        values, feature = np.concatenate([noise, noise[..., :1]], axis=-1), framework.Feature((9, 11, 4), "uint8")
    elif kind == "grey floats":
        values, feature = noise[..., :1] / np.float32(16) - 8, framework.Feature((9, 11, 1))
    elif kind == "made by preprocess":
        values, feature = noise.reshape(12, -1), framework.Feature((297,), "uint8")
        preprocess = lambda features: {"x": tf.reshape(features["x"], [-1, 9, 11, 3])}  # noqa: E731
    else:
        values = noise
    arrays = {"x": values}, np.zeros(12, np.float32)
    source = framework.ArraySource(*arrays)
    if kind == "stream":
        source = framework.DatasetSource(tf.data.Dataset.from_tensor_slices(arrays))
    rows = drawn(monkeypatch, tmp_path, source, {"x": feature}, preprocess)
    assert list(rows) == ["x: as read", *(f"x: {name}" for name in gallery.AUGMENTATIONS)]
    read = rows.pop("x: as read")
    assert read.shape == (8, 9, 11, 1 if kind == "grey floats" else 3)
    for title, images in rows.items():
        assert images.shape == read.shape
        assert images.min() >= -1e-6, title
        assert images.max() <= 1 + 1e-6, title
        assert (images != read).any(), title
    if kind == "colours":  # all over the split, from 0 to 1
        np.testing.assert_allclose(read, noise[np.arange(8) * 12 // 8] / 255, atol=1e-6)


def test_seeds_decide(monkeypatch, tmp_path):
    images = tf.constant(np.random.default_rng(0).random((4, 8, 8, 3)).astype(np.float32))
    first, second = (random.example_seeds(seed, 0, tf.range(4)) for seed in (0, 1))
    for name, function in gallery.AUGMENTATIONS.items():
        np.testing.assert_array_equal(function(images, first), function(images, first))
        assert (function(images, first).numpy() != function(images, second).numpy()).any(), name


def test_a_new_category_among_few_rows(run_script, tmp_path):
    """So few that the values of the new table themselves don't recur."""
    options = {"label": "y", "validation": 0.0, "test": 0.0}
    header = "city,y\n"
    (tmp_path / "may.csv").write_text(header + "Rome,a\nOslo,b\nBonn,a\n" * 10)
    (tmp_path / "june.csv").write_text(header + "Rome,a\nParis,b\nOslo,a\n")
    made = profile("table", path=str(tmp_path / "may.csv"), **options)
    (tmp_path / PROFILE).write_text(json.dumps(made))
    given = [f"--option={name}={value}" for name, value in options.items()]
    code, out, err = run_script(
        "inspect_pipeline",
        "--pipeline=table",
        f"--option=path={tmp_path / 'june.csv'}",
        *given,
        f"--against={tmp_path}",
    )
    assert code == 1, err
    assert "values never seen in training: 'Paris' (33.3% of all)" in out
