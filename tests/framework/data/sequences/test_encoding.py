import numpy as np
import pytest
import tensorflow as tf

from framework.data.sequences.encoding import SequenceEncoding
from framework.data.sources import Example
from framework.data.statistics import Statistics
from framework.features import Feature
from framework.media import Image

FEATURES = {
    "points": Feature((None, 2)),
    "rows": Feature((None, 3), "uint8"),
    "words": Feature((None, 2), "string"),
    "codes": Feature((None,), "int64"),
    "on": Feature((None,), "bool"),
    "cover": Image((2, 2, 3)),
    "shop": Feature((), "string"),
    "is_new": Feature((), "bool"),
    "length": Feature((), "int64"),
}
LENGTH = np.array([3, 1])


def batch():
    random = np.random.default_rng(0)
    values = {
        "points": random.normal(5.0, 2.0, (2, 3, 2)).astype(np.float32),
        "rows": random.integers(0, 255, (2, 3, 3)).astype(np.uint8),
        "words": random.choice([b"a", b"b"], (2, 3, 2)).astype(object),
        "codes": random.integers(7, 9, (2, 3)),
        "on": random.integers(0, 2, (2, 3)) > 0,
        "cover": random.integers(0, 255, (2, 2, 2, 3)).astype(np.uint8),
        "shop": np.array([b"x", b"y"], object),
        "is_new": np.array([True, False]),
        "length": LENGTH,
    }
    values["points"][0, 1, 0] = np.nan  # a step without a value: it is left out, and the mean where it is needed
    return values


@pytest.fixture(scope="module")
def learned():
    encoding = SequenceEncoding(FEATURES)
    return encoding, Statistics(encoding.learn([Example(batch(), None)]))


def test_each_kind_of_feature_is_encoded_by_itself(learned):
    encoding, statistics = learned
    values = batch()
    encoded = encoding.encode({name: tf.constant(value) for name, value in values.items()}, statistics)
    assert set(encoded) == set(FEATURES) - {"length"} | {"mask"}
    there = np.arange(3) < LENGTH[:, np.newaxis]
    for name in ("points", "rows"):
        steps = values[name][there].astype(np.float64)
        standard = (values[name] - np.nanmean(steps, axis=0)) / np.nanstd(steps, axis=0)
        expected = np.where(there[..., np.newaxis], np.nan_to_num(standard), 0.0)
        np.testing.assert_allclose(encoded[name], expected, rtol=1e-4, atol=1e-5)
    assert encoded["words"].shape == (2, 3, 2)
    for name in ("words", "codes"):
        assert encoded[name].dtype == tf.int64
        assert (encoded[name].numpy()[there] > 0).all()
        assert not encoded[name].numpy()[~there].any()
    assert encoded["on"].dtype == tf.float32
    np.testing.assert_allclose(encoded["cover"], values["cover"] / 255.0, rtol=1e-6)
    np.testing.assert_array_equal(np.argmax(encoded["shop"], axis=1), [0, 1])
    np.testing.assert_array_equal(encoded["is_new"], [1.0, 0.0])
    np.testing.assert_array_equal(encoded["mask"], there)


def test_unknown_categories_are_zero(learned):
    encoding, statistics = learned
    values = {**batch(), "codes": np.full((2, 3), 1000), "shop": np.array([b"z", b"x"], object)}
    encoded = encoding.encode({name: tf.constant(value) for name, value in values.items()}, statistics)
    assert not encoded["codes"].numpy().any()
    np.testing.assert_array_equal(encoded["shop"], [[0, 0], [1, 0]])


def test_what_lies_in_the_padding_is_not_learned(learned):
    encoding, statistics = learned
    values = batch()
    values["points"][1, 1:] = 1e6
    values["codes"][1, 1:] = 99
    again = encoding.learn([Example(values, None)])
    assert set(again) == set(statistics)
    for name, value in again.items():
        np.testing.assert_array_equal(value, statistics[name], err_msg=name)


def test_the_share_that_stays_whole():
    lengths = np.arange(1, 101)
    features = {"x": Feature((None,)), "length": Feature((), "int64")}
    examples = [Example({"x": np.zeros((100, 100), np.float32), "length": lengths}, None)]
    for share, expected in ((0.9, 90), (0.5, 50), (0.999, 100)):
        encoding = SequenceEncoding(features, max_length=share)
        learned = Statistics(encoding.learn(examples))
        assert encoding.longest(learned) == pytest.approx(expected, abs=1)
        assert encoding.longest(Statistics()) is None  # before anything is learned
    assert SequenceEncoding(features, max_length=7).longest(Statistics()) == 7
