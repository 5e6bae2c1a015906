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

INPUTS = "inputs"
OUTPUTS = "outputs"
_WITH_TABLE = (keras.layers.StringLookup, keras.layers.IntegerLookup, keras.layers.TextVectorization)


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
    takes_dict = _takes_dict(model)

    @tf.function(autograph=False)
    def forward(inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        fed: Any = inputs if takes_dict else list(inputs.values())
        outputs = model(fed[0] if not takes_dict and len(fed) == 1 else fed, training=False)
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
    module.resources = [*(resources or []), *_tables(model)]
    return Signatures(module, functions, {name: receiver.inputs for name, receiver in receivers.items()})


def _trace(forward: Callable, receiver: Receiver, expected: Mapping[str, Feature], where: str) -> Any:
    @tf.function  # with autograph, as tf.data has it: a pipeline's code must mean the same everywhere
    def serve(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return forward(checked(receiver.to_model(dict(inputs)), expected, where))

    specs = {name: feature.spec(name) for name, feature in receiver.inputs.items()}
    return serve.get_concrete_function(**specs)


def _takes_dict(model: keras.Model) -> bool:
    # A Sequential never does; one that `fit` has built has no `input` either.
    return not isinstance(model, keras.Sequential) and isinstance(model.input, Mapping)


def _named_inputs(model: keras.Model) -> dict[str, keras.KerasTensor]:
    if _takes_dict(model):
        return dict(model.input)
    numbers = [""] if len(model.inputs) == 1 else [f"_{index}" for index in range(len(model.inputs))]
    # Keras numbers inputs that nobody named through the process: a client couldn't rely on such a name.
    return {
        f"{INPUTS}{number}" if tensor.name.startswith("keras_tensor") else tensor.name: tensor
        for number, tensor in zip(numbers, model.inputs, strict=True)
    }


def _tables(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """The layers with a lookup table: it is no variable, so nothing else would bring it into the export."""
    if isinstance(layer, _WITH_TABLE):
        return [layer]
    inner = [value for value in vars(layer).values() if isinstance(value, _WITH_TABLE)]
    return inner + [table for part in getattr(layer, "layers", ()) for table in _tables(part)]


def _raw(variable: Any) -> Any:
    """The TensorFlow variable inside a Keras one."""
    return getattr(variable, "value", variable)
