"""One class of many, yes or no, and any number of labels at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from framework.features import Feature
from framework.tasks.objective import Objective
from framework.tasks.task import Task, first_bad

_EPSILON = 1e-7  # keras.backend.epsilon(): probabilities are clipped to [epsilon, 1 - epsilon]


@dataclasses.dataclass(frozen=True)
class Classification(Task):
    """One of `num_classes` classes; labels are class ids int64 `[batch]` in `[0, num_classes)`.

    Loss: cross-entropy over a softmax. Labels of shape `[batch, num_classes]` (probabilities, as mixup makes them)
    are taken in training too.

    Attributes:
        num_classes: May be left out where `class_names` are given.
        class_names: Names in the order of the ids; a signature then answers `class_name` too.
        label_smoothing: Share of the label's probability that is spread over all classes (Szegedy et al. 2016,
            "Rethinking the Inception Architecture", section 7), in training and evaluation.
        from_logits: `False` when the model's output already is a softmax.
    """

    num_classes: int = None  # type: ignore[assignment]  # settled in __post_init__
    class_names: Sequence[str] | None = None
    label_smoothing: float = 0.0
    from_logits: bool = True

    def __post_init__(self):
        _settle_names(self, "num_classes", "class_names")
        if self.num_classes < 2:
            raise ValueError(
                f"Classification needs at least 2 classes, got {self.num_classes}. "
                "For yes or no with one unit use BinaryClassification."
            )
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1), got {self.label_smoothing}.")

    @property
    def label(self) -> Feature:
        return Feature((), "int64")

    @property
    def units(self) -> int:
        return self.num_classes

    def loss(self) -> keras.losses.Loss:
        return CrossEntropy(self.num_classes, label_smoothing=self.label_smoothing, from_logits=self.from_logits)

    def metrics(self) -> list[keras.metrics.Metric]:
        return [Accuracy(name="accuracy")]

    @property
    def objective(self) -> Objective:
        return Objective("val_accuracy", "max")

    def predictions(self, outputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """`logits` and `probabilities` float32 `[batch, num_classes]`, `class_id` int64 and `class_name` `[batch]`."""
        outputs = tf.cast(outputs, tf.float32)
        probabilities = tf.nn.softmax(outputs) if self.from_logits else outputs
        predictions = {
            "logits": outputs if self.from_logits else tf.math.log(tf.maximum(outputs, _EPSILON)),
            "probabilities": probabilities,
            "class_id": tf.argmax(outputs, axis=-1, output_type=tf.int64),
        }
        if self.class_names is not None:
            predictions["class_name"] = tf.gather(tf.constant(self.class_names), predictions["class_id"])
        return predictions

    def top_k(self, predictions: Mapping[str, tf.Tensor], k: int) -> dict[str, tf.Tensor]:
        """`top_k_class_ids` int64, `top_k_probabilities` float32 and `top_k_class_names`, each `[batch, k]`."""
        probabilities, ids = tf.math.top_k(predictions["probabilities"], k)
        best = {"top_k_class_ids": tf.cast(ids, tf.int64), "top_k_probabilities": probabilities}
        if self.class_names is not None:
            best["top_k_class_names"] = tf.gather(tf.constant(self.class_names), ids)
        return best

    def check_top_k(self, k: int) -> None:
        if k > self.num_classes:
            raise ValueError(f"top_k is {k}, but there are {self.num_classes} classes.")

    def check_labels(self, labels: Any, where: str) -> None:
        labels = np.asarray(labels)
        super().check_labels(labels, where)
        _check_integers(labels, where)
        bad = first_bad(labels, (labels >= 0) & (labels < self.num_classes))
        if bad:
            raise ValueError(
                f"Label out of range in {where}: example {bad[0]} has label {bad[1]}, expected a class id in "
                f"[0, {self.num_classes}). Set the task's num_classes, or renumber the labels from 0."
            )


@keras.saving.register_keras_serializable("shipyard")
class CrossEntropy(keras.losses.Loss):
    """Cross-entropy for class ids `[batch]` or class probabilities `[batch, num_classes]`."""

    def __init__(self, num_classes: int, label_smoothing: float = 0.0, from_logits: bool = True, **kwargs):
        super().__init__(**{"name": "cross_entropy", **kwargs})
        self.num_classes = num_classes
        self.label_smoothing = label_smoothing
        self.from_logits = from_logits

    def call(self, y_true, y_pred):
        if y_true.shape.rank == y_pred.shape.rank and y_true.shape[-1] == self.num_classes:
            return keras.losses.categorical_crossentropy(
                y_true, y_pred, from_logits=self.from_logits, label_smoothing=self.label_smoothing
            )
        if self.label_smoothing:
            one_hot = tf.one_hot(tf.cast(tf.reshape(y_true, [-1]), tf.int32), self.num_classes)
            return keras.losses.categorical_crossentropy(
                one_hot, y_pred, from_logits=self.from_logits, label_smoothing=self.label_smoothing
            )
        return keras.losses.sparse_categorical_crossentropy(y_true, y_pred, from_logits=self.from_logits)

    def get_config(self):
        config = {"num_classes": self.num_classes, "label_smoothing": self.label_smoothing}
        return {**super().get_config(), **config, "from_logits": self.from_logits}


@keras.saving.register_keras_serializable("shipyard")
class Accuracy(keras.metrics.MeanMetricWrapper):
    """Share of examples whose most probable class is the label's, for class ids or class probabilities."""

    def __init__(self, name: str = "accuracy", dtype: Any = None):
        super().__init__(_is_correct, name=name, dtype=dtype)

    def get_config(self):
        return {"name": self.name, "dtype": self.dtype}


def _is_correct(y_true, y_pred):
    y_true, y_pred = tf.convert_to_tensor(y_true), tf.convert_to_tensor(y_pred)
    predicted = tf.argmax(y_pred, axis=-1, output_type=tf.int64)
    if y_true.shape.rank == y_pred.shape.rank and y_true.shape[-1] == y_pred.shape[-1]:
        y_true = tf.argmax(y_true, axis=-1, output_type=tf.int64)
    return tf.cast(tf.equal(tf.reshape(tf.cast(y_true, tf.int64), [-1]), predicted), tf.float32)


@dataclasses.dataclass(frozen=True)
class BinaryClassification(Task):
    """Yes or no with one unit; labels are 0 or 1 `[batch]`.

    Attributes:
        class_names: Names of 0 and 1.
        threshold: Probability above which `class_id` is 1, for `accuracy` and predictions alike.
        from_logits: `False` when the model's output already is a sigmoid.
    """

    class_names: Sequence[str] | None = None
    threshold: float = 0.5
    from_logits: bool = True

    def __post_init__(self):
        if self.class_names is not None:
            object.__setattr__(self, "class_names", tuple(self.class_names))
            if len(self.class_names) != 2:
                raise ValueError(f"BinaryClassification has 2 class names, those of 0 and 1. Got {self.class_names}.")
        _check_threshold(self.threshold)

    @property
    def label(self) -> Feature:
        return Feature((), "int64")

    @property
    def units(self) -> int:
        return 1

    def loss(self) -> keras.losses.Loss:
        return keras.losses.BinaryCrossentropy(from_logits=self.from_logits)

    def metrics(self) -> list[keras.metrics.Metric]:
        return [
            keras.metrics.BinaryAccuracy(name="accuracy", threshold=_cut(self.threshold, self.from_logits)),
            keras.metrics.AUC(name="auc", from_logits=self.from_logits),
        ]

    @property
    def objective(self) -> Objective:
        return Objective("val_auc", "max")

    def predictions(self, outputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """`logits` and `probabilities` (of class 1) float32, `class_id` int64 and `class_name`, each `[batch]`."""
        logits, probabilities = _sigmoid(tf.squeeze(outputs, -1), self.from_logits)
        class_id = _is_above(self.threshold, logits, probabilities, self.from_logits)
        predictions = {"logits": logits, "probabilities": probabilities, "class_id": class_id}
        if self.class_names is not None:
            predictions["class_name"] = tf.gather(tf.constant(self.class_names), class_id)
        return predictions

    def check_labels(self, labels: Any, where: str) -> None:
        super().check_labels(labels, where)
        _check_zero_or_one(np.asarray(labels), where)


@dataclasses.dataclass(frozen=True)
class MultiLabelClassification(Task):
    """Any number of labels at once; labels are 0 or 1 `[batch, num_labels]`.

    Attributes:
        num_labels: May be left out where `label_names` are given.
        label_names: Names in the order of the last axis.
        threshold: Probability above which a label is predicted, for `accuracy` and predictions alike.
        from_logits: `False` when the model's outputs already are sigmoids.
    """

    num_labels: int = None  # type: ignore[assignment]  # settled in __post_init__
    label_names: Sequence[str] | None = None
    threshold: float = 0.5
    from_logits: bool = True

    def __post_init__(self):
        _settle_names(self, "num_labels", "label_names")
        _check_threshold(self.threshold)

    @property
    def label(self) -> Feature:
        return Feature((self.num_labels,), "int64")

    @property
    def units(self) -> int:
        return self.num_labels

    def loss(self) -> keras.losses.Loss:
        return keras.losses.BinaryCrossentropy(from_logits=self.from_logits)

    def metrics(self) -> list[keras.metrics.Metric]:
        return [
            keras.metrics.BinaryAccuracy(name="accuracy", threshold=_cut(self.threshold, self.from_logits)),
            keras.metrics.AUC(name="auc", multi_label=True, num_labels=self.num_labels, from_logits=self.from_logits),
        ]

    @property
    def objective(self) -> Objective:
        return Objective("val_auc", "max")

    def predictions(self, outputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """`logits` and `probabilities` float32 and `labels` int64 (0 or 1), each `[batch, num_labels]`."""
        logits, probabilities = _sigmoid(outputs, self.from_logits)
        labels = _is_above(self.threshold, logits, probabilities, self.from_logits)
        return {"logits": logits, "probabilities": probabilities, "labels": labels}

    def check_labels(self, labels: Any, where: str) -> None:
        super().check_labels(labels, where)
        _check_zero_or_one(np.asarray(labels), where)


def _settle_names(task: Task, count_field: str, names_field: str) -> None:
    """Makes the names a tuple and derives the count from them."""
    count, names = getattr(task, count_field), getattr(task, names_field)
    if names is not None:
        names = tuple(str(name) for name in names)
        if count not in (None, len(names)):
            raise ValueError(f"{count_field} is {count}, but there are {len(names)} {names_field}.")
        if len(set(names)) != len(names):
            raise ValueError(f"{names_field} has the same name twice: {names}.")
        object.__setattr__(task, names_field, names)
        count = len(names)
    if count is None or isinstance(count, bool) or count != int(count) or count < 1:
        raise ValueError(
            f"{type(task).__name__} needs {count_field} (a positive integer) or {names_field}. Got {count!r}."
        )
    object.__setattr__(task, count_field, int(count))


def _check_threshold(threshold: float) -> None:
    if not 0 < threshold < 1:
        raise ValueError(f"threshold is a probability in (0, 1), got {threshold}.")


def _cut(threshold: float, from_logits: bool) -> float:
    """The threshold on the scale of the model's outputs."""
    return float(np.log(threshold / (1 - threshold))) if from_logits else threshold


def _sigmoid(outputs: tf.Tensor, from_logits: bool) -> tuple[tf.Tensor, tf.Tensor]:
    """Logits and probabilities from outputs that are one of the two."""
    outputs = tf.cast(outputs, tf.float32)
    if from_logits:
        return outputs, tf.sigmoid(outputs)
    clipped = tf.clip_by_value(outputs, _EPSILON, 1 - _EPSILON)
    return tf.math.log(clipped) - tf.math.log1p(-clipped), outputs


def _is_above(threshold: float, logits: tf.Tensor, probabilities: tf.Tensor, from_logits: bool) -> tf.Tensor:
    """0 or 1 int64, told from what the model returned and in the metric's own way, so that they never disagree."""
    return tf.cast((logits if from_logits else probabilities) > _cut(threshold, from_logits), tf.int64)


def _check_integers(labels: np.ndarray, where: str) -> None:
    if labels.dtype.kind not in "iu":
        raise ValueError(
            f"Labels in {where} have dtype {labels.dtype}, expected integer class ids. Names can be numbered with "
            f"numpy.unique(labels, return_inverse=True); pipeline_from_arrays does it for you."
        )


def _check_zero_or_one(labels: np.ndarray, where: str) -> None:
    bad = first_bad(labels, np.isin(labels, (0, 1)))
    if bad:
        raise ValueError(f"Label out of range in {where}: example {bad[0]} has label {bad[1]}, expected 0 or 1.")
