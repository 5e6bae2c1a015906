"""Metrics computed from what a signature answers, by Keras' own code.

A signature's predictions contain the model's outputs, such as logits. They are found among the predictions, put in the
model's place, and judged by a model without weights that was compiled as the trained one was: loss, metrics, heads and
sample weights are Keras' own business, and the values are those of `evaluate`.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from framework.tasks.task import Task

Arrays = Mapping[str, np.ndarray]


class NoScoresError(LookupError):
    """Metrics can't be computed from answers; the message says why."""


class Outputs:
    """The model's outputs, found among the predictions that a task makes of them.

    Args:
        model: Whose outputs.
        task: What makes predictions of them.

    Raises:
        NoScoresError: A prediction with these values isn't there.
    """

    def __init__(self, model: keras.Model, task: Task):
        self.specs = tf.nest.map_structure(_spec, model.output)
        # Random ones, so that no two are alike by chance: whatever is found has these very values.
        random = np.random.default_rng(0)
        outputs = tf.nest.map_structure(
            lambda spec: tf.constant(random.normal(size=(3, *(axis or 2 for axis in spec.shape[1:]))), spec.dtype),
            self.specs,
        )
        predictions = {name: value.numpy() for name, value in task.predictions(outputs).items()}
        self._names = [_find(output.numpy(), predictions, task) for output in tf.nest.flatten(outputs)]

    def of(self, answers: Arrays) -> Any:
        """The outputs as the model returned them, `[batch, ...]`, in the model's own structure."""
        found = []
        for name, spec in zip(self._names, tf.nest.flatten(self.specs), strict=True):
            value = answers[name]
            missing = len(spec.shape) - value.ndim
            found.append(tf.constant(value.reshape(*value.shape, *[1] * missing), spec.dtype))
        return tf.nest.pack_sequence_as(self.specs, found)


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """How Keras evaluates the validation split.

    Attributes:
        batch_size: Examples of a batch; some losses are means over batches.
        compile_arguments: `loss`, `metrics`, `weighted_metrics` and `loss_weights` as `Model.compile` got them.
    """

    batch_size: int
    compile_arguments: Mapping[str, Any]


class Scores:
    """Loss and metrics of answers that come batch by batch.

    Args:
        outputs: Where in the answers the model's outputs are.
        compile_arguments: See `Evaluation`. Losses are shared with the model, which they know nothing of; metrics have
            state and are made again.

    Raises:
        NoScoresError: A metric can't be made again.
    """

    def __init__(self, outputs: Outputs, compile_arguments: Mapping[str, Any]):
        self._outputs = outputs
        inputs = _inputs(outputs.specs)
        self._model = keras.Model(inputs, tf.nest.map_structure(lambda x: keras.layers.Identity()(x), inputs))
        kept = {name: compile_arguments.get(name) for name in ("loss", "loss_weights", "metrics", "weighted_metrics")}
        self._model.compile(optimizer=None, **{name: tf.nest.map_structure(_again, kept[name]) for name in kept})
        self._values: dict[str, Any] = {}

    def update(self, answers: Arrays, labels: Any, weights: Any = None) -> None:
        """Adds a batch: answers `{name: [batch, ...]}`, labels as the task has them, weights `[batch]` or `None`."""
        # What `evaluate` does with each batch; as an eager call it costs two milliseconds and no tracing.
        self._values = self._model.test_step((self._outputs.of(answers), labels, weights))

    @property
    def values(self) -> dict[str, float]:
        """Of all batches so far, as `evaluate(return_dict=True)` has them."""
        return {name: float(value) for name, value in self._values.items()}

    def reset(self) -> None:
        """Forgets all batches."""
        self._model.reset_metrics()
        self._values = {}


def _spec(tensor: keras.KerasTensor) -> tf.TensorSpec:
    return tf.TensorSpec(tensor.shape, keras.backend.standardize_dtype(tensor.dtype))


def _inputs(specs: Any) -> Any:
    """Symbolic inputs in the structure of the outputs, with the names that Keras asks for."""
    if isinstance(specs, Mapping):
        return {name: _input(spec, name) for name, spec in specs.items()}
    if isinstance(specs, (list, tuple)):
        return [_input(spec, f"output_{index}") for index, spec in enumerate(specs)]
    return _input(specs, "output")


def _input(spec: tf.TensorSpec, name: str) -> keras.KerasTensor:
    return keras.Input(spec.shape[1:], dtype=spec.dtype.name, name=name)


def _again(value: Any) -> Any:
    """Another metric like this one; everything else is as it is."""
    if not isinstance(value, keras.metrics.Metric):
        return value
    try:
        config = value.get_config()
        untold = _untold(type(value), config)
        if untold:
            raise NoScoresError(f"its get_config says nothing of {', '.join(untold)}")
        return type(value).from_config(config)
    except Exception as error:  # whatever a metric of somebody's own may raise
        raise NoScoresError(f"The metric {value.name!r} can't be made again: {error}.") from error


def _untold(kind: type, config: Mapping[str, Any]) -> list[str]:
    """The constructor's parameters that a configuration lacks, where a class has that of another one."""
    constructs = next(owner for owner in kind.__mro__ if "__init__" in vars(owner))
    describes = next(owner for owner in kind.__mro__ if "get_config" in vars(owner))
    if not issubclass(constructs, describes) or constructs is describes:
        return []
    parameters = inspect.signature(constructs).parameters.values()
    named = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    return sorted(named - set(config))


def _find(output: np.ndarray, predictions: Arrays, task: Task) -> str:
    """The name of the prediction that is an output, up to axes of length 1 at its end."""
    for name, value in predictions.items():
        is_it = value.dtype.kind == "f" and output.shape == (*value.shape, *[1] * (output.ndim - value.ndim))
        if is_it and np.array_equal(value.reshape(output.shape), output.astype(value.dtype)):
            return name
    raise NoScoresError(
        f"{type(task).__name__}.predictions answers {', '.join(sorted(predictions))}; none of these are the model's "
        "outputs as they are, from which loss and metrics could be computed."
    )
