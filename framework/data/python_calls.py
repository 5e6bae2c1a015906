"""Python inside of a graph that doesn't outlive it."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from framework.data.random import without_autograph


@without_autograph  # or `call`, too, would be converted: slower, and hard to read in errors
def numpy_function(function: Callable[..., Any], inputs: Sequence[tf.Tensor], outputs: Any, *, stateful: bool) -> Any:
    """As `tf.numpy_function`, but the function lives as long as the graph that calls it.

    TensorFlow (2.21) keeps what it is given as long as the process, and with it all that the function refers to: the
    data of every run and of every trial of a search. So it is given a weak reference. A data set keeps the graphs of
    its functions, hence the one that is held here; but one that is an element of another (`from_tensors`) is kept by
    nobody unless by its owner.

    Args:
        function: Of NumPy arrays.
        inputs: Its arguments.
        outputs: The dtype of what it returns, or a list of them.
        stateful: Whether something else than the arguments decides what it does.
    """
    if tf.executing_eagerly():
        return tf.numpy_function(function, inputs, outputs, stateful=stateful)
    tf.compat.v1.get_default_graph().add_to_collection("framework/python_calls", function)
    reference = weakref.ref(function)

    def call(*arrays: Any) -> Any:
        function = reference()
        if function is None:
            raise ReferenceError(
                "The data set that this function belongs to is gone. Keep it where you have its tensor alone, as "
                "Dataset.from_tensors does."
            )
        return function(*arrays)

    return tf.numpy_function(call, inputs, outputs, stateful=stateful)
