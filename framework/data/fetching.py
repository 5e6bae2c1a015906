"""Random access to examples that Python fetches: rows of a memory-mapped file or of another library's data set."""

from __future__ import annotations

import abc
from typing import Any

import numpy as np
import tensorflow as tf

from framework.data.python_calls import numpy_function
from framework.data.random import without_autograph
from framework.data.sources import Example, Source


class FetchingSource(Source):
    """A source whose batches come from NumPy, so that only the rows asked for are ever in memory.

    Subclasses set `num_examples` and `spec`, and define `fetch` and `fingerprint`.
    """

    @property
    def random_access(self) -> bool:
        return True

    @abc.abstractmethod
    def fetch(self, indices: np.ndarray) -> Example:
        """The examples at `indices` int64 `[batch]`, as arrays that `spec` describes.

        Called by several threads at once. What is wrong with an example is a `BadExampleError`.
        """

    @abc.abstractmethod
    def fingerprint(self) -> str: ...

    @without_autograph  # or `fetched`, too, would be converted, which is slower
    def gather(self, indices: tf.Tensor) -> Example:
        structure = _parts(self.spec)
        specs = tf.nest.flatten(structure)

        def fetched(indices: np.ndarray) -> list[np.ndarray]:
            parts = _parts(self.fetch(indices))
            tf.nest.assert_same_structure(parts, structure)
            return [_array(value, spec) for value, spec in zip(tf.nest.flatten(parts), specs, strict=True)]

        indices = tf.convert_to_tensor(indices)
        # Not stateful: nothing but the indices decides what comes.
        tensors = numpy_function(fetched, [indices], [spec.dtype for spec in specs], stateful=False)
        shaped = [
            tf.ensure_shape(tensor, (indices.shape[0], *spec.shape[1:]))
            for tensor, spec in zip(tensors, specs, strict=True)
        ]
        return Example(*tf.nest.pack_sequence_as(structure, shaped))


def _parts(example: Example) -> tuple:
    """An example without the weights that aren't there."""
    return tuple(example) if example.weights is not None else tuple(example)[:2]


def _array(value: Any, spec: tf.TensorSpec) -> np.ndarray:
    """An array as TensorFlow takes it from Python: text as objects."""
    return np.asarray(value, object if spec.dtype == tf.string else spec.dtype.as_numpy_dtype)
