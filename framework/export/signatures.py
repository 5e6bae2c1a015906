"""Explicit signatures around one shared forward pass.

Only the variables that the signatures read hang on the module that is saved, neither the model (which would bring
the optimizer along) nor the functions (which would be traced again): the file holds each variable once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal

import keras
import tensorflow as tf

from framework.data.serving import DEFAULT, ENCODED, Receiver, checked
from framework.export.answers import (
    Answers,
    forward_pass,
    masked,
    named_identities,
    saliency_name,
    saliency_pass,
)
from framework.export.forward import model_inputs
from framework.features import Feature

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
    answers: Answers | None = None,
) -> Signatures:
    """Traces one function for each receiver.

    Args:
        model: A built model.
        receivers: What each signature accepts and how it becomes the model's input.
        predictions: Names what the model returns.
        resources: Lookup tables and layers that the receivers use.
        answers: What signatures answer beyond the predictions.

    Raises:
        ValueError: A receiver doesn't make what the model takes, or the model can't give an answer that is asked for.
    """
    answers = answers or Answers()
    expected = model_inputs(model)
    # An identity each: SavedModel refuses an output that is an input or appears twice.
    forward = tf.function(named_identities(forward_pass(model, predictions, answers)), autograph=False)
    functions = {
        name: _trace(forward, receiver, expected, f"signature {name!r}", answers.on_error)
        for name, receiver in receivers.items()
    }
    if answers.saliency:
        gradients = tf.function(named_identities(saliency_pass(model, predictions)), autograph=False)
        for name in (DEFAULT, ENCODED):
            if name in receivers:
                functions[saliency_name(name)] = _trace(
                    gradients, receivers[name], expected, f"signature {saliency_name(name)!r}", "raise"
                )
                receivers = {**receivers, saliency_name(name): receivers[name]}
    module = tf.Module()
    index_of = {id(_raw(variable)): index for index, variable in enumerate(model.variables)}
    used = {id(variable): variable for function in functions.values() for variable in function.variables}
    module.model_variables = {str(index_of[key]): variable for key, variable in used.items() if key in index_of}
    module.other_variables = [variable for key, variable in used.items() if key not in index_of]
    module.resources = [*(resources or []), *_tables(model)]
    return Signatures(module, functions, {name: receiver.inputs for name, receiver in receivers.items()})


def _trace(
    forward: Callable,
    receiver: Receiver,
    expected: Mapping[str, Feature],
    where: str,
    on_error: Literal["raise", "mask"],
) -> Any:
    @tf.function  # with autograph, as tf.data has it: a pipeline's code must mean the same everywhere
    def serve(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        if on_error == "raise" or receiver.to_model_or_zeros is None:
            return forward(checked(receiver.to_model(dict(inputs)), expected, where))
        features, is_good = receiver.to_model_or_zeros(dict(inputs))
        return masked(forward(checked(features, expected, where)), is_good)

    specs = {name: feature.spec(name) for name, feature in receiver.inputs.items()}
    return serve.get_concrete_function(**specs)


def _tables(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """The layers with a lookup table: it is no variable, so nothing else would bring it into the export."""
    if isinstance(layer, _WITH_TABLE):
        return [layer]
    inner = [value for value in vars(layer).values() if isinstance(value, _WITH_TABLE)]
    return inner + [table for part in getattr(layer, "layers", ()) for table in _tables(part)]


def _raw(variable: Any) -> Any:
    """The TensorFlow variable inside a Keras one."""
    return getattr(variable, "value", variable)
