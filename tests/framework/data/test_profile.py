import json

import numpy as np
import pytest
import tensorflow as tf

from framework import tasks
from framework.data.profile import Profiler, profile_source
from framework.data.sources import ArraySource, DatasetSource
from framework.features import Feature
from framework.media import Image

NUMBER, WHOLE, TEXT = Feature(), Feature((), "int64"), Feature((), "string")


def profiled(features, labels, task, declared=None):
    source = ArraySource(features, labels)
    return profile_source(source, declared or {}, task)


def test_numbers():
    values = np.array([1.0, 2.0, np.nan, 4.0, 9.0], np.float32)
    profile = profiled({"x": values}, np.zeros(5, int), tasks.Classification(2))
    assert profile["num_examples"] == profile["profiled"] == 5
    x = profile["features"]["x"]
    assert (x["shape"], x["dtype"], x["missing"]) == ([], "float32", 0.2)
    assert x["mean"] == 4.0
    assert x["deviation"] == pytest.approx(np.nanstd(values))
    assert [x["quantiles"][share] for share in ("0", "0.25", "0.5", "1")] == [1.0, 1.0, 2.0, 9.0]
    assert "values" not in x


def test_images_are_numbers_as_a_whole():
    images = np.random.default_rng(0).integers(3, 250, (20, 4, 4, 1), dtype=np.uint8)
    image = profiled({"image": images}, np.zeros(20), tasks.Regression())["features"]["image"]
    assert (image["shape"], image["dtype"]) == ([4, 4, 1], "uint8")
    assert image["mean"] == pytest.approx(images.mean())
    assert (image["quantiles"]["0"], image["quantiles"]["1"]) == (images.min(), images.max())


def test_categories():
    colour = ["red"] * 7 + ["blue"] * 5 + ["green", ""]
    codes, ids = [1] * 9 + [2] * 5, np.arange(14) * 1000
    profile = profiled({"colour": colour, "code": codes, "id": ids}, np.zeros(14), tasks.Regression())["features"]
    assert profile["colour"]["values"] == {"red": 7, "blue": 5, "green": 1, "": 1}
    assert profile["colour"]["missing"] == pytest.approx(1 / 14)
    assert profile["colour"]["lengths"]["1"] == 5
    assert profile["code"]["values"] == {"1": 9, "2": 5}
    assert profile["code"]["mean"] == pytest.approx(19 / 14)
    assert "values" not in profile["id"]


PEOPLE = [f"{name}@example.org" for name in ("ann", "bob", "eve", "kim", "max")]


@pytest.mark.parametrize(
    "values",
    [
        PEOPLE,
        PEOPLE * 4,
        [*PEOPLE, *[""] * 500],
        [*PEOPLE, *["not given"] * 500],
        [*PEOPLE, *["a"] * 90, *["b"] * 90, *["c"] * 90, *["d"] * 90],
    ],
)
def test_what_may_be_somebody_s_name_is_counted_and_not_told(values):
    source = ArraySource({"who": values}, np.zeros(len(values)))
    profile = profile_source(source, {}, tasks.Regression())
    assert "@" not in json.dumps(profile)
    assert profile["features"]["who"]["lengths"]["1"] == len(PEOPLE[0])
    assert profile["features"]["who"]["missing"] == values.count("") / len(values)
    asked = profile_source(source, {}, tasks.Regression(), categories=["who"])["features"]["who"]
    assert sum(asked["values"].values()) == len(values)


def test_free_text_and_numbers_of_many_values_aren_t_listed():
    texts = [f"{'long ' * 20} {i % 2}" for i in range(40)]
    many = [f"name {i}" for i in range(1001)]
    assert "values" not in profiled({"x": texts}, np.zeros(40), tasks.Regression())["features"]["x"]
    for values in (many, np.arange(1001)):
        assert "values" not in profiled({"x": values}, np.zeros(1001), tasks.Regression())["features"]["x"]


def test_labels_of_every_task():
    random = np.random.default_rng(0)
    labels = {
        "kind": np.array([0, 0, 1, 2]),
        "yes": np.array([0, 1, 1, 1]),
        "tags": np.array([[1, 0], [1, 0], [0, 0], [1, 0]]),
        "size": random.normal(size=4).astype(np.float32),
        "sizes": random.normal(size=(4, 2)).astype(np.float32),
    }
    task = tasks.Heads(
        {
            "kind": tasks.Classification(class_names=["a", "b", "c", "d"]),
            "yes": tasks.BinaryClassification(),
            "tags": tasks.MultiLabelClassification(label_names=["s", "t"]),
            "size": tasks.Regression(),
            "sizes": tasks.Regression(2),
        }
    )
    found = profiled({"x": np.zeros(4)}, labels, task)["labels"]
    assert found["labels/kind"] == {"values": {"a": 2, "b": 1, "c": 1}}
    assert found["labels/yes"] == {"values": {"1": 3, "0": 1}}
    assert found["labels/tags"] == {"yes": {"s": 3, "t": 0}}
    assert found["labels/size"]["mean"] == pytest.approx(float(labels["size"].mean()))
    assert found["labels/sizes"]["quantiles"]["1"] == pytest.approx(float(labels["sizes"].max()))
    single = profiled({"x": np.zeros(4)}, np.array([1, 1, 0, 5]), tasks.Classification(class_names=["a", "b"]))
    assert single["labels"] == {"labels": {"values": {"b": 2, "a": 1, "5": 1}}}  # out of range: named by its number


def test_a_feature_may_be_called_labels():
    profile = profiled({"labels": [0.5, 1.5, 2.5]}, np.array([0, 1, 1]), tasks.Classification(2))
    assert profile["features"]["labels"]["mean"] == 1.5
    assert profile["labels"]["labels"]["values"] == {"1": 2, "0": 1}


def test_encoded_images_are_measured_and_not_decoded():
    files = np.array([b"not an image", b"neither"], object)
    profile = profiled({"photo": files}, np.zeros(2), tasks.Regression(), {"photo": Image((8, 8, 3))})
    photo = profile["features"]["photo"]
    assert (photo["shape"], photo["dtype"], photo["encoded"]) == ([8, 8, 3], "uint8", "image")
    assert photo["lengths"]["1"] == 12
    assert not {"values", "mean", "missing"} & set(photo)


def test_lengths_of_padded_sequences():
    tokens = tf.data.Dataset.from_generator(
        lambda: (({"words": [b"a"] * n}, n) for n in (1, 5, 3)),
        output_signature=({"words": tf.TensorSpec([None], tf.string)}, tf.TensorSpec([], tf.int64)),
    )
    padded = tokens.padded_batch(3).unbatch()
    source = DatasetSource(padded, num_examples=3)
    words = profile_source(source, {}, tasks.Classification(9))["features"]["words"]
    assert words["shape"] == [None]
    assert (words["lengths"]["0"], words["lengths"]["0.5"], words["lengths"]["1"]) == (1, 3, 5)


def test_it_is_json_whatever_the_values():
    empty = {"x": np.full(3, np.nan), "i": np.full(3, np.inf), "t": np.array([b"\xff", b"\xff", b"\xff"], object)}
    profile = profiled(empty, np.zeros(3), tasks.Regression())
    assert json.loads(json.dumps(profile, allow_nan=False)) == profile
    assert profile["features"]["x"]["quantiles"]["0.5"] is None


@pytest.mark.parametrize("stream", [False, True])
def test_of_many_examples_some_are_looked_at(monkeypatch, stream):
    monkeypatch.setattr("framework.data.profile._MOST_EXAMPLES", 100)
    monkeypatch.setattr("framework.data.profile._MOST_FILES", 50)
    arrays = {"x": np.arange(1000.0)}, np.repeat([0, 1], 500)
    source = DatasetSource(tf.data.Dataset.from_tensor_slices(arrays)) if stream else ArraySource(*arrays)
    profile = profile_source(source, {}, tasks.Classification(2))
    assert (profile["num_examples"], profile["profiled"]) == (1000, 100)
    if not stream:  # from all over
        assert profile["labels"]["labels"]["values"] == {"0": 50, "1": 50}
        periodic = profile_source(
            ArraySource({"x": np.zeros(1000)}, np.arange(1000) % 10), {}, tasks.Classification(10)
        )
        assert len(periodic["labels"]["labels"]["values"]) == 10
        files = ArraySource({"photo": [b"x"] * 1000}, np.zeros(1000))
        assert profile_source(files, {"photo": Image((8, 8, 3))}, tasks.Regression())["profiled"] == 50
        large = ArraySource({"x": np.zeros((1000, 10))}, np.zeros(1000))
        monkeypatch.setattr("framework.data.profile._MOST_NUMBERS", 200)
        assert profile_source(large, {}, tasks.Regression())["profiled"] == 20


def test_profilers_can_be_merged_and_share_a_pass():
    random = np.random.default_rng(0)
    source = ArraySource(
        {"x": random.normal(size=60), "colour": random.choice(["red", "blue"], 60)}, random.integers(0, 3, 60)
    )
    task = tasks.Classification(3)
    whole, *parts = (Profiler(source.spec, {}, task) for _ in range(3))
    for example in source.batches(60):
        whole.update(example)
    for number, example in enumerate(source.batches(7)):
        parts[number % 2].update(example)
    parts[0].merge(parts[1])
    assert parts[0].result() == whole.result()
    assert whole.result()["profiled"] == 60
