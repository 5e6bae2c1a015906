"""Explicit signatures around one shared forward pass.

Only the variables that the signatures read hang on the module that is saved, neither the model (which would bring
the optimizer along) nor the functions (which would be traced again): the file holds each variable once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf

from framework.data.serving import Receiver, checked
from framework.features import Feature

OUTPUTS = "outputs"


@dataclasses.dataclass(frozen=True)
class Signatures:
    """What `tf.saved_model.save` needs; saving again writes the variables' values of that moment.

    Attributes:
        module: Tracks the variables and lookup tables.
        functions: One concrete function for each signature.
        inputs: `{signature: {name: Feature}}`.
    """

    module: tf.Module
    functions: Mapping[str, Any]
    inputs: Mapping[str, Mapping[str, Feature]]

    @property
    def outputs(self) -> dict[str, dict[str, Feature]]:
        """`{signature: {name: Feature}}`."""
        return {
            name: {
                key: Feature(tuple(spec.shape[1:]), spec.dtype.name)
                for key, spec in function.structured_outputs.items()
            }
            for name, function in self.functions.items()
        }


def model_inputs(model: keras.Model) -> dict[str, Feature]:
    """The inputs of a functional model by name.

    Raises:
        ValueError: The model has no symbolic inputs yet.
    """
    if not getattr(model, "inputs", None):
        raise ValueError(f"The model {model.name!r} isn't functional: it has no named inputs to make a signature of.")
    return {
        tensor.name: Feature(tuple(tensor.shape[1:]), keras.backend.standardize_dtype(tensor.dtype))
        for tensor in model.inputs
    }


def plain_predictions(outputs: Any) -> dict[str, tf.Tensor]:
    """Names the outputs of a model without a task: a dict's own keys, or `"outputs"`."""
    if isinstance(outputs, Mapping):
        return {str(name): value for name, value in outputs.items()}
    if isinstance(outputs, (list, tuple)):
        return {f"{OUTPUTS}_{index}": value for index, value in enumerate(outputs)}
    return {OUTPUTS: outputs}


def build_signatures(
    model: keras.Model,
    receivers: Mapping[str, Receiver],
    predictions: Callable[[Any], dict[str, tf.Tensor]] = plain_predictions,
    resources: list[Any] | None = None,
) -> Signatures:
    """Traces one function for each receiver.

    Args:
        model: A built model.
        receivers: What each signature accepts and how it becomes the model's input.
        predictions: Names what the model returns.
        resources: Lookup tables and layers that the receivers use.

    Raises:
        ValueError: A receiver doesn't make what the model takes.
    """
    expected = model_inputs(model)
    # A dict where the model was built on one; a single tensor where it has a single, unnamed input.
    takes_dict = isinstance(model.input, Mapping)

    @tf.function(autograph=False)
    def forward(inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        fed = inputs if takes_dict else list(inputs.values())
        outputs = model(fed if takes_dict or len(fed) > 1 else fed[0], training=False)
        # An identity each: SavedModel refuses an output that is an input or appears twice.
        return {name: tf.identity(value, name=name) for name, value in predictions(outputs).items()}

    functions = {
        name: _trace(forward, receiver, expected, f"signature {name!r}") for name, receiver in receivers.items()
    }
    module = tf.Module()
    index_of = {id(_raw(variable)): index for index, variable in enumerate(model.variables)}
    used = {id(variable): variable for function in functions.values() for variable in function.variables}
    module.model_variables = {str(index_of[key]): variable for key, variable in used.items() if key in index_of}
    module.other_variables = [variable for key, variable in used.items() if key not in index_of]
    module.resources = list(resources or [])
    return Signatures(module, functions, {name: receiver.inputs for name, receiver in receivers.items()})


def _trace(forward: Callable, receiver: Receiver, expected: Mapping[str, Feature], where: str) -> Any:
    @tf.function  # with autograph, as tf.data has it: a pipeline's code must mean the same everywhere
    def serve(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return forward(checked(receiver.to_model(dict(inputs)), expected, where))

    specs = {name: feature.spec(name) for name, feature in receiver.inputs.items()}
    return serve.get_concrete_function(**specs)


def _raw(variable: Any) -> Any:
    """The TensorFlow variable inside a Keras one."""
    return getattr(variable, "value", variable)
