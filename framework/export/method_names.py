"""Signatures for TensorFlow Serving's Classify and Regress calls.

Their clients send `tf.Example`s and get classes with scores, or a value; how inputs and outputs are named is laid down
by TensorFlow Serving. They wrap the signature `serialized`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from framework.data.serving import EXAMPLES, SERIALIZED, Receiver
from framework.export.signatures import Signatures
from framework.features import Feature
from framework.tasks.classification import BinaryClassification, Classification
from framework.tasks.regression import Regression
from framework.tasks.task import Task

CLASSIFY, REGRESS = "classify", "regress"
INPUTS = tf.saved_model.CLASSIFY_INPUTS
METHODS = {CLASSIFY: tf.saved_model.CLASSIFY_METHOD_NAME, REGRESS: tf.saved_model.REGRESS_METHOD_NAME}


def with_method_signature(signatures: Signatures, task: Task) -> Signatures:
    """The signatures, with `classify` or `regress`, whichever fits the task.

    Raises:
        ValueError: The task fits neither, the pipeline has no `serialized` signature, or one of this name.
    """
    name, answer = _for_task(task)
    if name in signatures.functions:
        raise ValueError(
            f"The pipeline declares a signature {name!r} itself. Rename it, or leave classify_regress out."
        )
    if SERIALIZED not in signatures.functions:
        raise ValueError(
            f"The signature {name!r} takes tf.Examples as {SERIALIZED!r} does, which isn't there: a tf.Example can't "
            "hold these features. Give the pipeline a parse method, or leave classify_regress out."
        )
    serialized = signatures.functions[SERIALIZED]

    @tf.function(autograph=False, input_signature=[tf.TensorSpec((None,), tf.string, name=INPUTS)])
    def serve(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return answer(serialized(**{EXAMPLES: inputs}))

    functions = {**signatures.functions, name: serve.get_concrete_function()}
    inputs = {**signatures.inputs, name: {INPUTS: Feature((), "string")}}
    return dataclasses.replace(signatures, functions=functions, inputs=inputs)


def method_answers(task: Task) -> Callable[[Any], dict[str, tf.Tensor]]:
    """What makes such a signature's answers of those of `serialized`."""
    return _for_task(task)[1]


def method_receiver(receivers: Mapping[str, Receiver]) -> Receiver:
    """How requests for such a signature are made: as for `serialized`, under another name."""
    serialized = receivers[SERIALIZED]

    def request(stored: Any) -> dict[str, Any]:
        return {INPUTS: serialized.request(stored)[EXAMPLES]} if serialized.request is not None else {}

    inputs = {INPUTS: serialized.inputs[EXAMPLES]}
    return Receiver(inputs, lambda features: serialized.to_model({EXAMPLES: features[INPUTS]}), request)


def _for_task(task: Task) -> tuple[str, Callable[[Any], dict[str, tf.Tensor]]]:
    if isinstance(task, Classification):
        names = task.class_names or [str(index) for index in range(task.num_classes)]
        return CLASSIFY, lambda answers: _classes(names, answers["probabilities"])
    if isinstance(task, BinaryClassification):
        names = task.class_names or ("0", "1")
        return CLASSIFY, lambda answers: _classes(
            names, tf.stack([1 - answers["probabilities"], answers["probabilities"]], axis=-1)
        )
    if isinstance(task, Regression) and task.num_values == 1:
        return REGRESS, lambda answers: {tf.saved_model.REGRESS_OUTPUTS: answers["value"]}
    raise ValueError(
        f"TensorFlow Serving classifies one of many classes or yes and no, and regresses one value; "
        f"{type(task).__name__} does neither. Leave classify_regress out."
    )


def _classes(names: Any, scores: tf.Tensor) -> dict[str, tf.Tensor]:
    """Every class with its score, `[batch, classes]` each, in the order of the ids."""
    classes = tf.tile(tf.constant([list(names)]), [tf.shape(scores)[0], 1])
    return {
        tf.saved_model.CLASSIFY_OUTPUT_CLASSES: classes,
        tf.saved_model.CLASSIFY_OUTPUT_SCORES: scores,
    }
