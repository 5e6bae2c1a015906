import numpy as np
import pytest

from framework.data.sources import Example
from framework.export import Slice
from framework.export.slices import SliceScores, as_slices

EXAMPLE = Example(
    {
        "shop": np.array([3, 14, 3, 3]),
        "colour": np.array([b"red", b"blue", b"red", "gr\u00fcn".encode()], object),
        "size": np.array([1.5, 2.5, 3.5, 4.5], np.float32),
    },
    np.array([0, 1, 1, 0]),
    np.array([1.0, 2.0, 3.0, 4.0], np.float32),
)


class Counting:
    """Keeps what it is given, in the place of metrics."""

    def __init__(self):
        self.seen = []

    def update(self, answers, labels, weights):
        self.seen += zip(answers["id"].tolist(), labels.tolist(), weights.tolist(), strict=True)

    @property
    def values(self):
        return {"seen": self.seen}


def test_values_of_a_feature():
    assert Slice("shop").values(EXAMPLE) == ["3", "14", "3", "3"]
    assert Slice("colour").values(EXAMPLE) == ["red", "blue", "red", "gr\u00fcn"]


def test_a_function_of_features_and_labels():
    assert Slice("large", lambda features, labels: features["size"] > 2).values(EXAMPLE) == [None, *["true"] * 3]
    assert Slice("label", lambda features, labels: labels).values(EXAMPLE) == ["0", "1", "1", "0"]
    assert Slice("text", lambda features, labels: ["a", "b", "a", "a"]).values(EXAMPLE) == ["a", "b", "a", "a"]


@pytest.mark.parametrize(
    ("item", "error"),
    [
        (Slice("shops"), r"There is no feature 'shops' to slice by\. Did you mean 'shop'"),
        (Slice("size"), r"'size' needs one boolean, integer or text an example.*float32\(4,\).*into ranges"),
        (Slice("all", lambda features, labels: True), r"'all' needs one .* expected shape \(4,\), got bool\(\)"),
    ],
)
def test_what_tells_no_examples_apart(item, error):
    with pytest.raises((LookupError, ValueError), match=error):
        item.values(EXAMPLE)


def test_each_part_has_its_own_examples():
    scores = SliceScores([Slice("shop"), Slice("old", lambda features, labels: labels == 1)], Counting)
    for first in (0, 2):
        part = EXAMPLE.map(lambda array, first=first: array[first : first + 2])
        scores.update(part, {"id": np.array([first, first + 1])})
    assert scores.values == {
        "shop": {
            "14": {"examples": 1, "metrics": {"seen": [(1, 1, 2.0)]}},
            "3": {"examples": 3, "metrics": {"seen": [(0, 0, 1.0), (2, 1, 3.0), (3, 0, 4.0)]}},
        },
        "old": {"true": {"examples": 2, "metrics": {"seen": [(1, 1, 2.0), (2, 1, 3.0)]}}},
    }


def test_a_slice_without_examples_is_empty():
    scores = SliceScores([Slice("none", lambda features, labels: labels > 5)], Counting)
    scores.update(EXAMPLE, {"id": np.arange(4)})
    assert scores.values == {"none": {}}


def test_too_many_values_are_an_error():
    example = Example({"id": np.arange(101)}, np.arange(101), np.ones(101))
    with pytest.raises(ValueError, match=r"'id' has more than 100 different values\. Give it a function"):
        SliceScores([Slice("id")], Counting).update(example, {"id": np.arange(101)})


def test_names_stand_for_features():
    assert as_slices(["shop", Slice("old")]) == (Slice("shop"), Slice("old"))
    with pytest.raises(TypeError, match=r"Write \('shop',\)"):
        as_slices("shop")
    with pytest.raises(TypeError, match="slices are Slices or names of features, got"):
        as_slices([3])
    with pytest.raises(ValueError, match=r"same name: \['shop', 'shop'\]"):
        as_slices(["shop", Slice("shop")])
