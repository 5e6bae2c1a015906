import itertools

import numpy as np
import pytest

from framework import tasks
from framework.data.tables.division import Division, divide_rows
from framework.data.tables.rows import Rows

COUNT = 60
TASK = tasks.Classification(class_names=["a", "b", "c"])


def rows(count=COUNT, **settings):
    labels = np.arange(count) % 3
    given = {"weights": None, "groups": None, "times": None, "labels": labels} | settings
    number = np.arange(count)
    return Rows({"x": number}, tables=(), table=np.zeros(count, np.int64), row=number, **given)


def parts(given, task=TASK, **settings):
    """{phase: numbers of the rows}"""
    divided = divide_rows({"train": given} if isinstance(given, Rows) else given, Division(**settings), task)
    return {phase: part.row.tolist() for phase, part in divided.items()}


def test_shares_of_every_class():
    made = parts(rows(), validation=0.2, test=0.1)
    assert {phase: np.bincount(np.asarray(numbers) % 3).tolist() for phase, numbers in made.items()} == {
        "train": [14, 14, 14],
        "validation": [4, 4, 4],
        "test": [2, 2, 2],
    }
    assert sorted(itertools.chain(*made.values())) == list(range(COUNT))
    assert made == parts(rows(), validation=0.2, test=0.1)
    assert made != parts(rows(), validation=0.2, test=0.1, seed=1)


def test_no_shares_and_no_classes():
    assert parts(rows()) == {"train": list(range(COUNT))}
    targets = np.linspace(0.0, 1.0, COUNT)
    assert len(parts(rows(labels=targets), tasks.Regression(), validation=0.25)["validation"]) == 15


def test_groups_stay_together():
    groups = (np.arange(COUNT) // 5).astype(str)
    made = parts(rows(groups=groups), validation=0.25, test=0.25)
    owners = {phase: set(groups[numbers]) for phase, numbers in made.items()}
    assert not owners["train"] & owners["validation"]
    assert not owners["train"] & owners["test"]
    assert sum(map(len, owners.values())) == 12


def test_the_newest_are_tested():
    times = np.random.default_rng(0).permutation(COUNT).astype(np.float64)
    made = parts(rows(times=times), validation=0.2, test=0.2)
    assert times[made["train"]].max() < times[made["validation"]].min()
    assert times[made["validation"]].max() < times[made["test"]].min()


def test_folds_are_disjoint_and_the_test_is_no_part_of_them():
    folds = [parts(rows(), test=0.2, folds=4, fold=fold, validation=0.15) for fold in range(4)]
    assert len({tuple(fold["test"]) for fold in folds}) == 1
    held_out = sorted(itertools.chain(*(fold["validation"] for fold in folds)))
    assert sorted([*held_out, *folds[0]["test"]]) == list(range(COUNT))
    for fold in folds:
        assert sorted(fold["train"] + fold["validation"]) == held_out


def test_folds_of_groups():
    groups = (np.arange(COUNT) // 5).astype(str)
    made = parts(rows(groups=groups), folds=3, fold=1)
    assert not set(groups[made["train"]]) & set(groups[made["validation"]])


def test_other_tables_stay_what_they_are():
    made = parts({"train": rows(), "test": rows(9)}, validation=0.2)
    assert {phase: len(numbers) for phase, numbers in made.items()} == {"train": 48, "validation": 12, "test": 9}


@pytest.mark.parametrize(
    ("sample", "sizes"),
    [
        ("[:50%]", {"train": 15, "test": 30}),
        ("train[:50%]", {"train": 15, "test": 30}),
        ("test[:10]", {"train": 30, "test": 10}),
    ],
)
def test_samples(sample, sizes):
    whole = parts(rows(), test=0.5)
    made = parts(rows(), test=0.5, sample=sample)
    assert {phase: len(numbers) for phase, numbers in made.items()} == sizes
    for phase, numbers in made.items():
        assert set(numbers) <= set(whole[phase])
    other = parts({"train": rows(), "test": rows(30)}, sample=sample)
    assert len(other["test"]) == sizes["test"]


@pytest.mark.parametrize(
    ("given", "settings", "message"),
    [
        ({}, {"validation": 1.0}, r"The share of the validation split must be in \[0, 1\), got 1\.0"),
        ({}, {"test": -0.1}, "The share of the test split must be in"),
        ({}, {"validation": 0.5, "test": 0.5}, "validation=0.5 and test=0.5 leave nothing to train on"),
        ({}, {"fold": 1}, "fold=1 says nothing without folds="),
        ({}, {"sample": "validation[:10%]"}, "is a part of the split 'validation'; there are"),
        ({}, {"sample": "10%"}, "isn't a share of a data set"),
        ({"times": np.arange(60.0)}, {"folds": 3}, "by time=, or at random with group= or folds=; got both"),
        ({"labels": np.array([2, *[0, 1] * 29, 0])}, {"test": 0.2}, r"one example each of the classes \['c'\]"),
    ],
)
def test_what_can_t_be(given, settings, message):
    with pytest.raises(ValueError, match=message):
        parts(rows(**given), **settings)


def test_a_class_of_one_example_is_fine_where_nothing_is_divided():
    labels = np.array([2, *[0, 1] * 29, 0])
    assert len(parts({"train": rows(labels=labels), "test": rows()})["train"]) == COUNT
