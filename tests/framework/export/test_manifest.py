"""The manifest fits its schema and says what is so."""

import copy
import json

import jsonschema
import numpy as np
import pytest

import framework
from framework import tasks
from framework.data.profile import profile_source
from framework.export import read_manifest
from framework.export.manifest import schema
from framework.export.plain_json import plain_json
from framework.testing.toys import TOYS


@pytest.fixture(scope="module")
def manifest(full):
    return read_manifest(full.path)


def test_it_is_strict_json_that_fits_the_schema(full, manifest):
    def refuse(name):
        raise AssertionError(f"{name} isn't JSON")

    text = (full.path / "manifest.json").read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=refuse) == manifest
    jsonschema.Draft202012Validator.check_schema(schema())
    jsonschema.validate(manifest, schema(), jsonschema.Draft202012Validator)


def closed(schema):
    """The schema without room for properties that it doesn't describe."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    parts = {name: closed(part) for name, part in schema.items()}
    return {"additionalProperties": False, **parts} if isinstance(schema.get("properties"), dict) else parts


def validate(value, name=None):
    """Checks a manifest, or what stands in it under a name."""
    whole = closed(schema())
    if name is not None:
        whole = {**whole["properties"][name], "$defs": whole["$defs"]}
    jsonschema.validate(value, whole, jsonschema.Draft202012Validator)


def test_the_schema_describes_everything_that_is_written(manifest):
    validate(manifest)


@pytest.mark.parametrize(
    "task",
    [
        tasks.Classification(3),
        tasks.Classification(class_names=("a", "b"), label_smoothing=0.1, from_logits=False),
        tasks.BinaryClassification(threshold=0.3),
        tasks.MultiLabelClassification(label_names=("a", "b")),
        tasks.Regression(2, offset=-1.0, scale=0.5),
        tasks.Heads({"a": tasks.Regression(), "b": tasks.BinaryClassification()}, weights={"a": 0.5}),
    ],
    ids=repr,
)
def test_every_task_is_described(task):
    validate(plain_json(task.describe()), "task")


def several_labels():
    yes = np.arange(40).reshape(20, 2) % 2
    return framework.pipeline_from_arrays({"x": np.ones(20)}, yes, task=tasks.MultiLabelClassification(2))


def several_heads():
    labels = {"a": np.ones(20, np.float32), "b": np.arange(20) % 2}
    task = tasks.Heads({"a": tasks.Regression(), "b": tasks.BinaryClassification()})
    return framework.pipeline_from_arrays({"x": np.ones(20)}, labels, task=task)


@pytest.mark.parametrize("make", [*TOYS.values(), several_labels, several_heads])
def test_every_profile_is_described(make):
    pipeline = make()
    validate(plain_json(profile_source(pipeline.source("train"), pipeline.features, pipeline.task)), "data")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["task", "type"], 3),
        (["data", "features", "height", "quantiles"], [1.0]),
        (["epoch"], "1"),
        (["metrics", "val_loss"], "low"),
        (["signatures", "features", "inputs", "height", "shape"], 3),
        (["proof", "metrics"], {}),
        (["variables"], None),
    ],
)
def test_the_schema_sees_what_is_wrong(manifest, path, value):
    wrong = copy.deepcopy(manifest)
    place = wrong
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, schema(), jsonschema.Draft202012Validator)


def test_what_was_exported(full, manifest):
    assert (manifest["version"], manifest["epoch"], manifest["step"]) == (1, 1, 20)
    assert manifest["objective"] == {"monitor": "val_auc", "mode": "max"}
    assert manifest["class_names"] == ["stays", "leaves"]
    assert manifest["pipeline"]["features"]["readings"] == {"shape": [2], "dtype": "float32"}
    assert manifest["data"]["num_examples"] == full.pipeline.source("train").num_examples
    assert manifest["configuration"] == {"model": {"name": "network"}}
    assert manifest["parameters"] == full.model.count_params()
    assert manifest["parameter_bytes"] == 4 * full.model.count_params()
    assert manifest["warm_up"] == {"batch_sizes": [1, 4]}
    variables = full.path / "variables"
    assert manifest["sizes"]["variables_bytes"] == sum(path.stat().st_size for path in variables.iterdir())


def test_every_signature_was_proven(manifest):
    names = {"serving_default", "serialized", "features", "saliency", "classify"}
    assert set(manifest["signatures"]) == set(manifest["largest_difference"]) == names
    assert manifest["proof"]["not_called"] == {}
    assert max(manifest["largest_difference"].values()) < 1e-4
    methods = {name: signature["method_name"] for name, signature in manifest["signatures"].items()}
    assert methods.pop("classify") == "tensorflow/serving/classify"
    assert set(methods.values()) == {"tensorflow/serving/predict"}


def test_metrics_through_a_signature(full, manifest):
    metrics = manifest["proof"]["metrics"]
    count = full.pipeline.source("validation").num_examples
    assert (metrics["signature"], metrics["examples"], metrics["of"]) == ("serving_default", count, count)
    assert metrics["values"].keys() == {"loss", "accuracy", "auc"}
    for name, value in metrics["values"].items():
        assert value == pytest.approx(full.metrics[f"val_{name}"], rel=1e-5)


def test_confusion_and_slices_are_those_of_the_split(full, manifest):
    source = full.pipeline.source("validation").arrays
    inputs = full.pipeline.preprocess(source.features)
    logits = np.asarray(full.model({name: inputs[name] for name in full.model.input}, training=False))[:, 0]
    predicted = (logits > 0).astype(int)
    matrix = np.zeros((2, 2), int)
    np.add.at(matrix, (source.labels, predicted), 1)
    assert manifest["confusion"] == {"": {"class_names": ["stays", "leaves"], "matrix": matrix.tolist()}}
    assert set(manifest["slices"]) == {"shop", "tall"}
    groups = {("tall", "true"): source.features["height"] > 175.0}
    groups |= {("shop", str(shop)): source.features["shop"] == shop for shop in np.unique(source.features["shop"])}
    for (name, value), rows in groups.items():
        part = manifest["slices"][name][value]
        assert part["examples"] == rows.sum()
        correct = (predicted == source.labels)[rows].mean()
        assert part["metrics"]["accuracy"] == pytest.approx(correct, rel=1e-5)


def test_what_json_hasnt_is_text_that_python_reads():
    value = {"a": [float("nan"), np.float32(2.5), float("-inf")], 3: np.array([1, 2]), "b": b"x", "c": (True, None)}
    plain = plain_json(value)
    assert plain == {"a": ["NaN", 2.5, "-Infinity"], "3": [1, 2], "b": "x", "c": [True, None]}
    assert [float(item) for item in plain["a"]][2] == -np.inf
