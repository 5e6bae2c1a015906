"""The interface of a task.

A task of one's own is a frozen dataclass with four members:

    @dataclasses.dataclass(frozen=True)
    class Counts(Task):
        @property
        def label(self): return Feature((), "float32")
        @property
        def units(self): return 1
        def loss(self): return keras.losses.Poisson()
        def predictions(self, outputs): return {"count": tf.squeeze(outputs, -1)}
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from framework.tasks.objective import Objective


@dataclasses.dataclass(frozen=True)
class Task(abc.ABC):
    """What the model's outputs mean. Subclasses are frozen dataclasses of plain values, kept in `config.json`."""

    # A property: an annotated class variable would take the first place among the subclasses' arguments.
    @property
    def from_logits(self) -> bool | None:
        """Whether the loss expects logits; `None` where the difference doesn't arise (regression)."""
        return None

    @property
    @abc.abstractmethod
    def label(self) -> Any:
        """The `Feature` of one example's label; several heads have a dict of them."""

    @property
    @abc.abstractmethod
    def units(self) -> Any:
        """Length of the last axis of the model's output `[batch, units]`; several heads have a dict of them."""

    @abc.abstractmethod
    def loss(self) -> Any:
        """A Keras loss of (labels, outputs)."""

    def metrics(self) -> Any:
        """New Keras metrics of (labels, outputs)."""
        return []

    @property
    def objective(self) -> Objective:
        """What makes one epoch better than another."""
        return Objective("val_loss", "min")

    @abc.abstractmethod
    def predictions(self, outputs: Any) -> dict[str, tf.Tensor]:
        """What a signature answers: `{name: [batch, ...]}` from the outputs `[batch, units]`."""

    def top_k(self, predictions: Mapping[str, tf.Tensor], k: int) -> dict[str, tf.Tensor]:
        """The k most probable classes, `{name: [batch, k]}`, of what `predictions` returned."""
        return {}

    def check_top_k(self, k: int) -> None:
        """Checks that there are as many classes to choose from.

        Raises:
            ValueError: There aren't.
        """
        raise ValueError(f"{type(self).__name__} has no classes of which the {k} most probable could be answered.")

    def logits(self, x: keras.KerasTensor, *, name: str = "logits") -> Any:
        """The usual last layer: a dense one of the right width on `x` `[batch, channels]`.

        In float32 also under mixed precision, as losses need it.
        """
        return keras.layers.Dense(self.units, dtype="float32", name=name)(x)

    def check_outputs(self, outputs: Any) -> Any:
        """Checks what a builder returned; returns the tensor (or dict of them) that the model ends with.

        Raises:
            ValueError: Wrong number of outputs or units.
            TypeError: Not a Keras tensor.
        """
        if isinstance(outputs, Mapping) and len(outputs) == 1:
            (outputs,) = outputs.values()
        if not isinstance(outputs, keras.KerasTensor):
            raise TypeError(
                f"The builder must return a Keras tensor [batch, {self.units}] for {type(self).__name__}, "
                f"got {_describe(outputs)}."
            )
        if outputs.ndim != 2 or outputs.shape[-1] != self.units:
            raise ValueError(
                f"The builder returned an output of shape {tuple(outputs.shape)}, {type(self).__name__} expects "
                f"(None, {self.units}). End it with keras.layers.Dense(task.units) or task.logits(x)."
            )
        return outputs

    def check_labels(self, labels: Any, where: str) -> None:
        """Checks labels `[examples, ...]` read from `where`, as far as a task can.

        Raises:
            ValueError: Shape, dtype or range is wrong; the message names the first bad example.
        """
        labels = np.asarray(labels)
        if tuple(labels.shape[1:]) != tuple(self.label.shape):
            raise ValueError(
                f"Labels in {where} have shape {labels.shape[1:]} per example, {type(self).__name__} expects "
                f"{self.label.shape}."
            )

    def describe(self) -> dict[str, Any]:
        """Plain values for `config.json` and manifests."""
        return {"type": type(self).__name__, **dataclasses.asdict(self)}


def first_bad(labels: np.ndarray, good: np.ndarray) -> tuple[int, Any] | None:
    """Index and value of the first label that isn't good, or `None`."""
    bad = np.flatnonzero(~good.reshape(len(good), -1).all(axis=1))
    return (int(bad[0]), labels[bad[0]].tolist()) if len(bad) else None


def _describe(outputs: Any) -> str:
    if isinstance(outputs, Mapping):
        return f"a dict of {sorted(outputs)}"
    return f"{type(outputs).__name__} {outputs!r:.80}"
