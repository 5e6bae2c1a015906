import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framework.data.sources import ArraySource, Source, Subset
from framework.data.splits import fold_source, k_fold, read_labels, split_source, stratified_split

SHARES = {"train": 0.7, "validation": 0.15, "test": 0.15}


@settings(deadline=None, max_examples=50)
@given(
    sizes=st.lists(st.integers(10, 60), min_size=1, max_size=5),
    cut=st.floats(0.2, 0.8),
    seed=st.integers(0, 2**32),
)
def test_every_class_has_its_share_and_every_example_one_split(sizes, cut, seed):
    groups = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    shares = {"train": cut, "test": 1.0 - cut}
    splits = stratified_split(groups, shares, seed=seed)
    assert sorted(np.concatenate(list(splits.values())).tolist()) == list(range(len(groups)))
    for phase, indices in splits.items():
        assert (np.diff(indices) > 0).all()
        for group, size in enumerate(sizes):
            assert abs(np.sum(groups[indices] == group) - shares[phase] * size) < 1.0


def test_a_split_stays_the_same_for_ever():
    splits = stratified_split(np.arange(20) % 2, {"train": 0.75, "test": 0.25}, seed=7)
    assert splits["test"].tolist() == [0, 9, 10, 13, 15, 18]
    assert splits["train"].dtype == np.int64


def test_the_seed_decides():
    one, again, other = (stratified_split(np.zeros(50, int), SHARES, seed=seed)["test"] for seed in (0, 0, 1))
    assert one.tolist() == again.tolist()
    assert one.tolist() != other.tolist()


@pytest.mark.parametrize(
    "shares", [{"train": 0.5, "test": 0.4}, {"train": 1.2, "test": -0.2}, {"train": 1.0, "test": 0.0}]
)
def test_shares_are_positive_and_sum_to_one(shares):
    with pytest.raises(ValueError, match=r"Shares must be positive and sum to 1, got \{'train': "):
        stratified_split(np.zeros(50, int), shares, seed=0)


def test_an_empty_split_is_refused():
    with pytest.raises(ValueError, match=r"3 examples are too few for the shares .*: \['test'\] would be empty"):
        stratified_split(np.zeros(3, int), SHARES, seed=0)


def source(labels):
    return ArraySource({"index": np.arange(len(labels))}, labels)


@pytest.mark.parametrize("labels", [np.zeros((8, 2), int), {"head": np.zeros(8, int)}])
def test_what_is_no_class_can_t_be_stratified(labels):
    several = ArraySource({"x": np.zeros(8)}, labels)
    with pytest.raises(ValueError, match=r"one class for each of 8 examples; the labels are .* Pass labels="):
        split_source(several, {"train": 0.5, "test": 0.5}, stratify=True)
    parts = split_source(several, {"train": 0.5, "test": 0.5}, labels=np.arange(8) % 2)
    assert parts["test"].num_examples == 4


def test_integer_labels_are_stratified_and_others_are_not():
    labels = np.repeat([0, 1], [80, 20])
    for given_labels, stratify in ((labels, None), (labels == 1, None), (labels.astype(float), True)):
        parts = split_source(source(given_labels), SHARES, stratify=stratify)
        assert [int(part.arrays.labels.sum()) for part in parts.values()] == [14, 3, 3]
    unstratified = [
        split_source(source(given_labels), SHARES, stratify=stratify)
        for given_labels, stratify in ((labels.astype(float), None), (labels, False))
    ]
    for parts in unstratified:
        assert [part.num_examples for part in parts.values()] == [70, 15, 15]
        assert parts["test"].arrays.features["index"].tolist() == (
            unstratified[0]["test"].arrays.features["index"].tolist()
        )


def test_labels_go_with_their_features():
    labels = np.random.default_rng(0).normal(size=40)
    for part in split_source(source(labels), SHARES).values():
        np.testing.assert_array_equal(part.arrays.labels, labels[part.arrays.features["index"]])


def test_heads_are_split_at_random():
    labels = {"a": np.arange(40) % 2, "b": np.zeros(40)}
    parts = split_source(source(np.zeros(40)), SHARES)
    heads = split_source(ArraySource({"index": np.arange(40)}, labels), SHARES)
    assert heads["test"].arrays.features["index"].tolist() == parts["test"].arrays.features["index"].tolist()
    np.testing.assert_array_equal(heads["test"].arrays.labels["a"], heads["test"].arrays.features["index"] % 2)


@settings(deadline=None, max_examples=50)
@given(
    sizes=st.lists(st.integers(1, 6), min_size=1, max_size=200),
    shares=st.sampled_from([SHARES, {"train": 0.9, "test": 0.1}, {"a": 0.5, "b": 0.3, "c": 0.2}]),
    seed=st.integers(0, 2**32),
)
def test_classes_too_small_for_every_split_have_their_shares_together(sizes, shares, seed):
    groups = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    if min(shares.values()) * len(groups) < 2:  # a split's share of them all may be rounded to nothing
        return
    splits = stratified_split(groups, shares, seed=seed)
    assert sorted(np.concatenate(list(splits.values())).tolist()) == list(range(len(groups)))
    # A class that is in every split rounds by itself, up to one example.
    whole = sum(all((groups[part] == group).any() for part in splits.values()) for group in range(len(sizes)))
    for phase, indices in splits.items():
        assert abs(len(indices) - shares[phase] * len(groups)) < 1.0 + whole


def test_as_many_classes_as_examples():
    splits = stratified_split(np.arange(1000), SHARES, seed=0)
    assert {phase: len(indices) for phase, indices in splits.items()} == {"train": 700, "validation": 150, "test": 150}
    assert splits["test"].tolist() != list(range(850, 1000))


@settings(deadline=None, max_examples=30)
@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=8),
    k=st.integers(2, 6),
    seed=st.integers(0, 2**32),
)
def test_folds_partition_the_examples_and_are_equal_in_every_class(sizes, k, seed):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    if len(labels) < k:
        with pytest.raises(ValueError, match=f"{len(labels)} examples are too few for {k} folds"):
            k_fold(labels, k, 0, seed=seed)
        return
    folds = [k_fold(labels, k, fold, seed=seed) for fold in range(k)]
    validation = [fold["validation"] for fold in folds]
    assert sorted(np.concatenate(validation).tolist()) == list(range(len(labels)))
    assert np.ptp([len(part) for part in validation]) <= 1
    for group in range(len(sizes)):
        assert np.ptp([(labels[part] == group).sum() for part in validation]) <= 1
    for fold in folds:
        assert sorted([*fold["train"], *fold["validation"]]) == list(range(len(labels)))


def test_folds_can_keep_groups_together():
    groups = np.repeat(np.arange(25), 4)
    folds = [k_fold(np.arange(100) % 2, 5, fold, groups=groups, seed=3) for fold in range(5)]
    assert sorted(np.concatenate([fold["validation"] for fold in folds]).tolist()) == list(range(100))
    for fold in folds:
        assert not set(groups[fold["train"]]) & set(groups[fold["validation"]])
        assert len(fold["validation"]) == 20


@pytest.mark.parametrize(("k", "fold"), [(1, 0), (5, 5), (5, -1)])
def test_folds_are_numbered(k, fold):
    with pytest.raises(ValueError, match=rf"numbered from 0 to k - 1, and k is at least 2; got fold {fold} of k={k}"):
        k_fold(np.zeros(10), k, fold)


class OnDisk(Source):
    """Examples that have to be read."""

    random_access = True

    def __init__(self, labels):
        self.read = 0
        self._source = source(labels)
        self.spec, self.num_examples = self._source.spec, self._source.num_examples

    def gather(self, indices):
        self.read += 1
        return self._source.gather(indices)


def test_other_sources_are_divided_as_arrays_are():
    labels = np.repeat([0, 1], [80, 20])
    expected = split_source(source(labels), SHARES)
    on_disk = OnDisk(labels)
    for kwargs in ({"labels": labels}, {}):
        parts = split_source(on_disk, SHARES, **kwargs)
        assert bool(on_disk.read) == (not kwargs)
        for phase, part in parts.items():
            assert isinstance(part, Subset)
            np.testing.assert_array_equal(part.indices, expected[phase].arrays.features["index"])
            np.testing.assert_array_equal(read_labels(part), expected[phase].arrays.labels)
    np.testing.assert_array_equal(read_labels(Subset(source(labels), [99, 0])), [1, 0])


def test_a_source_by_groups_and_by_times():
    days = np.arange(100) // 10
    parts = split_source(source(np.zeros(100)), {"train": 0.8, "test": 0.2}, groups=days)
    assert not set(days[parts["train"].arrays.features["index"]]) & set(days[parts["test"].arrays.features["index"]])
    parts = split_source(source(np.zeros(100)), {"train": 0.8, "test": 0.2}, times=-days)
    assert parts["test"].arrays.features["index"].tolist() == list(range(20))
    with pytest.raises(ValueError, match="by groups or by times; got both"):
        split_source(source(np.zeros(100)), SHARES, groups=days, times=days)
    with pytest.raises(ValueError, match="Got 3 times for 100 examples; expected one for each"):
        split_source(source(np.zeros(100)), SHARES, times=[1, 2, 3])


def test_folds_of_a_source():
    labels = np.repeat([0, 1], [80, 20])
    seen = []
    for fold in range(5):
        parts = fold_source(source(labels), 5, fold)
        assert parts["validation"].arrays.labels.sum() == 4
        assert parts["train"].num_examples == 80
        seen += parts["validation"].arrays.features["index"].tolist()
    assert sorted(seen) == list(range(100))
    grouped = fold_source(source(labels), 5, 0, groups=np.arange(100) // 2)
    assert (
        grouped["train"].arrays.features["index"] // 2 != grouped["validation"].arrays.features["index"][0] // 2
    ).all()
