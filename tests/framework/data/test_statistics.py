import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from framework.data.sources import ArraySource
from framework.data.statistics import (
    ClassCounts,
    Collector,
    MissingShare,
    Moments,
    Quantiles,
    Statistics,
    UnknownStatisticError,
    Vocabulary,
    collect,
    lengths,
    moments,
    vocabulary,
)


def batches(batch_size, **features):
    return ArraySource(features, np.zeros(len(next(iter(features.values()))))).batches(batch_size)


@settings(deadline=None, max_examples=20)
@given(
    count=st.integers(1, 40),
    batch_size=st.integers(1, 50),
    offset=st.sampled_from([0.0, 1e6]),
    seed=st.integers(0, 99),
)
def test_moments_are_numpy_s(count, batch_size, offset, seed):
    random = np.random.default_rng(seed)
    numbers = random.normal(offset, 3.0, (count, 2)).astype(np.float64)
    pixels = random.integers(0, 255, count).astype(np.uint8)
    learned = moments(batches(batch_size, numbers=numbers, pixels=pixels), ["numbers", "pixels"])
    assert {name: (value.dtype, value.shape) for name, value in learned.items()} == {
        "numbers/mean": (np.float32, (2,)),
        "numbers/deviation": (np.float32, (2,)),
        "pixels/mean": (np.float32, ()),
        "pixels/deviation": (np.float32, ()),
    }
    for name, values in (("numbers", numbers), ("pixels", pixels.astype(np.float64))):
        expected = values.std(axis=0)
        np.testing.assert_allclose(learned[f"{name}/mean"], values.mean(axis=0), rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(learned[f"{name}/deviation"], np.where(expected > 0, expected, 1.0), rtol=1e-4)


def test_a_constant_feature_has_the_deviation_one():
    learned = moments(batches(3, x=np.full(7, 5.0, np.float32)), ["x"])
    assert (learned["x/mean"], learned["x/deviation"]) == (5.0, 1.0)


def table(count=50, batch_size=7):
    random = np.random.default_rng(0)
    age = random.normal(40, 9, count).astype(np.float32)
    age[::5] = np.nan
    colour = random.choice(["red", "blue", "ü"], count, p=[0.6, 0.3, 0.1])
    labels = {"kind": random.integers(0, 3, count), "size": random.normal(size=count).astype(np.float32)}
    return ArraySource({"age": age, "colour": colour}, labels, np.ones(count)).batches(batch_size)


def wanted():
    return {
        "age": [Moments(), MissingShare(), Quantiles((0.1, 0.9))],
        "colour": [Vocabulary(), Quantiles((1.0,), of=lengths, name="lengths")],
        "labels/kind": ClassCounts(3),
        "labels/size": Moments(),
        "weights": Quantiles((0.5,)),
    }


def test_everything_is_collected_in_one_pass():
    passes = []
    train = table().map(lambda example: example)
    learned = collect((passes.append(1) or example for example in train), wanted())
    assert len(passes) == 8
    assert list(learned) == [
        "age/mean",
        "age/deviation",
        "age/missing",
        "age/quantiles",
        "colour",
        "colour/lengths",
        "labels/kind/counts",
        "labels/kind/weights",
        "labels/size/mean",
        "labels/size/deviation",
        "weights/quantiles",
    ]
    assert learned["age/missing"] == 0.2
    assert learned["colour"].tolist() == ["red", "blue", "ü"]
    assert learned["labels/kind/counts"].sum() == 50
    statistics = Statistics(learned)
    assert statistics.lookup("colour")(tf.constant(["blue"])).numpy().tolist() == [2]
    assert np.isfinite(statistics.standardize("age", tf.constant([40.0]))).all()


def test_many_workers_collect_what_one_does():
    whole = collect(table(), wanted())
    for num_workers in (2, 3):
        collectors = [Collector(wanted()) for _ in range(num_workers)]
        for number, collector in enumerate(collectors):
            for example in table(batch_size=4).shard(num_workers, number):
                collector.update(example)
        for other in collectors[1:]:
            collectors[0].merge(other)
        merged = collectors[0].result()
        assert list(merged) == list(whole)
        for name, value in whole.items():
            assert merged[name].tobytes() == value.tobytes(), name


def test_half_precision_is_summed_as_numbers():
    values = tf.constant([[1.0], [2.0], [4.0]], tf.bfloat16)
    (example,) = ArraySource({"x": np.zeros((3, 1))}, np.zeros(3)).batches(3)
    collector = Collector({"x": Moments()})
    collector.update(example._replace(features={"x": values}))
    np.testing.assert_allclose(collector.result()["x/mean"], [7 / 3], rtol=1e-6)


def test_what_can_t_be_collected_is_named():
    with pytest.raises(ValueError, match=r"There is no feature 'agee' to learn from\. Did you mean 'age'\?"):
        collect(table(), {"agee": Moments()})
    with pytest.raises(ValueError, match="There is no feature 'labels' to learn from"):
        collect(table(), {"labels": ClassCounts(3)})
    with pytest.raises(ValueError, match="Two accumulators make the statistic 'age/quantiles'"):
        collect(table(), {"age": [Quantiles((0.5,)), Quantiles((0.9,))]})


def test_a_progress_bar_is_for_a_terminal(capsys):
    collect(table(), wanted())
    assert capsys.readouterr().out == ""
    collect(table(), wanted(), verbose=True)
    out = capsys.readouterr().out
    assert out.startswith("Learning statistics\n")
    assert "8/8" in out
    collect(iter(list(table())), wanted(), total=8, verbose=True)
    assert "8/8" in capsys.readouterr().out


def test_standardize():
    statistics = Statistics({"x/mean": [1.0, 2.0], "x/deviation": [2.0, 4.0]})
    standardized = statistics.standardize("x", tf.constant([[3, 2], [1, 10]], tf.uint8))
    assert standardized.dtype == tf.float32
    assert standardized.numpy().tolist() == [[1.0, 0.0], [0.0, 2.0]]


def test_standardized_training_data_have_mean_zero_and_deviation_one():
    values = np.random.default_rng(0).normal(50.0, 7.0, (100, 3)).astype(np.float32)
    standardized = Statistics(moments(batches(32, x=values), ["x"])).standardize("x", tf.constant(values))
    np.testing.assert_allclose(np.mean(standardized, 0), 0.0, atol=1e-5)
    np.testing.assert_allclose(np.std(standardized, 0), 1.0, rtol=1e-5)


def test_a_vocabulary_is_ordered_by_frequency_then_value():
    colours = ["red", "blue", "ü", "red", "green", "blue", "red"]
    assert vocabulary(batches(2, colour=colours), "colour").tolist() == ["red", "blue", "green", "ü"]
    assert vocabulary(batches(2, colour=colours), "colour", max_size=2).tolist() == ["red", "blue"]
    ids = vocabulary(batches(2, shop=[7, 3, 3, -1]), "shop")
    assert ids.dtype == np.int64
    assert ids.tolist() == [3, -1, 7]
    assert vocabulary(batches(2, words=[["a", "b"], ["b", "c"]]), "words").tolist() == ["b", "a", "c"]


@pytest.mark.parametrize(
    ("values", "asked", "expected"),
    [
        (["red", "blue"], [b"blue", b"red", b"pink"], [2, 1, 0]),
        ([30, 10], [10, 30, 20], [2, 1, 0]),
    ],
)
def test_lookup(values, asked, expected):
    statistics = Statistics({"v": values})
    layer = statistics.lookup("v")
    assert statistics.lookup("v") is layer
    assert layer(tf.constant(asked)).numpy().tolist() == expected
    (in_a_dataset,) = tf.data.Dataset.from_tensors(tf.constant(asked)).map(lambda value: layer(value))
    assert in_a_dataset.numpy().tolist() == expected


def test_a_lookup_is_made_once_though_it_is_first_asked_for_in_a_graph():
    statistics = Statistics({"v": ["red", "blue"]})
    (first,) = tf.data.Dataset.from_tensors(tf.constant(["blue"])).map(lambda value: statistics.lookup("v")(value))
    assert first.numpy().tolist() == [2]
    assert tf.function(lambda value: statistics.lookup("v")(value))(tf.constant(["red"])).numpy().tolist() == [1]
    assert len(statistics.resources) == 1
    assert statistics.resources[0] is statistics.lookup("v")


def test_several_indices_for_unknown_values():
    statistics = Statistics({"v": ["red"]})
    layer = statistics.lookup("v", num_oov_indices=3)
    assert layer(tf.constant(["red"])).numpy().tolist() == [3]
    assert set(layer(tf.constant([f"x{i}" for i in range(50)])).numpy().tolist()) == {0, 1, 2}
    assert statistics.lookup("v") is not layer
    assert len(statistics.resources) == 2


def test_saved_statistics_come_back(tmp_path):
    arrays = {"x/mean": np.float32([1.5]), "v": ["ü", "b"], "ids": [3, 1], "flag": True}
    statistics = Statistics(arrays | {"file": ["a.txt"], "allow_pickle": [0]})
    statistics.save(tmp_path / "statistics.npz")
    loaded = Statistics.load(tmp_path / "statistics.npz")
    assert list(loaded) == list(statistics)
    for name, value in statistics.items():
        assert loaded[name].dtype == value.dtype
        assert loaded[name].tolist() == value.tolist()
    assert [path.name for path in tmp_path.iterdir()] == ["statistics.npz"]


def test_it_is_a_mapping():
    statistics = Statistics({"a": 1.0})
    assert (len(statistics), list(statistics), "a" in statistics, "b" in statistics) == (1, ["a"], True, False)
    assert statistics.get("b", "default") == "default"
    assert dict(Statistics()) == {}


def test_what_wasn_t_learned_is_named():
    with pytest.raises(UnknownStatisticError) as error:
        Statistics({"age/mean": 1.0})["agee/mean"]
    assert str(error.value).startswith(
        "The statistic 'agee/mean' hasn't been learned. Did you mean 'age/mean'? Known: age/mean."
    )
    with pytest.raises(KeyError, match="Known: none"):
        Statistics().lookup("colour")


@pytest.mark.parametrize("value", [[None], [b"a"], {"a": 1}, [1j]])
def test_statistics_are_numbers_or_text(value):
    with pytest.raises(TypeError, match=r"The statistic 'x' must be numbers or text, got an array of "):
        Statistics({"x": value})
