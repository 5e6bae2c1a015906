import numpy as np
import pytest

from framework import tasks
from framework.data.contract import Finding, categories, compare_profiles
from framework.data.profile import profile_source
from framework.data.sources import ArraySource
from framework.features import Feature
from framework.media import Image

TASK = tasks.Classification(class_names=["a", "b", "c", "d"])


def profile(features=None, labels=None, task=TASK, declared=None, like=None):
    features = {"x": np.zeros(8)} if features is None else features
    count = len(next(iter(features.values())))
    labels = np.zeros(count, np.int64) if labels is None else labels
    listed = categories(like) if like else ()
    return profile_source(ArraySource(features, labels), declared or {}, task, categories=listed)


def differences(old, new, **kwargs):
    """(severity, subject) of each finding."""
    old = profile(old, **kwargs)
    found = compare_profiles(old, profile(new, like=old, **kwargs))
    return [(finding.severity, finding.subject) for finding in found]


def normal(count=1000, mean=0.0, deviation=1.0, seed=0):
    return np.random.default_rng(seed).normal(mean, deviation, count)


def test_the_same_data_and_more_of_them_don_t_differ():
    random = np.random.default_rng(3)

    def make(count, like=None):
        features = {
            "x": random.normal(size=count),
            "colour": random.choice(["red", "blue", "green"], count, p=[0.7, 0.2, 0.1]),
            "code": random.integers(0, 5, count),
            "text": [" ".join(random.choice(["dolor", "sit", "amet"], 9)) for _ in range(count)],
            "image": random.integers(0, 256, (count, 4, 4, 3), dtype=np.uint8),
        }
        return profile(features, random.integers(0, 4, count), like=like)

    old = make(2000)
    assert compare_profiles(old, old) == []
    for count in (10, 100, 1000):
        found = compare_profiles(old, make(count, like=old))
        assert [finding for finding in found if finding.severity != "note"] == []


def test_missing_and_new_features():
    assert differences({"x": np.zeros(8), "y": np.zeros(8)}, {"x": np.zeros(8), "z": np.zeros(8)}) == [
        ("severe", "y"),
        ("note", "z"),
    ]


def test_dtypes_and_shapes():
    assert differences({"x": np.zeros(8)}, {"x": np.zeros(8, np.float32)}) == [("severe", "x")]
    assert differences({"x": np.zeros((8, 2))}, {"x": np.zeros((8, 3))}) == [("severe", "x")]
    files = {"x": [b"x"] * 8}
    old = profile(files, declared={"x": Image((8, 8, 3))})
    (found,) = compare_profiles(old, profile(files))
    assert found == Finding("severe", "x", "string ()", "image of uint8 (8, 8, 3)")


def test_missing_values():
    def some(missing):
        values = np.ones(1000)
        values[:missing] = np.nan
        return {"x": values}

    assert differences(some(0), some(10)) == [("warning", "x")]
    assert differences(some(0), some(50)) == [("severe", "x")]
    assert differences(some(10), some(50)) == []
    assert differences({"x": ["a", "b"] * 9}, {"x": ["a", "b"] * 8 + ["a", ""]})[0] == ("severe", "x")
    assert differences(some(10), some(200)) == [("warning", "x")]
    assert differences(some(10), some(900)) == differences(some(900), some(10)) == [("severe", "x")]
    names = [f"name {i}" for i in range(500)]
    assert differences({"x": ["", *names]}, {"x": [""] * 500 + names})[0] == ("severe", "x")


def test_new_categories():
    def colours(purple):
        return {"colour": ["red", "blue"] * 50 + ["purple"] * purple}

    assert differences(colours(0), colours(1)) == [("warning", "colour")]
    assert differences(colours(0), colours(20)) == [("severe", "colour")]
    (found,) = compare_profiles(profile(colours(0)), profile(colours(20)))
    assert found.got == "values never seen in training: 'purple' (16.7% of all)"
    assert found.expected == "'blue' or 'red'"
    many = {"colour": [f"c{i}" for i in range(10)] * 5}
    (found,) = compare_profiles(profile(many), profile({"colour": [*many["colour"], *(f"d{i}" for i in range(5))]}))
    assert found.got.startswith("values never seen in training: 'd0', 'd1', 'd2', ... (9.09% of all)")
    assert found.expected == "the 10 of training"
    assert differences({"code": np.arange(90) % 3}, {"code": np.arange(90) % 4}) == [("severe", "code")]
    assert differences(many, {"colour": [f"c{i}" for i in range(8)] + ["d"]}) == [("severe", "colour")]
    garbage = {"colour": [f"d{i}" for i in range(2000)]}
    assert differences(many, garbage)[0] == ("severe", "colour")
    names = {"name": [f"name {i}" for i in range(50)]}  # they don't recur: nobody expects the same ones
    assert differences(names, {"name": [f"other {i}" for i in range(50)]}) == []


def test_ranges():
    old = {"x": np.linspace(0.0, 10.0, 1000)}
    assert differences(old, {"x": np.linspace(-0.5, 10.5, 1000)}) == []
    assert differences(old, {"x": np.append(np.linspace(0.0, 10.0, 1000), [12.0] * 20)}) == [("warning", "x")]
    assert differences(old, {"x": np.append(np.linspace(0.0, 10.0, 90), [12.0] * 10)}) == [("severe", "x")]
    pixels = np.random.default_rng(0).integers(0, 256, (500, 4)).astype(np.float32)
    found = compare_profiles(profile({"x": pixels / 255}), profile({"x": pixels}))
    assert [finding.severity for finding in found] == ["severe", "severe"]
    assert found[0].got.startswith("values from 0 to 255, about 99.")
    assert differences({"x": np.full(50, 3.0)}, {"x": np.full(50, 3.5)}) == [("severe", "x")]


def test_a_few_values_outside_of_a_small_sample_are_chance():
    outside = {"x": np.append(np.linspace(0.0, 10.0, 60), 13.0)}
    assert differences({"x": np.linspace(0.0, 10.0, 30)}, outside) == [("note", "x")]
    assert differences({"x": np.linspace(0.0, 10.0, 3000)}, outside) == [("warning", "x")]


def test_means():
    for shift, expected in ((0.2, []), (1.0, [("warning", "x")]), (2.5, [("severe", "x")] * 2)):
        assert differences({"x": normal()}, {"x": np.clip(normal(seed=1), -2, 2) + shift}) == expected
    # Half a deviation is nothing among five examples.
    assert differences({"x": normal()}, {"x": np.array([0.9, 0.7, 0.8, 0.1, 0.6])}) == []


def test_lengths():
    def texts(words):
        return {"text": [f"{'word ' * words}{i}" for i in range(100)]}

    assert differences(texts(20), texts(30)) == [("warning", "text")]
    assert differences(texts(20), texts(10)) == [("warning", "text")]
    assert differences(texts(20), texts(22)) == []
    assert differences({"text": ["a" * n for n in range(100)]}, {"text": ["a" * n for n in range(50)]}) == []


def test_classes_and_their_balance():
    def labels(*counts):
        return np.repeat(np.arange(len(counts)), counts)

    def compared(old, new, task=TASK):
        made = (profile({"x": np.zeros(len(each))}, each, task) for each in (old, new))
        return [(finding.severity, finding.subject) for finding in compare_profiles(*made)]

    even = labels(500, 500)
    assert compared(even, labels(52, 48)) == []
    assert compared(even, labels(65, 35)) == [("warning", "labels")]
    assert compared(even, labels(90, 10)) == [("severe", "labels")]
    assert compared(even, labels(5, 2)) == []  # so few may well be so by chance
    assert compared(even, labels(50, 49, 1)) == [("severe", "labels")]
    binary = tasks.BinaryClassification()
    assert compared(even, labels(90, 10), binary) == [("severe", "labels")]
    tags = np.stack([even, 1 - even * 0], axis=1)
    several = tasks.MultiLabelClassification(2)
    assert compared(tags, tags, several) == []
    assert compared(tags, np.stack([even * 0, 1 - even * 0], axis=1), several) == [("severe", "labels 0")]
    values = normal().astype(np.float32)
    assert compared(values, values + 5, tasks.Regression()) == [("severe", "labels")] * 2
    mixed = compare_profiles(
        profile({"x": np.zeros(1000)}, values, tasks.Regression()), profile({"x": np.zeros(1000)}, even)
    )
    assert mixed == [Finding("severe", "labels", "classes", "numbers")]


def test_a_missing_head():
    heads = tasks.Heads({"kind": tasks.Classification(2), "size": tasks.Regression()})
    old = profile(labels={"kind": np.zeros(8, np.int64), "size": np.zeros(8, np.float32)}, task=heads)
    new = profile(labels={"kind": np.zeros(8, np.int64)}, task=tasks.Heads({"kind": tasks.Classification(2)}))
    assert compare_profiles(old, new) == [Finding("severe", "labels/size", "no such label", "numbers")]


def test_the_most_severe_comes_first_and_all_of_it_is_in_words():
    old = {"x": normal(), "colour": ["red", "blue"] * 500}
    new = {"x": normal(mean=9.0), "extra": np.zeros(1000), "colour": ["red", "mauve"] * 500}
    found = compare_profiles(profile(old), profile(new))
    severities = [finding.severity for finding in found]
    assert severities == sorted(severities, key=["severe", "warning", "note"].index)
    assert {"severe", "note"} <= set(severities)
    assert all(finding.got and finding.expected for finding in found)


@pytest.mark.parametrize("declared", [Feature(), Feature((), "float64")])
def test_declared_features_are_what_is_compared(declared):
    old = profile({"x": np.zeros(8)}, declared={"x": Feature((), "float64")})
    found = compare_profiles(old, profile({"x": np.zeros(8)}, declared={"x": declared}))
    assert bool(found) == (declared.dtype == "float32")
