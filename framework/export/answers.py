"""What signatures answer beyond the task's predictions, by request."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import keras
import tensorflow as tf

from framework.export.forward import run, takes_dict
from framework.registry import did_you_mean
from framework.tasks.task import Task
from framework.variables import canonical_names, snake_case

ERROR = "error"
SALIENCY = "saliency"
_BAD_ROW = "This example can't be parsed or decoded."

Predictions = Callable[[Any], dict[str, tf.Tensor]]


@dataclasses.dataclass(frozen=True)
class Answers:
    """What signatures answer beyond the task's predictions.

    Attributes:
        top_k: The most probable classes of a classification, with their names: `top_k_class_ids` int64,
            `top_k_probabilities` float32 and `top_k_class_names`, each `[batch, k]`.
        layers: Names of layers whose outputs are answered too, as embeddings: `{layer name: [batch, ...]}`. A layer
            with several outputs, such as attention that returns its scores, has them as `<name>_0`, `<name>_1`. Layers
            without a name of their own are counted within the model: `dense`, `dense_1`.
        saliency: Adds the signature `saliency` (and `encoded_saliency`): how much each element of the model's floating
            inputs matters to the score of the predicted class, the gradient's absolute value (Simonyan, Vedaldi and
            Zisserman 2014, "Deep Inside Convolutional Networks", section 3).
        on_error: What a row of `encoded` or `serialized` that can't be parsed or decoded does: `"raise"` fails the
            request with the row's index; `"mask"` answers NaN, -1, false and empty text for that row, and says so in
            the further output `error` string `[batch]`, which is empty for good rows.
    """

    top_k: int | None = None
    layers: Sequence[str] = ()
    saliency: bool = False
    on_error: Literal["raise", "mask"] = "raise"

    def __post_init__(self):
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k must be at least 1, got {self.top_k}.")
        if self.on_error not in ("raise", "mask"):
            raise ValueError(f"on_error must be 'raise' or 'mask', got {self.on_error!r}.")
        if isinstance(self.layers, str):
            raise TypeError(f"layers is a sequence of names, got {self.layers!r}. Write ({self.layers!r},).")
        object.__setattr__(self, "layers", tuple(self.layers))


def predictions_of(task: Task, answers: Answers) -> Predictions:
    """The task's predictions, with the most probable classes where they are asked for.

    Raises:
        ValueError: The task has no classes, or fewer than asked for.
    """
    if answers.top_k is None:
        return task.predictions
    top_k = answers.top_k
    task.check_top_k(top_k)

    def predictions(outputs: Any) -> dict[str, tf.Tensor]:
        made = task.predictions(outputs)
        return {**made, **task.top_k(made, top_k)}

    return predictions


def forward_pass(model: keras.Model, predictions: Predictions, answers: Answers) -> Callable[[Any], Any]:
    """Inference from the model's inputs `{name: [batch, ...]}` to all answers.

    Raises:
        LookupError: The model has no layer of a name that is asked for.
        ValueError: A layer is named as a prediction is.
    """
    if not answers.layers:
        return lambda inputs: predictions(run(model, inputs))
    embeddings = _embeddings(model, answers.layers)
    both = keras.Model(model.input if takes_dict(model) else model.inputs, {"outputs": model.output, **embeddings})

    def forward(inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        made = dict(run(both, inputs))
        named = predictions(made.pop("outputs"))
        twice = sorted(set(named) & set(made))
        if twice:
            raise ValueError(f"The layers {twice} are named as predictions are. Give these layers other names.")
        return {**named, **made}

    return forward


def _embeddings(model: keras.Model, names: Sequence[str]) -> dict[str, keras.KerasTensor]:
    counted = canonical_names([(layer.name, snake_case(type(layer).__name__)) for layer in model.layers])
    layers = {counted.get(layer.name, layer.name): layer for layer in model.layers}
    found: dict[str, keras.KerasTensor] = {}
    for name in names:
        if name not in layers:
            raise LookupError(
                f"The model has no layer {name!r}.{did_you_mean(name, layers)} It has: {', '.join(layers)}."
            )
        outputs = layers[name].output
        if isinstance(outputs, (list, tuple)):
            found |= {f"{name}_{index}": output for index, output in enumerate(outputs)}
        else:
            found[name] = outputs
    return found


def saliency_pass(model: keras.Model, predictions: Predictions) -> Callable[[Any], Any]:
    """Inference and the gradient of each example's highest score by its floating inputs.

    Raises:
        ValueError: (when traced) No input is floating.
    """

    def saliency(inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        floating = {name: tensor for name, tensor in inputs.items() if tensor.dtype.is_floating}
        if not floating:
            raise ValueError(f"Saliency is a gradient by floating inputs; the model's inputs are {sorted(inputs)}.")
        with tf.GradientTape() as tape:
            tape.watch(floating)
            outputs = run(model, {**inputs, **floating})
            score = tf.add_n([tf.reduce_sum(tf.reduce_max(head, axis=-1)) for head in tf.nest.flatten(outputs)])
        gradients = tape.gradient(score, floating, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return {**predictions(outputs), **{f"{SALIENCY}_{name}": tf.abs(g) for name, g in gradients.items()}}

    return saliency


def saliency_name(signature: str) -> str:
    """The name of the signature that adds saliency to another."""
    return SALIENCY if signature == "serving_default" else f"{signature}_{SALIENCY}"


def named_identities(function: Callable[[Any], Mapping[str, tf.Tensor]]) -> Callable[[Any], dict[str, tf.Tensor]]:
    """An identity around each answer: SavedModel refuses an output that is an input or appears twice."""
    return lambda inputs: {name: tf.identity(value, name=name) for name, value in function(inputs).items()}


def masked(answers: Mapping[str, tf.Tensor], is_good: tf.Tensor) -> dict[str, tf.Tensor]:
    """Answers `{name: [batch, ...]}` with nothing in the rows that aren't good, and `error` that says so."""
    made = {name: _where(is_good, value) for name, value in answers.items()}
    return {**made, ERROR: tf.where(is_good, "", _BAD_ROW)}


def _where(is_good: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
    if value.dtype == tf.string:
        nothing = tf.constant("")
    elif value.dtype.is_floating:
        nothing = tf.constant(float("nan"), value.dtype)
    else:
        nothing = tf.cast(0 if value.dtype == tf.bool or value.dtype.is_unsigned else -1, value.dtype)
    rows = tf.reshape(is_good, [-1, *[1] * (value.shape.rank - 1)])
    return tf.where(rows, value, nothing)
