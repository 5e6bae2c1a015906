"""Calling a converted model from Python, with the names of its signature."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from framework.data.serving import DEFAULT
from framework.export.formats.kinds import FORMATS, Call
from framework.export.formats.narrowing import features_of
from framework.export.formats.result import FormatResult
from framework.features import Feature, as_batch


class FormatRunner:
    """Calls a signature: `runner(image=images)["probabilities"]`, with batches of any size, from any thread.

    Attributes:
        format: The format's name, or `"saved_model"`.
        signature: The signature's name.
        inputs: `{name: Feature}`.
        outputs: `{name: Feature}`.
    """

    def __init__(
        self, format: str, signature: str, inputs: Mapping[str, Feature], outputs: Mapping[str, Feature], call: Call
    ):
        self.format = format
        self.signature = signature
        self.inputs = dict(inputs)
        self.outputs = dict(outputs)
        self._call = call
        self._expected = {
            name: (feature.spec().dtype.as_numpy_dtype, (None, *feature.shape)) for name, feature in self.inputs.items()
        }

    def __call__(self, **arrays: Any) -> dict[str, np.ndarray]:
        """`{output: [batch, ...]}`.

        Args:
            arrays: `{input: [batch, ...]}`.

        Raises:
            ValueError: An input is missing, unknown, or has another shape or values than the signature takes; or there
                are no examples.
        """
        if not self._fits(arrays):
            arrays = as_batch(arrays, self.inputs)
        if not len(next(iter(arrays.values()))):
            raise ValueError("There are no examples: the batch is empty.")
        return self._call(arrays)

    def _fits(self, arrays: Mapping[str, Any]) -> bool:
        """Whether these are already the arrays that the signature takes; a look that costs microseconds."""
        return (
            arrays.keys() == self.inputs.keys()
            and all(
                isinstance(array, np.ndarray)
                and array.dtype == dtype
                and array.ndim == len(shape)
                and all(expected in (None, axis) for expected, axis in zip(shape, array.shape, strict=True))
                for array, (dtype, shape) in ((arrays[name], expected) for name, expected in self._expected.items())
            )
            and len({len(array) for array in arrays.values()}) == 1
        )


def open_format(path: str | pathlib.Path) -> FormatRunner:
    """What calls a converted model on this machine's CPU.

    Args:
        path: Where `convert` wrote it, such as `<export>/formats/litert`.

    Raises:
        FileNotFoundError: It isn't such a directory.
        ImportError: The format's runtime isn't installed; the message names the extra.
    """
    result = FormatResult.read(pathlib.Path(path))
    call = FORMATS[result.format].open(result.path / result.file, result.signature, result.tensors)
    return FormatRunner(result.format, result.signature, result.inputs, result.outputs, call)


def open_saved_model(export_dir: str | pathlib.Path, signature: str = DEFAULT) -> FormatRunner:
    """What calls a SavedModel's signature, in the same way as other formats.

    Raises:
        ValueError: It has no such signature.
    """
    return signature_runner(tf.saved_model.load(str(export_dir)), signature)


def signature_runner(loaded: Any, signature: str) -> FormatRunner:
    """What calls a signature of a loaded SavedModel.

    Raises:
        ValueError: It has no such signature.
    """
    if signature not in loaded.signatures:
        raise ValueError(f"There is no signature {signature!r}. The SavedModel has {sorted(loaded.signatures)}.")
    function = loaded.signatures[signature]

    def call(inputs: Mapping[str, np.ndarray], loaded: Any = loaded) -> dict[str, np.ndarray]:  # which must stay alive
        answers = function(**{name: tf.constant(value) for name, value in inputs.items()})
        return {name: value.numpy() for name, value in answers.items()}

    inputs, outputs = function.structured_input_signature[1], function.structured_outputs
    return FormatRunner("saved_model", signature, features_of(inputs), features_of(outputs), call)
