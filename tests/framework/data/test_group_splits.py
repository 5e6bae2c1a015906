import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framework.data.group_splits import group_split, time_split
from framework.data.proportions import apportion

SHARES = {"train": 0.7, "validation": 0.15, "test": 0.15}


def partition(splits, count):
    return sorted(np.concatenate(list(splits.values())).tolist()) == list(range(count))


@settings(deadline=None, max_examples=40)
@given(sizes=st.lists(st.integers(1, 20), min_size=3, max_size=60), seed=st.integers(0, 2**32))
def test_no_group_is_on_both_sides(sizes, seed):
    groups = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    splits = group_split(groups, SHARES, seed=seed, tolerance=1.0)
    assert partition(splits, len(groups))
    held = [set(groups[indices]) for indices in splits.values()]
    assert all(held)
    assert sum(map(len, held)) == len(sizes)
    # Each border could be moved to one of its neighbours: it misses by half of the largest group, unless a split would
    # be empty.
    if len(sizes) > 20:
        for phase, indices in splits.items():
            assert abs(len(indices) - SHARES[phase] * len(groups)) <= max(sizes) + 1


def test_many_tries_come_near():
    sizes = np.random.default_rng(0).integers(1, 40, 60)
    groups = np.repeat([f"patient {i}" for i in range(60)], sizes)
    splits = group_split(groups, SHARES, seed=0)
    for phase, indices in splits.items():
        assert abs(len(indices) / len(groups) - SHARES[phase]) < 0.005


def test_classes_are_divided_too():
    random = np.random.default_rng(1)
    groups = np.repeat(np.arange(80), 10)
    labels = (random.random(800) < np.repeat(random.random(80) ** 2, 10)).astype(int)
    by_chance = group_split(groups, {"train": 0.8, "test": 0.2}, seed=5)
    stratified = group_split(groups, {"train": 0.8, "test": 0.2}, seed=5, labels=labels)
    whole = labels.mean()
    missed = [abs(labels[splits["test"]].mean() - whole) for splits in (stratified, by_chance)]
    assert missed[0] < 0.01
    assert missed[0] <= missed[1]


def test_a_group_split_stays_the_same_for_ever():
    splits = group_split(np.arange(40) // 4, SHARES, seed=7)
    assert sorted(set(splits["test"] // 4)) == [0, 9]
    assert sorted(set(splits["validation"] // 4)) == [5]


def test_impossible_groups_are_refused():
    with pytest.raises(ValueError, match="2 groups can't be divided among 3 splits"):
        group_split(np.arange(10) % 2, SHARES, seed=0)
    groups = np.repeat(["a", "b", "c"], [90, 5, 5])
    with pytest.raises(ValueError, match=r"can't be met: .*'train': 0\.9.* largest group, 'a', has 90 of 100 examples"):
        group_split(groups, {"train": 0.5, "test": 0.5}, seed=0)
    splits = group_split(groups, {"train": 0.5, "test": 0.5}, seed=0, tolerance=0.5)
    assert sorted(map(len, splits.values())) == [10, 90]


@settings(deadline=None, max_examples=40)
@given(times=st.lists(st.integers(0, 30), min_size=3, max_size=80), seed=st.integers(0, 99))
def test_the_oldest_come_first_and_no_time_is_divided(times, seed):
    times = np.asarray(times)
    if len(set(times.tolist())) < 3:
        with pytest.raises(ValueError, match="different times can't be divided among 3 splits"):
            time_split(times, SHARES)
        return
    splits = time_split(times, SHARES, tolerance=1.0)
    assert partition(splits, len(times))
    parts = [times[indices] for indices in splits.values()]
    assert parts[0].max() < parts[1].min()
    assert parts[1].max() < parts[2].min()


def test_shares_of_different_times_are_met():
    times = np.random.default_rng(0).permutation(1000).astype("datetime64[D]")
    splits = time_split(times, SHARES)
    assert [len(indices) for indices in splits.values()] == [700, 150, 150]
    assert (np.diff(splits["train"]) > 0).all()
    assert times[splits["train"]].max() < times[splits["validation"]].min()
    with pytest.raises(ValueError, match="Too many examples have the same time"):
        time_split(np.repeat([0, 1], [5, 95]), {"train": 0.8, "test": 0.2})


def test_times_that_can_t_be_compared_are_refused():
    with pytest.raises(TypeError, match="must be numbers or datetime64, got an array of <U"):
        time_split(np.array(["2024-01-01"]), {"train": 1.0})
    for missing in (np.array([1.0, np.nan, 3.0]), np.array(["2024-01-01", "NaT", "2024-01-02"], "datetime64[D]")):
        with pytest.raises(ValueError, match="1 times are missing, the first that of example 1"):
            time_split(missing, {"train": 0.5, "test": 0.5})


@settings(deadline=None)
@given(
    total=st.integers(0, 10_000),
    shares=st.lists(st.floats(0.001, 1.0), min_size=1, max_size=12),
)
def test_whole_numbers_are_within_one_of_their_share_and_sum_up(total, shares):
    counts = apportion(total, shares)
    assert counts.sum() == total
    assert np.abs(counts - np.asarray(shares) / sum(shares) * total).max() < 1.0
