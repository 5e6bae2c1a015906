"""Calling a functional model for inference by the names of its inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from framework.features import Feature

INPUTS = "inputs"


def model_inputs(model: keras.Model) -> dict[str, Feature]:
    """The inputs of a functional model by name; those without one are `"inputs"`, or `"inputs_0"` and so on.

    Raises:
        ValueError: The model has no symbolic inputs yet.
    """
    if not getattr(model, "inputs", None):
        raise ValueError(f"The model {model.name!r} isn't functional: it has no named inputs to make a signature of.")
    return {
        name: Feature(tuple(tensor.shape[1:]), keras.backend.standardize_dtype(tensor.dtype))
        for name, tensor in _named_inputs(model).items()
    }


def run(model: keras.Model, inputs: Mapping[str, tf.Tensor]) -> Any:
    """The outputs for inputs `{name: [batch, ...]}`, of whatever structure the model was built on."""
    if takes_dict(model):
        return model(dict(inputs), training=False)
    fed = list(inputs.values())
    return model(fed[0] if len(fed) == 1 else fed, training=False)


def takes_dict(model: keras.Model) -> bool:
    """Whether the model was built on a dict of inputs."""
    # A Sequential never does; one that `fit` has built has no `input` either.
    return not isinstance(model, keras.Sequential) and isinstance(model.input, Mapping)


def _named_inputs(model: keras.Model) -> dict[str, keras.KerasTensor]:
    if takes_dict(model):
        return dict(model.input)
    numbers = [""] if len(model.inputs) == 1 else [f"_{index}" for index in range(len(model.inputs))]
    # Keras numbers inputs that nobody named through the process: a client couldn't rely on such a name.
    return {
        f"{INPUTS}{number}" if tensor.name.startswith("keras_tensor") else tensor.name: tensor
        for number, tensor in zip(numbers, model.inputs, strict=True)
    }
