import numpy as np
import pytest

from framework import tasks
from framework.data.tables.labels import read_labels
from framework.data.tables.scanning import ColumnScan
from framework.data.tables.values import MISSING


def read(columns, task=None, *, typed=False):
    """(task, labels, faults) of columns of labels."""
    scans = {name: ColumnScan(typed=typed, missing=MISSING) for name in columns}
    for name, values in columns.items():
        scans[name].update(values)
    labels = read_labels(list(columns), scans, task, MISSING)
    array, faults = labels.parse(columns)
    return labels.task, array, faults


def classes(*names):
    return tasks.Classification(class_names=names)


@pytest.mark.parametrize(
    ("values", "typed", "task", "expected", "labels"),
    [
        (["cat", "ant", "cat"], False, None, classes("ant", "cat"), [1, 0, 1]),
        (["3", "10", "3", "-1"], False, None, classes("-1", "3", "10"), [1, 2, 1, 0]),
        ([0, 1, 2], True, None, classes("0", "1", "2"), [0, 1, 2]),
        (["true", "False"], False, None, tasks.BinaryClassification(["false", "true"]), [1, 0]),
        ([True, False], True, None, tasks.BinaryClassification(["false", "true"]), [1, 0]),
        (["yes", "no"], False, None, classes("no", "yes"), [1, 0]),
        (["yes", "no"], False, "binary", tasks.BinaryClassification(["no", "yes"]), [1, 0]),
        (["Y", "N"], False, "binary", tasks.BinaryClassification(["N", "Y"]), [1, 0]),
        (["good", "bad"], False, "binary", tasks.BinaryClassification(["bad", "good"]), [1, 0]),
        (["0", "1"], False, "binary", tasks.BinaryClassification(["0", "1"]), [0, 1]),
        (["1.5", "2"], False, None, tasks.Regression(), [1.5, 2.0]),
        (["1", "2"], False, "regression", tasks.Regression(), [1.0, 2.0]),
        ([0.5, 1.0], True, None, tasks.Regression(), [0.5, 1.0]),
        (["1.5", "2"], False, "classification", classes("1.5", "2"), [0, 1]),
        (["b", "a"], False, classes("b", "a", "c"), classes("b", "a", "c"), [0, 1]),
        (["2", "0"], False, tasks.Classification(3), tasks.Classification(3), [2, 0]),
        (["1", "0"], False, tasks.BinaryClassification(), tasks.BinaryClassification(), [1, 0]),
        (["yes", "no"], False, tasks.BinaryClassification(), tasks.BinaryClassification(), [1, 0]),
        (["NA", "DE", "NA"], False, None, classes("DE", "NA"), [1, 0, 1]),
    ],
)
def test_one_column(values, typed, task, expected, labels):
    found, array, faults = read({"y": values}, task, typed=typed)
    assert found == expected
    assert array.dtype == expected.label.dtype
    assert array.tolist() == labels
    assert faults == {}
    found.check_labels(array, "here")


@pytest.mark.parametrize(
    ("columns", "task", "expected"),
    [
        ({"a": ["0", "1"], "b": ["1", "0"]}, None, tasks.MultiLabelClassification(label_names=["a", "b"])),
        ({"a": ["true", "false"], "b": ["no", "yes"]}, "multi_label", tasks.MultiLabelClassification(label_names="ab")),
        ({"a": ["true", "false"], "b": ["false", "true"]}, None, tasks.MultiLabelClassification(label_names="ab")),
        ({"a": ["0.5", "1"], "b": ["2", "3"]}, None, tasks.Regression(2)),
    ],
)
def test_several_columns(columns, task, expected):
    found, array, faults = read(columns, task)
    assert found == expected
    assert array.shape == (2, 2)
    assert faults == {}
    found.check_labels(array, "here")
    as_numbers = {"true": 1, "yes": 1, "false": 0, "no": 0}
    np.testing.assert_array_equal(
        array.T, [[as_numbers.get(v) or float(as_numbers.get(v, v)) for v in c] for c in columns.values()]
    )


@pytest.mark.parametrize(
    ("values", "task", "kinds"),
    [
        (["a", "b", "", "a", "b"], None, {2: "missing label"}),
        (["1", "2", "NA", "2"], "classification", {2: "missing label"}),
        ([*"1212121212121", "x"], None, {13: "wrong label"}),
        (["true", "false", "NA"], None, {2: "missing label"}),
        (["0.5", "NA", "x", "1", "2", "3", "4", "5", "6", "7", "8"], None, {1: "missing label", 2: "wrong label"}),
        (["1", "0", "maybe"], tasks.BinaryClassification(), {2: "wrong label"}),
        (["a", "c"], tasks.Classification(class_names=["a", "b"]), {1: "wrong label"}),
    ],
)
def test_labels_that_are_none(values, task, kinds):
    _, array, faults = read({"y": values}, task)
    assert {place: kind for place, (kind, _) in faults.items()} == kinds
    assert len(array) == len(values)


def test_a_wrong_class_has_the_near_ones():
    _, _, faults = read({"y": ["cat", "dog", "cats"]}, tasks.Classification(class_names=["cat", "dog"]))
    assert faults[2][1] == "column 'y': 'cats' isn't one of the classes 'cat', 'dog'. Did you mean 'cat'?"


MANY = [str(number) for number in range(100)]


@pytest.mark.parametrize(
    ("columns", "task", "error", "message"),
    [
        ({"y": ["", "NA"]}, None, ValueError, "The label's column 'y' has no value in any row"),
        ({"y": ["1", "1"]}, None, ValueError, "The label's column 'y' is '1' in every row"),
        ({"y": MANY}, None, ValueError, "'y' has 100 different integers: are they classes or amounts"),
        ({"y": ["a", "b", "c"]}, "binary", ValueError, "task='binary' needs two classes"),
        ({"y": ["a", "b"]}, "clasification", ValueError, "got 'clasification'. Did you mean 'classification'"),
        ({"y": ["a", "b"]}, 3, TypeError, "task must be one of 'classification', .* or a task, got 3"),
        ({"y": ["0", "1"], "z": ["1", "0"]}, "binary", ValueError, "'binary' has one label, got the columns"),
        ({"y": ["a", "b"], "z": ["1", "0"]}, None, ValueError, "expected 0 and 1 in all of them"),
        (
            {"y": ["1", "0"]},
            tasks.Regression(2),
            ValueError,
            "Regression has 2 labels, label= names the columns",
        ),
        ({"y": ["1", "0"]}, tasks.Heads({"y": tasks.Regression()}), TypeError, "can't be those of Heads"),
    ],
)
def test_labels_are_checked(columns, task, error, message):
    with pytest.raises(error, match=message):
        read(columns, task)


def test_lists_are_no_labels():
    with pytest.raises(ValueError, match="The label's column 'y' has lists"):
        read({"y": [[1], [2]]}, typed=True)
