"""From a build function to a `keras.Model` that has exactly the pipeline's interface as inputs."""

from __future__ import annotations

import contextlib
import inspect
import random
import re
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
import typeguard

from framework.features import Feature
from framework.registry import check_builder, did_you_mean
from framework.tasks.task import Task

# Activations that make probabilities: where the loss applies them again, training is quietly wrong.
_PROBABILITIES = ("softmax", "sigmoid")


def build_model(
    builder: Callable[..., Any],
    interface: Mapping[str, Feature],
    task: Task,
    hparams: Mapping[str, Any] | None = None,
    *,
    dtype_policy: str | None = None,
    seed: int | None = None,
) -> keras.Model:
    """Calls a builder on symbolic inputs and checks what it returns.

    Args:
        builder: `build(inputs, task, *, ...)`, which returns outputs, a dict of them, or a `keras.Model`.
        interface: The model's inputs, `{name: Feature}`, as `Pipeline.interface` finds them.
        task: What the outputs mean.
        hparams: Keyword arguments of the builder.
        dtype_policy: A Keras dtype policy for the layers, such as `"mixed_bfloat16"`.
        seed: Makes the initial weights reproducible; Python's and NumPy's own generators are left as they were.

    Returns:
        A functional model that takes every feature of the interface by name, also those that the builder doesn't use.

    Raises:
        LookupError: The builder asks for a feature that the pipeline doesn't make.
        ValueError: Unknown hyper-parameters, or outputs that don't fit the task.
        TypeError: Hyper-parameters of another type, or outputs that are no Keras tensors.
    """
    check_builder(builder)
    hparams = resolve_hparams(builder, hparams or {})
    with _policy(dtype_policy), _seeded(seed):
        inputs = _Inputs({name: feature.keras_input(name) for name, feature in interface.items()})
        returned = builder(inputs, task, **hparams)
        if isinstance(returned, keras.Model):
            returned = _outputs_of(returned, inputs)
        outputs = task.check_outputs(returned)
        # Losses and metrics are float32's business, whatever the layers compute in.
        outputs = (
            {name: _in_float32(value, name) for name, value in outputs.items()}
            if isinstance(outputs, Mapping)
            else _in_float32(outputs, "float32")
        )
        model = keras.Model(dict(inputs), outputs, name=_scope_name(builder))
    _check_activation(model, returned, task)
    return model


def inner_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """The layers of a model, those of the models inside of it in their place."""
    return [inner for layer in model.layers for inner in (inner_layers(layer) if hasattr(layer, "layers") else [layer])]


def resolve_hparams(builder: Callable[..., Any], hparams: Mapping[str, Any]) -> dict[str, Any]:
    """All hyper-parameters of a builder: those given, checked by name and type, and the defaults of the others.

    Raises:
        ValueError: A name that the builder doesn't have, or a value that is missing.
        TypeError: A value of another type than the builder's annotation (or default) says.
    """
    parameters = {
        name: parameter
        for name, parameter in inspect.signature(builder).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    title = f"Model {getattr(builder, '__name__', builder)!r}"
    for name in hparams:
        if name not in parameters:
            raise ValueError(
                f"{title} has no hyper-parameter {name!r}.{did_you_mean(name, parameters)} "
                f"It has: {', '.join(map(str, parameters.values())) or 'none'}."
            )
    hints = _annotations(builder)
    resolved = {}
    for name, parameter in parameters.items():
        if name not in hparams:
            if parameter.default is parameter.empty:
                raise ValueError(f"{title} needs a value for the hyper-parameter {name!r}: hparams={{{name!r}: ...}}.")
            resolved[name] = parameter.default
            continue
        value = hparams[name]
        expected = hints.get(name, type(parameter.default) if parameter.default not in (None, parameter.empty) else Any)
        # A default is right by definition, whatever its annotation: `width: int = None`.
        if value is not parameter.default and not _is_of_type(value, expected):
            raise TypeError(
                f"{title}: hyper-parameter {name!r} must be {_type_name(expected)}, "
                f"got {value!r} ({type(value).__name__})."
            )
        resolved[name] = value
    return resolved


def _annotations(builder: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(builder)
    except NameError:  # an annotation that only a type checker can resolve
        return {}


def _is_of_type(value: Any, expected: Any) -> bool:
    if isinstance(value, bool) and expected in (int, float):  # True is an int to Python, not to a person
        return False
    try:
        typeguard.check_type(value, expected, collection_check_strategy=typeguard.CollectionCheckStrategy.ALL_ITEMS)
    except typeguard.TypeCheckError:
        return False
    return True


def _type_name(expected: Any) -> str:
    return expected.__name__ if isinstance(expected, type) else str(expected).replace("typing.", "")


class _Inputs(dict):
    """The inputs given to a builder; a miss explains itself."""

    def __missing__(self, name: str):
        raise LookupError(
            f"The builder asks for the feature {name!r}, the pipeline makes {sorted(self)}.{did_you_mean(name, self)} "
            "Choose another model, or make the feature in the pipeline's preprocess."
        )


def _scope_name(builder: Callable[..., Any]) -> str:
    """A builder's name as TensorFlow takes it for a scope, which neither `_tiny` nor `<lambda>` is."""
    return re.sub(r"[^A-Za-z0-9_]", "_", getattr(builder, "__name__", "")).strip("_") or "model"


def _outputs_of(model: keras.Model, inputs: Mapping[str, keras.KerasTensor]) -> Any:
    """The outputs of a model that a builder returned, on our inputs."""
    own = getattr(model, "inputs", None)
    if own and all(any(tensor is given for given in inputs.values()) for tensor in own):
        outputs = model.output
    elif own:
        # As the model was built: on a dict, a list or one tensor, which may have another name where there is no choice.
        only = next(iter(inputs.values())) if len(own) == len(inputs) == 1 else None
        structure = getattr(model, "input", own[0])  # which a Sequential that was never called hasn't
        outputs = model(
            keras.tree.map_structure(lambda tensor: inputs[tensor.name] if only is None else only, structure)
        )
    else:
        outputs = model(next(iter(inputs.values())) if len(inputs) == 1 else dict(inputs))
    return outputs[0] if isinstance(outputs, (list, tuple)) and len(outputs) == 1 else outputs


def _in_float32(output: keras.KerasTensor, name: str) -> keras.KerasTensor:
    if keras.backend.standardize_dtype(output.dtype) == "float32":
        return output
    return keras.layers.Activation("linear", dtype="float32", name=f"{name}_as_float32")(output)


def _check_activation(model: keras.Model, returned: Any, task: Task) -> None:
    heads = getattr(task, "tasks", {"": task})
    outputs = returned if isinstance(returned, Mapping) else {"": returned}
    if len(heads) == 1 and len(outputs) == 1:
        pairs = [(next(iter(heads.values())), next(iter(outputs.values())))]
    else:
        pairs = [(heads[head], outputs[head]) for head in heads]
    for head_task, output in pairs:
        # Operations, not only layers: keras.ops.softmax is one too.
        last = next((operation for operation in model.operations if operation.output is output), None)
        activation = getattr(last, "activation", None)
        name = getattr(activation, "__name__", None) or type(last).__name__.lower()
        if last is not None and head_task.from_logits and name in _PROBABILITIES:
            raise ValueError(
                f"The builder's last layer {last.name!r} applies {name}, {type(head_task).__name__} expects logits. "
                "Remove the activation, or give the pipeline's task from_logits=False."
            )


@contextlib.contextmanager
def _policy(name: str | None) -> Iterator[None]:
    previous = keras.config.dtype_policy()
    if name:
        keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(previous)


@contextlib.contextmanager
def _seeded(seed: int | None) -> Iterator[None]:
    """Keras draws the seeds of initializers and dropout from Python's generator."""
    if seed is None:
        yield
        return
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002  Keras seeds both
    keras.utils.set_random_seed(seed)
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002
