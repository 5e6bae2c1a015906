import itertools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from framework.data.shares import Share, subsample
from framework.data.sources import ArraySource, DatasetSource, Subset


def source(labels):
    return ArraySource({"index": np.arange(len(labels))}, labels)


def chosen(part):
    return part.arrays.features["index"].tolist()


@pytest.mark.parametrize(
    ("text", "phase", "bounds"),
    [
        ("train", "train", (0, 1003)),
        ("train[:10%]", "train", (0, 100)),
        ("[10%:20%]", "", (100, 201)),
        ("test[20%:]", "test", (201, 1003)),
        ("[:500]", "", (0, 500)),
        ("[-500:]", "", (503, 1003)),
        ("[-10%:]", "", (903, 1003)),
        ("validation[ 10 : 0.5% ]", "validation", None),
        ("[:0.5%]", "", (0, 5)),
        ("[:]", "", (0, 1003)),
    ],
)
def test_shares_are_written_as_slices(text, phase, bounds):
    share = Share.parse(text)
    assert share.phase == phase
    if bounds:
        assert share.bounds(1003) == bounds
    assert Share.parse(share) is share


@pytest.mark.parametrize("text", ["", "10%", "train[10%]", "[:ten]", "train[:10%", "[1:2:3]", "train [:10%] test"])
def test_other_texts_are_refused(text):
    with pytest.raises(ValueError, match=r"isn't a share of a data set\. Write 'train"):
        Share.parse(text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[20%:10%]", "selects nothing"),
        ("[5:5]", "selects nothing"),
        ("[:0.1%]", "selects nothing"),
        ("[:500]", "reaches beyond them"),
        ("[-500:]", "reaches beyond them"),
        ("[:101%]", "reaches beyond them"),
    ],
)
def test_shares_select_some_of_what_there_is(text, problem):
    with pytest.raises(ValueError, match=rf"Of 100 examples .* is \[-?\d+, \d+\), which {problem}"):
        subsample(source(np.zeros(100)), text)


@settings(deadline=None, max_examples=40)
@given(
    count=st.integers(20, 300),
    cuts=st.lists(st.integers(1, 99), min_size=1, max_size=4, unique=True),
    seed=st.integers(0, 2**32),
)
def test_slices_that_meet_are_a_partition_and_longer_ones_contain_shorter_ones(count, cuts, seed):
    labels = np.random.default_rng(seed).integers(0, 4, count)
    edges = [0, *sorted(cuts), 100]
    parts, prefixes = [], []
    for low, high in itertools.pairwise(edges):
        try:
            parts.append(chosen(subsample(source(labels), f"[{low}%:{high}%]", seed=seed)))
        except ValueError:  # less than half an example
            assert (high - low) * count < 100
        if high * count >= 50:
            prefixes.append(chosen(subsample(source(labels), f"[:{high}%]", seed=seed)))
    assert sorted(index for part in parts for index in part) == list(range(count))
    for shorter, longer in itertools.pairwise(prefixes):
        assert set(shorter) <= set(longer)


@settings(deadline=None, max_examples=30)
@given(sizes=st.lists(st.integers(1, 200), min_size=1, max_size=6), seed=st.integers(0, 2**32))
def test_every_class_has_its_share_though_the_source_is_sorted(sizes, seed):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    if len(labels) < 10:
        return
    part = subsample(source(labels), "[30%:50%]", seed=seed)
    held = np.bincount(part.arrays.labels, minlength=len(sizes))
    assert np.abs(held - 0.2 * np.asarray(sizes)).max() <= 2.0 + 0.1 * len(sizes)


FOREVER = [4, 8, 16, 23, 25, 29, 34, 37]


def test_a_subsample_stays_the_same_for_ever():
    labels = np.repeat([0, 1], [30, 10])
    assert chosen(subsample(source(labels), "train[:20%]", seed=7)) == FOREVER
    assert chosen(subsample(source(labels), "train[:20%]", seed=8)) != FOREVER


def test_stratification_can_be_told_and_left_out():
    labels = np.repeat([0.0, 1.0], [90, 10])
    plain = subsample(source(labels), "[:50%]")
    told = subsample(source(labels), "[:50%]", stratify=True)
    assert told.arrays.labels.sum() == 5
    assert chosen(plain) == chosen(subsample(source(labels.astype(int)), "[:50%]", stratify=False))
    named = subsample(source(np.zeros(100)), "[:50%]", labels=["a"] * 90 + ["b"] * 10)
    assert chosen(named) == chosen(told)


def test_streams_have_shares_too():
    stream = DatasetSource(tf.data.Dataset.from_tensor_slices(({"x": np.arange(50)}, np.zeros(50, np.int64))))
    part = subsample(stream, "[:20%]")
    assert isinstance(part, Subset)
    read = np.concatenate([example.features["x"].numpy() for example in part.batches(4)])
    assert read.tolist() == part.indices.tolist()
    assert len(read) == 10
