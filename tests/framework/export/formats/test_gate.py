import keras
import numpy as np
import pytest

import framework
from framework import tasks, testing
from framework.data.evaluate import eval_dataset
from framework.export import formats
from framework.export.formats import FormatRefused, FormatRunner, Gate

_RNG = np.random.default_rng(0)
VALUES = _RNG.normal(size=(90, 4)).astype(np.float32)
WEIGHTS = _RNG.uniform(0.1, 3.0, 90).astype(np.float32)


def gate(mode="max", max_drop=0.01):
    return Gate("figure", mode, lambda run: 0.0, max_drop)


class TestGate:
    @pytest.mark.parametrize(
        ("mode", "before", "after"),
        [("max", 0.9, 0.8911), ("max", 0.9, 0.95), ("min", 50.0, 50.5), ("min", 50.0, 3.0), ("max", -2.0, -2.01)],
    )
    def test_near_enough_or_better(self, mode, before, after):
        gate(mode).check("onnx", before, after)

    @pytest.mark.parametrize(
        ("mode", "before", "after"),
        [
            ("max", 0.9, 0.8909),
            ("min", 50.0, 50.51),
            ("max", -2.0, -2.03),
            ("max", 0.9, float("nan")),
            ("min", float("nan"), 0.1),
        ],
    )
    def test_too_much_worse_or_no_number(self, mode, before, after):
        with pytest.raises(FormatRefused, match=r"'onnx' isn't published: figure goes from .* a drop of 0\.01 of it"):
            gate(mode).check("onnx", before, after)

    def test_what_a_gate_can_t_be(self):
        with pytest.raises(ValueError, match="mode must be 'min' or 'max', got 'more'"):
            gate("more")
        with pytest.raises(ValueError, match=r"max_drop is a share and can't be negative, got -0\.1"):
            gate(max_drop=-0.1)


def linear(inputs, task):
    return task.logits(keras.layers.Concatenate()([keras.layers.Flatten()(x) for x in inputs.values()]))


def probable(inputs, task):
    return keras.layers.Dense(task.units, activation="softmax")(inputs["values"])


class Values(framework.Pipeline):
    """63 examples to train on, and 27 others."""

    features = {"values": framework.Feature((4,), "float32")}

    def __init__(self, labels, task, weights=None):
        self.arrays = framework.ArraySource({"values": VALUES}, labels, weights)
        self._task = task

    @property
    def task(self):
        return self._task

    def source(self, phase):
        rows = {"train": np.arange(63), "validation": np.arange(63, 90)}.get(phase)
        return None if rows is None else self.arrays.subset(rows)


HEADS = tasks.Heads({"kind": tasks.Classification(2), "size": tasks.Regression()}, weights={"size": 0.25})
CLASSES = (VALUES[:, 0] > 0).astype(np.int64)

CASES = {
    "class": (linear, lambda: Values(CLASSES, tasks.Classification(2)), ("accuracy", "loss")),
    "probabilities": (
        probable,
        lambda: Values(CLASSES, tasks.Classification(2, from_logits=False)),
        ("accuracy", "loss"),
    ),
    "binary": (linear, testing.toy_table, ("auc", "accuracy")),
    "labels": (linear, lambda: Values((VALUES > 0.3).astype(np.int64), tasks.MultiLabelClassification(4)), ("auc",)),
    "weighted": (linear, lambda: Values(VALUES[:, 1], tasks.Regression(), WEIGHTS), ("rmse", "mae", "loss")),
    "several": (linear, lambda: Values(VALUES[:, :3], tasks.Regression(3)), ("rmse",)),
    "heads": (
        linear,
        lambda: Values({"kind": CLASSES, "size": VALUES[:, 1]}, HEADS),
        ("loss", "kind_accuracy", "size_rmse"),
    ),
}


def live(data, model):
    """What calls the live model as a signature would be called."""

    def call(inputs):
        outputs = model({name: inputs[name] for name in model.input}, training=False)
        return {name: value.numpy() for name, value in data.task.predictions(outputs).items()}

    return answering(data, call)


def answering(data, call):
    return FormatRunner("made", "features", data.interface(), {}, call)


@pytest.mark.parametrize("case", list(CASES))
def test_the_score_is_what_keras_reports(case):
    build, make, names = CASES[case]
    data = make().with_statistics()
    model = framework.build_model(build, data.interface(), data.task, seed=3)
    is_weighted = case == "weighted"
    model.compile(
        loss=data.task.loss(),
        loss_weights=HEADS.weights if case == "heads" else None,
        **{"weighted_metrics" if is_weighted else "metrics": data.task.metrics()},
    )
    reported = model.evaluate(eval_dataset(data, "validation", batch_size=64), return_dict=True, verbose=0)
    for name in names:
        mode = "min" if name in ("loss", "rmse", "mae", "size_rmse") else "max"
        made = formats.pipeline_gate(data, objective=framework.Objective(f"val_{name}", mode))
        assert (made.metric, made.mode, made.max_drop) == (name, mode, 0.01)
        assert made.score(live(data, model)) == pytest.approx(reported[name], rel=1e-5), name
    assert formats.pipeline_gate(data).metric == data.task.objective.monitor.removeprefix("val_")


def test_no_more_examples_than_asked_for_from_all_over_the_split():
    data = Values(VALUES[:, 1], tasks.Regression())
    seen = []

    def call(inputs):
        seen.append(inputs["values"])
        return {"value": np.zeros(len(inputs["values"]), np.float32)}

    formats.pipeline_gate(data, phase="train", max_examples=5).score(answering(data, call))
    train = next(iter(data.require_source("train").batches(90))).features["values"].numpy()
    np.testing.assert_array_equal(np.concatenate(seen), train[[0, 15, 31, 46, 62]])


def test_metrics_of_one_s_own():
    data = Values(VALUES[:, 1], tasks.Regression())
    made = formats.pipeline_gate(data, objective="r2_score", metrics=[keras.metrics.R2Score(name="r2_score")])
    perfect = answering(data, lambda given: {"value": given["values"][:, 1]})
    assert (made.metric, made.mode) == ("r2_score", "max")
    assert made.score(perfect) == pytest.approx(1.0)


def test_what_can_t_be_judged():
    data = Values(VALUES[:, 1], tasks.Regression())
    silent = FormatRunner("x", "features", data.interface(), {}, lambda given: {"score": given["values"][:, 1]})
    with pytest.raises(
        ValueError, match=r"Metrics of Regression can't be computed .*: score without 'value'\. Write a"
    ):
        formats.pipeline_gate(data).score(silent)
    perfect = answering(data, lambda given: {"value": given["values"][:, 1]})
    with pytest.raises(LookupError, match=r"'rmsle' isn't in the logs\. Did you mean 'rmse'"):
        formats.pipeline_gate(data, objective=framework.Objective("rmsle", "min")).score(perfect)
    with pytest.raises(ValueError, match="no test split"):
        formats.pipeline_gate(data, phase="test")


def test_representative_examples_are_what_clients_send():
    data = testing.toy_images().with_statistics()
    found = formats.representative_examples(data, 10)
    assert set(found) == {"serving_default", "features"}
    raw = found["serving_default"]["image"]
    assert (raw.shape, raw.dtype) == ((10, 12, 12, 1), np.uint8)
    np.testing.assert_allclose(found["features"]["image"], raw.astype(np.float32) / 255.0)
    train = next(iter(data.require_source("train").batches(159))).features["image"].numpy()
    np.testing.assert_array_equal(raw[[0, -1]], train[[0, -1]])
    assert len(formats.representative_examples(data, 10_000)["features"]["image"]) == 159


def test_judging_leaves_no_trace_in_what_comes_later():
    data = Values(VALUES[:, 1], tasks.Regression())

    def names():
        return [keras.layers.Identity().name, keras.layers.Dense(1).name, keras.Sequential().name]

    before = [name.rpartition("_") for name in names()]
    formats.pipeline_gate(data).score(answering(data, lambda given: {"value": given["values"][:, 1]}))
    assert names() == [f"{stem or number}_{int(number) + 1 if stem else 1}" for stem, _, number in before]
