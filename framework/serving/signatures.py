"""One signature of a loaded SavedModel as a function of NumPy arrays."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from framework.features import Feature, as_batch

Arrays = dict[str, np.ndarray]
Rows = slice | np.ndarray  # of a batch
_MAX_OPERATIONS = 32
_OPERATIONS = itertools.count()


class LoadedSignature:
    """A signature: checks what it is given, splits large batches, joins the answers. Safe to call from many threads.

        answers = predictor("serving_default")(image=images)

    Inputs are converted where nothing is lost by it (a list to an array, int64 7 to uint8, float64 to float32 by
    rounding), and refused otherwise. Where an axis may vary, a list of arrays of different shapes is answered shape by
    shape. Text comes back as bytes.

    Args:
        name: Its name in the export.
        function: The signature, from `owner.signatures`.
        owner: What `tf.saved_model.load` returned: it holds the variables, which the function doesn't.
        batch_size: The largest number of examples in one call of TensorFlow.
        short_lived: Whether it will be dropped for another, as the versions that a server has: it is then called in
            TensorFlow's slower way, which leaves nothing behind.

    Attributes:
        inputs: `{name: tf.TensorSpec}`, with the batch axis.
        outputs: `{name: tf.TensorSpec}`, with the batch axis.
        features: `{name: Feature}`, the inputs of one example; `None` where some input has no batch axis of any
            length, as other people's exports may have: such a signature is called with arrays as they are.
    """

    def __init__(self, name: str, function: Any, owner: Any, *, batch_size: int, short_lived: bool = False):
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
        self.name = name
        self.batch_size = batch_size
        # A signature's tensors are in the order of their sorted names, as TensorFlow flattens a dict.
        self.inputs: dict[str, tf.TensorSpec] = dict(sorted(function.structured_input_signature[1].items()))
        self.outputs = {
            key: tf.TensorSpec(tensor.shape, tensor.dtype)
            for key, tensor in sorted(function.structured_outputs.items())
        }
        self.features = _features(self.inputs)
        self._function = function
        self._owner = owner
        self._captured = tuple(function.captured_inputs)
        self._dtypes = [tensor.dtype for tensor in function.outputs]
        # On an accelerator, placement is the business of the function's own call.
        self._may_be_operation = not short_lived and not tf.config.list_logical_devices("GPU")

    def __repr__(self) -> str:
        inputs, outputs = (
            ", ".join(f"{key}: {spec.dtype.name}{spec.shape}" for key, spec in specs.items())
            for specs in (self.inputs, self.outputs)
        )
        return f"<{self.name}({inputs}) -> {outputs}>"

    def __call__(self, **arrays: Any) -> Arrays:
        """Answers any number of examples.

        Args:
            **arrays: `name=[examples, ...]` for each input.

        Returns:
            `{name: [examples, ...]}`. An output whose shape differs from one part of the batch to another is an array
            of arrays, dtype object.

        Raises:
            ValueError: An input is missing or unknown, or has a wrong shape or values that its dtype can't hold.
            tf.errors.OpError: An operation of the signature refuses the values; the message is its own.
        """
        if self.features is None:
            return self.run(self._whole(arrays))
        parts = [(rows, self.run(batch)) for rows, batch in self._batches(arrays, self.features)]
        if not parts:
            return {key: _empty(spec) for key, spec in self.outputs.items()}
        return parts[0][1] if len(parts) == 1 else join_answers(parts)

    def run(self, arrays: Mapping[str, np.ndarray]) -> Arrays:
        """One call of TensorFlow with arrays that are known to fit.

        Raises:
            tf.errors.OpError: An operation refuses the values.
        """
        tensors = [tf.constant(arrays[key], spec.dtype) for key, spec in self.inputs.items()]
        try:
            answers = self._call(tensors)
        except tf.errors.OpError as error:
            raise type(error)(None, None, reason(error)) from None
        return {key: tensor.numpy() for key, tensor in zip(self.outputs, answers, strict=True)}

    def _call(self, tensors: list[tf.Tensor]) -> Sequence[tf.Tensor]:
        if not self._is_operation:
            answers = self._function(**dict(zip(self.inputs, tensors, strict=True)))
            return [answers[key] for key in self.outputs]
        return tf.raw_ops.StatefulPartitionedCall(
            args=[*tensors, *self._captured], Tout=self._dtypes, f=self._function.name
        )

    @functools.cached_property
    def _is_operation(self) -> bool:
        """Whether the function's body is called as one operation.

        That leaves out what `ConcreteFunction.__call__` does around it in Python and takes 0.2 to 0.9 of its time at
        batch 1 (scripts/benchmarks/predictor.py), with the same bits. But TensorFlow keeps an operation's kernel, some
        MB for a large graph, until the process ends: not more than a number of them.
        """
        return self._may_be_operation and next(_OPERATIONS) < _MAX_OPERATIONS

    def _batches(self, arrays: Mapping[str, Any], features: Mapping[str, Feature]) -> Iterator[tuple[Rows, Arrays]]:
        """Up to `batch_size` examples of one shape at a time, and which of the rows they are."""
        # Rows by their place: a Series' own index may be of another order.
        arrays = {
            key: value if isinstance(value, list | tuple | np.ndarray) else np.asarray(value)
            for key, value in arrays.items()
        }
        for group in _by_shape(arrays, features):
            chosen = arrays if group is None else {key: [value[row] for row in group] for key, value in arrays.items()}
            batch = as_batch(chosen, features)
            for first in range(0, len(next(iter(batch.values()))), self.batch_size):
                part = slice(first, first + self.batch_size)
                some = {key: array[part] for key, array in batch.items()}
                size = len(next(iter(some.values())))
                yield slice(first, first + size) if group is None else group[part], some

    def _whole(self, arrays: Mapping[str, Any]) -> Arrays:
        """The arrays of a signature without a batch axis, converted and refused as if they were one example."""
        batch = {key: np.asarray(value)[np.newaxis] for key, value in arrays.items()}
        features = {
            key: Feature(
                np.shape(arrays.get(key, ())) if spec.shape.rank is None else tuple(spec.shape), spec.dtype.name
            )
            for key, spec in self.inputs.items()
        }
        return {key: array[0] for key, array in as_batch(batch, features).items()}


def join_answers(parts: Sequence[tuple[Rows, Arrays]]) -> Arrays:
    """The answers to parts of a batch as one.

    Args:
        parts: `(rows, {name: [rows, ...]})`, where rows are a slice or indices; together they have every row once.

    Raises:
        ValueError: An output doesn't have one entry for each row.
    """
    sizes = [rows.stop - rows.start if isinstance(rows, slice) else len(rows) for rows, _ in parts]
    for (_, answer), size in zip(parts, sizes, strict=True):
        for key, array in answer.items():
            if array.shape[:1] != (size,):
                raise ValueError(
                    f"Output {key!r} has shape {array.shape} for {size} examples: it doesn't have one entry for each, "
                    "so the answers to several batches can't be joined. Give fewer examples, of one shape, or a "
                    "larger batch_size."
                )
    return {key: _join([(rows, answer[key]) for rows, answer in parts], sum(sizes)) for key in parts[0][1]}


def _join(parts: Sequence[tuple[Rows, np.ndarray]], count: int) -> np.ndarray:
    first = parts[0][1]
    alike = all(array.shape[1:] == first.shape[1:] for _, array in parts)
    joined = np.empty((count, *first.shape[1:]), first.dtype) if alike else np.empty(count, object)
    for rows, array in parts:
        if alike:
            joined[rows] = array
        else:  # assigned at once, arrays of one shape would be taken for one array
            for row, value in zip(np.arange(count)[rows], array, strict=True):
                joined[row] = value
    return joined


def reason(error: tf.errors.OpError) -> str:
    """What an operation said, without the names of graph nodes around it."""
    message = re.sub(r"\{\{(function_)?node [^}]*\}\}", "", error.message or type(error).__name__)
    # Before it is where the node was defined, which a SavedModel doesn't know; several threads may have said it.
    message = message.rpartition("<stack traces unavailable>\n")[2]
    message = re.sub(r"^\s*\d+ root error\(s\) found\.\s*\(0\) \w+:", "", message)
    return message.partition("\n\t [[")[0].partition(" [Op:")[0].strip()


def _features(inputs: Mapping[str, tf.TensorSpec]) -> dict[str, Feature] | None:
    if not inputs or any(spec.shape.rank in (None, 0) or spec.shape[0] is not None for spec in inputs.values()):
        return None
    return {key: Feature.of(spec) for key, spec in inputs.items()}


def _by_shape(arrays: Mapping[str, Any], features: Mapping[str, Feature]) -> list[np.ndarray | None]:
    """Rows of one shape together, in the order in which the shapes come.

    `[None]` where they are one array anyway, or what is wrong with them is for `as_batch` to say.
    """
    varying = [arrays[key] for key, feature in features.items() if None in feature.shape and _is_list(arrays.get(key))]
    if not varying or set(arrays) != set(features):
        return [None]
    lengths = {
        key: len(value) if isinstance(value, list | tuple) or value.ndim else None for key, value in arrays.items()
    }
    if len(set(lengths.values())) > 1:
        raise ValueError(f"Features must have the same number of examples, got {lengths}.")
    rows: dict[Any, list[int]] = {}
    for row, values in enumerate(zip(*varying, strict=True)):
        try:
            rows.setdefault(tuple(map(np.shape, values)), []).append(row)
        except ValueError:  # uneven in itself
            return [None]
    if len(rows) == 1 and not any(isinstance(value, np.ndarray) for value in varying):
        return [None]
    return [np.asarray(group) for group in rows.values()]


def _is_list(value: Any) -> bool:
    """Whether it may hold arrays of different shapes."""
    return isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.dtype == object)


def _empty(spec: tf.TensorSpec) -> np.ndarray:
    dtype = object if spec.dtype == tf.string else spec.dtype.as_numpy_dtype
    return np.empty((0, *(axis or 0 for axis in (spec.shape[1:] if spec.shape.rank else ()))), dtype)
