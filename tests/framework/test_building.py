import random
from typing import Literal

import keras
import numpy as np
import pytest

from framework import tasks
from framework.building import build_model, resolve_hparams
from framework.features import Feature

TASK = tasks.Classification(3)
X = {"x": Feature((4,), "float32")}
XY = {"x": Feature((4,), "float32"), "y": Feature((2,), "float32")}


def dense(inputs, task, *, width: int = 5, dropout: float = 0.0):
    hidden = keras.layers.Dense(width, activation="relu")(inputs["x"])
    return task.logits(keras.layers.Dropout(dropout)(hidden))


def weights(model):
    return [value.tolist() for value in model.get_weights()]


def answers(model, **inputs):
    return model({name: np.ones((2, *shape), np.float32) for name, shape in inputs.items()}, training=False).numpy()


def test_inputs_have_the_interface_s_names_and_hparams_reach_the_builder():
    model = build_model(dense, X, TASK, {"width": 7})
    assert {name: tensor.shape for name, tensor in model.input.items()} == {"x": (None, 4)}
    assert model.output.shape == (None, 3)
    assert model.name == "dense"
    assert model.layers[1].units == 7


def test_features_that_the_builder_doesn_t_use_are_inputs_too():
    model = build_model(dense, XY, TASK)
    assert set(model.input) == {"x", "y"}
    assert answers(model, x=(4,), y=(2,)).shape == (2, 3)


def test_a_missing_feature_shows_what_there_is():
    def wants(inputs, task):
        return task.logits(inputs["xx"])

    with pytest.raises(
        LookupError, match=r"asks for the feature 'xx', the pipeline makes \['x'\]\. Did you mean 'x'\?"
    ):
        build_model(wants, X, TASK)


def test_the_seed_decides_the_weights_and_leaves_the_generators_alone():
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002  the global generator is what is tested
    state, numpy_state = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    first, again, other = (build_model(dense, X, TASK, seed=seed) for seed in (3, 3, 4))
    assert weights(first) == weights(again)
    assert weights(first) != weights(other)
    assert random.getstate() == state
    assert np.random.get_state()[1].tolist() == numpy_state  # noqa: NPY002


def test_without_a_seed_every_model_is_another():
    assert weights(build_model(dense, X, TASK)) != weights(build_model(dense, X, TASK))


def test_the_policy_holds_for_the_layers_and_nothing_else():
    before = keras.config.dtype_policy().name
    model = build_model(dense, X, TASK, dtype_policy="mixed_bfloat16")
    assert model.layers[1].compute_dtype == "bfloat16"
    assert model.output.dtype == "float32"
    assert keras.config.dtype_policy().name == before
    with pytest.raises(LookupError):
        build_model(lambda inputs, task: inputs["z"], X, TASK, dtype_policy="mixed_bfloat16")
    assert keras.config.dtype_policy().name == before


def test_outputs_become_float32():
    def half(inputs, task):
        return keras.layers.Dense(task.units, dtype="bfloat16")(inputs["x"])

    assert build_model(half, X, TASK).output.dtype == "float32"
    heads = tasks.Heads({"a": TASK, "b": tasks.Regression()})

    def halves(inputs, task):
        return {head: keras.layers.Dense(units, dtype="bfloat16")(inputs["x"]) for head, units in task.units.items()}

    outputs = build_model(halves, X, heads).output
    assert {head: (tensor.dtype, tensor.shape) for head, tensor in outputs.items()} == {
        "a": ("float32", (None, 3)),
        "b": ("float32", (None, 1)),
    }


def functional(inputs, task):
    return keras.Model(inputs["x"], task.logits(inputs["x"]))


def functional_on_all(inputs, task):
    return keras.Model(dict(inputs), task.logits(inputs["x"]))


def with_an_input_of_its_own(inputs, task):
    own = keras.Input((4,), name="other")
    return keras.Model(own, keras.layers.Dense(task.units)(own))


def with_named_inputs_of_its_own(inputs, task):
    own = {name: keras.Input(tensor.shape[1:], name=name) for name, tensor in inputs.items()}
    return keras.Model(own, keras.layers.Dense(task.units)(own["x"]))


def sequential(inputs, task):
    return keras.Sequential([keras.layers.Dense(5), keras.layers.Dense(task.units)])


def sequential_with_an_input(inputs, task):
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(task.units)])


class Subclassed(keras.Model):
    def __init__(self, units):
        super().__init__()
        self.dense = keras.layers.Dense(units)

    def call(self, inputs):
        return self.dense(inputs)


def subclassed(inputs, task):
    return Subclassed(task.units)


def in_a_dict(inputs, task):
    return {"anything": task.logits(inputs["x"])}


@pytest.mark.parametrize(
    "builder",
    [
        functional,
        functional_on_all,
        with_an_input_of_its_own,
        with_named_inputs_of_its_own,
        sequential,
        sequential_with_an_input,
        subclassed,
        in_a_dict,
    ],
)
def test_a_builder_may_return_a_model_of_any_kind(builder):
    model = build_model(builder, X, TASK)
    assert set(model.input) == {"x"}
    assert answers(model, x=(4,)).shape == (2, 3)
    assert model.trainable_variables


def with_listed_inputs_of_its_own(inputs, task):
    x, y = (keras.Input(inputs[name].shape[1:], name=name) for name in "xy")
    return keras.Model([y, x], keras.layers.Dense(task.units)(x))


@pytest.mark.parametrize(
    "builder", [functional, functional_on_all, with_named_inputs_of_its_own, with_listed_inputs_of_its_own]
)
def test_a_model_of_several_inputs_is_fed_by_name(builder):
    assert answers(build_model(builder, XY, TASK), x=(4,), y=(2,)).shape == (2, 3)


@pytest.mark.parametrize(
    ("returned", "error", "message"),
    [
        (
            lambda x: keras.layers.Dense(4)(x),
            ValueError,
            r"output of shape \(None, 4\), Classification expects \(None, 3\)",
        ),
        (lambda x: keras.layers.Reshape((1, 3))(keras.layers.Dense(3)(x)), ValueError, r"shape \(None, 1, 3\)"),
        (lambda x: None, TypeError, "must return a Keras tensor .* got NoneType None"),
        (lambda x: [keras.layers.Dense(3)(x)], TypeError, "must return a Keras tensor .* got list"),
        (lambda x: {"a": keras.layers.Dense(3)(x), "b": x}, TypeError, r"got a dict of \['a', 'b'\]"),
    ],
)
def test_outputs_must_fit_the_task(returned, error, message):
    def builder(inputs, task):
        return returned(inputs["x"])

    with pytest.raises(error, match=message):
        build_model(builder, X, TASK)


def dense_softmax(x, units):
    return keras.layers.Dense(units, activation="softmax")(x)


def activation_layer(x, units):
    return keras.layers.Activation("sigmoid")(keras.layers.Dense(units)(x))


def softmax_layer(x, units):
    return keras.layers.Softmax()(keras.layers.Dense(units)(x))


def operation(x, units):
    return keras.ops.sigmoid(keras.layers.Dense(units)(x))


@pytest.mark.parametrize("last", [dense_softmax, activation_layer, softmax_layer, operation])
@pytest.mark.parametrize("form", ["tensor", "dict", "model"])
def test_probabilities_where_logits_are_expected_are_refused(last, form):
    def builder(inputs, task):
        output = last(inputs["x"], task.units)
        return {"tensor": output, "dict": {"logits": output}, "model": keras.Model(inputs["x"], output)}[form]

    with pytest.raises(ValueError, match=r"applies (softmax|sigmoid), Classification expects logits\. Remove the"):
        build_model(builder, X, TASK)
    build_model(builder, X, tasks.Classification(3, from_logits=False))
    build_model(builder, X, tasks.Regression(3))


def test_log_probabilities_are_logits():
    def builder(inputs, task):
        return keras.ops.log_softmax(keras.layers.Dense(task.units)(inputs["x"]))

    assert build_model(builder, X, TASK).output.shape == (None, 3)


def test_an_activation_in_the_middle_is_no_concern():
    def builder(inputs, task):
        return task.logits(dense_softmax(inputs["x"], 3))

    assert build_model(builder, X, TASK).output.shape == (None, 3)


def test_the_head_with_probabilities_is_found():
    def builder(inputs, task):
        return task.logits(inputs["x"]) | {"b": dense_softmax(inputs["x"], 1)}

    heads = {"a": TASK, "b": tasks.BinaryClassification()}
    with pytest.raises(ValueError, match="applies softmax, BinaryClassification expects logits"):
        build_model(builder, X, tasks.Heads(heads))
    build_model(builder, X, tasks.Heads(heads | {"b": tasks.BinaryClassification(from_logits=False)}))


def test_a_builder_s_signature_is_checked():
    with pytest.raises(TypeError, match=r"expected build\(inputs, task"):
        build_model(lambda inputs: None, X, TASK)


def settings(
    inputs,
    task,
    *,
    width: int,
    rate: float = 0.1,
    widths: tuple[int, ...] = (1,),
    kind: Literal["a", "b"] = "a",
    name: str | None = None,
    flag: bool = False,
    untyped=3,
    anything=None,
    forward: "NoSuchType" = 1,  # noqa: F821  what only a type checker can resolve
):
    return None


def test_hparams_are_completed_with_the_defaults():
    assert resolve_hparams(settings, {"width": 2, "rate": 1, "widths": (2, 3), "kind": "b", "anything": object}) == {
        "width": 2,
        "rate": 1,
        "widths": (2, 3),
        "kind": "b",
        "name": None,
        "flag": False,
        "untyped": 3,
        "anything": object,
        "forward": 1,
    }


def typed(inputs, task, *, width: int = 1, rate: float = 0.1, widths: tuple[int, ...] = (1,), kind: Literal["a"] = "a"):
    return None


def untyped(inputs, task, *, width=1, flag=False):
    return None


@pytest.mark.parametrize(
    ("builder", "hparams", "message"),
    [
        (typed, {"width": "5"}, r"Model 'typed': hyper-parameter 'width' must be int, got '5' \(str\)"),
        (typed, {"width": 5.0}, r"'width' must be int, got 5\.0 \(float\)"),
        (typed, {"width": True}, r"'width' must be int, got True \(bool\)"),
        (typed, {"rate": True}, "'rate' must be float, got True"),
        (typed, {"rate": None}, "'rate' must be float, got None"),
        (typed, {"widths": (1, "2")}, r"'widths' must be tuple\[int, \.\.\.\], got \(1, '2'\)"),
        (typed, {"kind": "c"}, r"'kind' must be Literal\['a'\], got 'c'"),
        (untyped, {"width": "5"}, "'width' must be int, got '5'"),
        (untyped, {"flag": 1}, "'flag' must be bool, got 1"),
    ],
)
def test_hparams_of_another_type_are_refused(builder, hparams, message):
    with pytest.raises(TypeError, match=message):
        resolve_hparams(builder, hparams)


def test_an_unknown_hparam_shows_the_near_one():
    with pytest.raises(
        ValueError, match=r"Model 'untyped' has no hyper-parameter 'widht'\. Did you mean 'width'\?"
    ) as e:
        resolve_hparams(untyped, {"widht": 3})
    assert "It has: width=1, flag=False." in str(e.value)
    with pytest.raises(ValueError, match="It has: none"):
        resolve_hparams(sequential, {"width": 3})


def test_resolving_again_changes_nothing():
    def sloppy(inputs, task, *, width: int = None, widths: tuple[int, ...] = ()):  # noqa: RUF013  as people write it
        return None

    resolved = resolve_hparams(sloppy, {})
    assert resolve_hparams(sloppy, resolved) == resolved == {"width": None, "widths": ()}


def test_a_required_hparam_is_asked_for():
    with pytest.raises(ValueError, match=r"Model 'settings' needs a value for the hyper-parameter 'width'"):
        resolve_hparams(settings, {})
