import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framework.data.sources import ArraySource
from framework.data.splits import split_source, stratified_split

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
