import dataclasses
import json

import numpy as np
import pytest

from framework import tasks
from framework.data.records import Schema, Shard, Sidecar, Split, parse_task, task_of_label
from framework.data.records.summary import Numbers, Summary
from framework.data.sources import Example
from framework.features import Feature

SCHEMA = Schema.parse_description({"x": "float32(2)", "name": "string"}, "int64", "float32")


def batch(seed, count):
    random = np.random.default_rng(seed)
    features = {
        "x": random.normal(5, 3, (count, 2)).astype(np.float32),
        "name": np.array([b"a" * n for n in range(count)], object),
    }
    return Example(features, random.integers(0, 3, count), random.uniform(0, 1, count).astype(np.float32))


SIDECAR = Sidecar(
    SCHEMA,
    tasks.Classification(class_names=("a", "b", "c")).describe(),
    {"train": Split((Shard("train-0", 3, 100, "ab"),), Summary.of(SCHEMA, [batch(0, 3)]), "key", True)},
    {"pipeline": "mine", "options": {"rate": 0.5}},
)


def test_there_and_back(tmp_path):
    SIDECAR.save(tmp_path)
    loaded = Sidecar.load(tmp_path)
    assert loaded.schema == SCHEMA
    assert loaded.splits == SIDECAR.splits
    assert loaded.made_from == SIDECAR.made_from
    assert parse_task(loaded.task) == tasks.Classification(class_names=("a", "b", "c"))
    content = json.loads((tmp_path / "dataset.json").read_text())
    assert content["lists"] == {"x": "float_list", "name": "bytes_list", "label": "int64_list", "weight": "float_list"}
    assert content["splits"]["train"]["examples"] == 3


def change(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"float32(2)"', '"float16(2)"', "was changed after it was written"),
        ('"examples": 3', '"examples": 4', "was changed after"),
        ('"digest": "ab"', '"digesu": "ab"', "was changed after"),
        ('  "digest"', '  "digesu"', "digesu"),
        ("}", "", "isn't valid JSON"),
        ("records 1", "records 2", "was changed after"),
    ],
)
def test_a_changed_sidecar_is_refused(tmp_path, old, new, says):
    SIDECAR.save(tmp_path)
    change(tmp_path / "dataset.json", old, new)
    with pytest.raises(ValueError, match=says) as caught:
        Sidecar.load(tmp_path)
    assert "dataset.json" in str(caught.value)


def test_a_change_that_is_meant_is_taken(tmp_path):
    SIDECAR.save(tmp_path)
    content = json.loads((tmp_path / "dataset.json").read_text())
    del content["digest"]
    content["task"]["class_names"][0] = "another name"
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    assert Sidecar.load(tmp_path).task["class_names"] == ["another name", "b", "c"]


@pytest.mark.parametrize("content", ["[]", "{}", '{"format": "keras-shipyard records 1", "splits": 3}', '"text"'])
def test_what_is_no_sidecar(tmp_path, content):
    (tmp_path / "dataset.json").write_text(content)
    with pytest.raises(ValueError, match="isn't the sidecar of a data set of records"):
        Sidecar.load(tmp_path)


def test_no_sidecar(tmp_path):
    assert not Sidecar.exists(tmp_path)
    with pytest.raises(FileNotFoundError):
        Sidecar.load(tmp_path)
    with pytest.raises(FileNotFoundError):
        Sidecar.load("ram://nowhere")


def test_summaries_add_up():
    whole = batch(1, 50)
    parts = [whole.map(lambda array, rows=rows: array[rows]) for rows in (slice(0, 7), slice(7, 8), slice(8, 50))]
    together = Summary.of(SCHEMA, [whole])
    added = sum((Summary.of(SCHEMA, [part]) for part in parts), Summary())
    assert added.classes == together.classes == Summary.of(SCHEMA, parts).classes
    assert sum(added.classes["label"].values()) == 50
    for title, numbers in together.numbers.items():
        assert dataclasses.astuple(added.numbers[title]) == pytest.approx(dataclasses.astuple(numbers))
    values = whole.features["x"].astype(np.float64)
    assert dataclasses.astuple(together.numbers["feature 'x'"]) == pytest.approx(
        (100, values.min(), values.max(), values.mean(), values.std())
    )
    assert together.numbers["feature 'name'"].mean == pytest.approx(24.5)  # bytes
    assert Summary.parse(json.loads(json.dumps(added.describe()))) == added


def test_numbers_leave_out_what_is_not_finite():
    assert Numbers.of(np.array([np.nan, 1.0, np.inf, 3.0])) == Numbers(2, 1.0, 3.0, 2.0, 1.0)
    assert Numbers.of(np.array([np.nan])) == Numbers()
    assert Numbers() + Numbers.of(np.array([2])) == Numbers(1, 2.0, 2.0, 2.0, 0.0)


def test_too_many_labels_are_no_classes(monkeypatch):
    monkeypatch.setattr("framework.data.records.summary._MOST_CLASSES", 2)
    summary = Summary.of(SCHEMA, [batch(0, 20)]) + Summary.of(SCHEMA, [batch(1, 20)])
    assert summary.classes == {"label": {}}
    assert (summary + Summary.of(SCHEMA, [batch(2, 1)])).classes == {"label": {}}


TASKS = [
    tasks.Classification(3, label_smoothing=0.1),
    tasks.BinaryClassification(class_names=("no", "yes"), threshold=0.3),
    tasks.MultiLabelClassification(label_names=("a", "b")),
    tasks.Regression(2, offset=1.0, scale=3.0),
    tasks.Heads({"kind": tasks.Classification(3), "size": tasks.Regression()}, weights={"size": 0.5}),
]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: type(task).__name__)
def test_a_task_is_made_again_of_its_description(task):
    assert parse_task(json.loads(json.dumps(task.describe()))) == task


@pytest.mark.parametrize(
    ("description", "says"),
    [
        ({"type": "Clasification"}, "no task 'Clasification'.*Did you mean 'Classification'"),
        ({"num_classes": 3}, "no task 'None'"),
        ({"type": "Task"}, "Task"),
        ({"type": "infer_task"}, "no task 'infer_task'"),
        ({"type": "Regression", "values": 3}, "can't be made of {'values': 3}"),
        ({"type": "Classification", "num_classes": 1}, "at least 2 classes"),
    ],
)
def test_tasks_that_cannot_be(description, says):
    with pytest.raises(ValueError, match=says):
        parse_task(description)


@pytest.mark.parametrize(
    ("label", "arguments", "task"),
    [
        (Feature((), "int64"), {"num_classes": 4}, tasks.Classification(4)),
        (Feature((), "uint8"), {"class_names": ["a", "b"]}, tasks.Classification(class_names=["a", "b"])),
        (Feature((), "bool"), {}, tasks.BinaryClassification()),
        (Feature((5,), "int64"), {}, tasks.MultiLabelClassification(5)),
        (Feature((), "float32"), {}, tasks.Regression()),
        (Feature((3,), "float64"), {}, tasks.Regression(3)),
        (Feature((), "string"), {"class_names": ["a", "b"]}, tasks.Classification(class_names=["a", "b"])),
    ],
)
def test_a_label_speaks_for_its_task(label, arguments, task):
    assert task_of_label(label, **arguments) == task


def test_amounts_have_no_classes():
    with pytest.raises(ValueError, match="are of classes, the label is float32"):
        task_of_label(Feature(), num_classes=3)


@pytest.mark.parametrize(
    ("label", "says"),
    [
        (Feature((), "int64"), "How many classes"),
        (Feature((), "string"), "No task is told by a label string"),
        (Feature((2, 2), "float32"), "No task is told"),
        ({"a": Feature()}, "a Heads of one task each"),
    ],
)
def test_labels_that_do_not_tell(label, says):
    with pytest.raises(ValueError, match=says):
        task_of_label(label)
