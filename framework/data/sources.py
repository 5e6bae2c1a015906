"""One split of a data set, as raw features and labels."""

from __future__ import annotations

import abc
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from framework.features import Feature


class Example(NamedTuple):
    """Raw features, label and weight of one example or of a batch of them.

    Attributes:
        features: `{name: [batch, ...]}`.
        labels: `[batch, ...]`, or a dict of them for several heads.
        weights: float32 `[batch]`, or `None` where every example counts the same.
    """

    features: dict[str, Any]
    labels: Any
    weights: Any = None

    def map(self, function: Callable[[Any], Any]) -> Example:
        """Applies `function` to every tensor; weights that aren't there stay so."""
        weights = function(self.weights) if hasattr(self.weights, "shape") else None
        features, labels = tf.nest.map_structure(function, (self.features, self.labels))
        return Example(features, labels, weights)


class Source(abc.ABC):
    """One split. Either random access (`gather`) or a stream (`stream`).

    Attributes:
        num_examples: How many examples the split has.
        spec: An `Example` of batched `tf.TensorSpec`s.
    """

    num_examples: int
    spec: Example

    @property
    @abc.abstractmethod
    def random_access(self) -> bool:
        """Whether `gather` works: then order is a permutation and resuming is a jump."""

    def gather(self, indices: tf.Tensor) -> Example:
        """The examples at `indices` int64 `[batch]`, inside or outside of a tf.data function."""
        raise NotImplementedError(f"{type(self).__name__} is a stream.")

    def stream(self) -> tf.data.Dataset:
        """The examples one by one, in the same order each time."""
        raise NotImplementedError(f"{type(self).__name__} is random access.")

    @property
    def epoch_examples(self) -> int:
        """How many examples a training epoch has: every one of the split once, unless a source samples them."""
        return self.num_examples

    def epoch_order(self, seed: tf.Tensor, epoch: tf.Tensor, batch_size: int) -> tf.Tensor:
        """The order of a training epoch, of a source with random access: indices int64 `[epoch_examples]`.

        A function of (seed, epoch) alone, so that resuming is a jump. By default a permutation; other sources repeat
        some examples, mix several sources, or put examples of one length side by side.

        Augmentation is keyed by (seed, epoch, index). A source that repeats an example within an epoch therefore gives
        it the index `example + k * num_examples`, another k each time, and takes such indices in `gather` and `place`.

        Args:
            seed: int64 `[]`, the run's.
            epoch: int64 `[]`, counted from 0.
            batch_size: As many consecutive ones as this make a batch.
        """
        # A permutation proper: tf.random_index_shuffle needs no memory, but leaves neighbours correlated.
        return tf.random.experimental.stateless_shuffle(
            tf.range(self.num_examples, dtype=tf.int64), tf.stack([seed, epoch])
        )

    @property
    def stored(self) -> Source:
        """The same examples as they are stored, where this source holds them decoded: what a client would send."""
        return self

    def without(self, indices: Sequence[int]) -> Source:
        """The same split without the examples at these indices."""
        return Subset(self, np.setdiff1d(np.arange(self.num_examples), indices))

    def place(self, index: int) -> str:
        """Where an example lies, for messages: a file and offset, a path, a row."""
        return f"example {index}"

    def fingerprint(self) -> str:
        """Changes when the data do. A resumed run must find the data it began with."""
        specs = [f"{s.shape}{s.dtype.name}" for s in tf.nest.flatten(self.spec) if s is not None]
        return _digest(repr((self.num_examples, sorted(self.spec.features), specs)).encode())

    def batches(self, batch_size: int) -> tf.data.Dataset:
        """All examples in order, each once, in batches of `Example`s; the last may be smaller."""
        num_batches = math.ceil(self.num_examples / batch_size)
        if not self.random_access:
            # Keras takes the end of a dataset of unknown length for one more step and dilutes the metrics with it.
            batched = batch_padded(self.stream(), batch_size)
            return batched.apply(tf.data.experimental.assert_cardinality(num_batches))
        num_examples = self.num_examples

        def gather_range(step: tf.Tensor) -> Example:
            first = step * batch_size
            return self.gather(tf.range(first, tf.minimum(first + batch_size, num_examples)))

        return tf.data.Dataset.range(num_batches).map(gather_range)


class ArraySource(Source):
    """Examples in memory.

    Args:
        features: `{name: [examples, ...]}`, array-likes with the same first axis.
        labels: `[examples, ...]`, or a dict of them for several heads.
        weights: `[examples]`, non-negative.

    Raises:
        ValueError: There are no examples, or the first axes differ.
        TypeError: An array is of a kind TensorFlow has no dtype for.
    """

    def __init__(self, features: Mapping[str, Any], labels: Any, weights: Any = None):
        features = {str(name): _as_array(value, f"feature {name!r}") for name, value in features.items()}
        if isinstance(labels, Mapping):
            labels = {str(head): _as_array(value, f"labels {head!r}") for head, value in labels.items()}
        else:
            labels = _as_array(labels, "labels")
        if weights is not None:
            weights = _as_array(weights, "weights").astype(np.float32)
        self.arrays = Example(features, labels, weights)
        lengths = {name: len(value) for name, value in _named(self.arrays)}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"All arrays must have the same number of examples on their first axis, got {lengths}.")
        if not features or not next(iter(lengths.values())):
            raise ValueError(f"A source needs at least one feature and one example, got {lengths}.")
        self.num_examples = next(iter(lengths.values()))
        self._tensors: Example | None = None
        self.spec = self.arrays.map(lambda array: tf.TensorSpec((None, *array.shape[1:]), _tensor_dtype(array)))

    @property
    def random_access(self) -> bool:
        return True

    def subset(self, indices: np.ndarray) -> ArraySource:
        """A source of the examples at `indices`."""
        return ArraySource(*self.arrays.map(lambda array: array[indices]))

    def gather(self, indices: tf.Tensor) -> Example:
        if self._tensors is None:
            with tf.init_scope(), tf.device("CPU"):
                self._tensors = self.arrays.map(tf.convert_to_tensor)
        return self._tensors.map(lambda tensor: tf.gather(tensor, indices))

    def fingerprint(self) -> str:
        digest = hashlib.blake2b(super().fingerprint().encode(), digest_size=16)
        for name, value in _named(self.arrays):
            digest.update(name.encode())
            digest.update(repr(value.tolist()).encode() if value.dtype == object else np.ascontiguousarray(value).data)
        return digest.hexdigest()


class Subset(Source):
    """Some examples of another source, in an order of their own.

    Args:
        source: Where the examples are.
        indices: int `[examples]`, into `source`; ascending where it is a stream.

    Raises:
        ValueError: There are none, one is out of range, or those of a stream aren't ascending.
    """

    def __init__(self, source: Source, indices: Any):
        indices = np.asarray(indices, np.int64)
        if indices.ndim != 1 or not len(indices):
            raise ValueError(f"A subset needs the indices of at least one example, got shape {indices.shape}.")
        if indices.min() < 0 or indices.max() >= source.num_examples:
            raise ValueError(
                f"A subset of {source.num_examples} examples has indices in [0, {source.num_examples}), "
                f"got {indices.min()} to {indices.max()}."
            )
        if not source.random_access and np.any(np.diff(indices) <= 0):
            raise ValueError("The indices of a stream's subset must be ascending: it can only be read in its order.")
        self.source = source
        self.indices = indices
        self.num_examples = len(indices)
        self.spec = source.spec
        # Outside of any graph, which would hold a copy of it.
        with tf.init_scope(), tf.device("CPU"):
            self._tensor = tf.constant(indices)
        self.shuffle_buffer = getattr(source, "shuffle_buffer", self.num_examples)

    @property
    def random_access(self) -> bool:
        return self.source.random_access

    @property
    def stored(self) -> Source:
        stored = self.source.stored
        return self if stored is self.source else Subset(stored, self.indices)

    def gather(self, indices: tf.Tensor) -> Example:
        return self.source.gather(tf.gather(self._tensor, indices))

    def stream(self) -> tf.data.Dataset:
        examples = self.source.stream().enumerate()
        chosen = examples.filter(lambda index, _: _contains(self._tensor, index))
        counted = chosen.map(lambda _, example: example).take(self.num_examples)
        return counted.apply(tf.data.experimental.assert_cardinality(self.num_examples))

    def place(self, index: int) -> str:
        return self.source.place(int(self.indices[index]))

    def fingerprint(self) -> str:
        return _digest(self.source.fingerprint().encode() + self.indices.tobytes())


def _contains(ascending: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
    place = tf.searchsorted(ascending, value[tf.newaxis])[0]
    return tf.logical_and(
        place < tf.size(ascending), tf.gather(ascending, tf.minimum(place, tf.size(ascending) - 1)) == value
    )


class DatasetSource(Source):
    """A tf.data dataset of (features, labels) or (features, labels, weights), one epoch long.

    Its order must be the same each time it is iterated: leave shuffling to the pipeline.

    Args:
        dataset: Features are a dict of named tensors, or one tensor, which is then named `"features"`.
        batched: Whether the elements already are batches; they are regrouped to the batch size asked for.
        num_examples: Where tf.data can't tell the length. Without it the dataset is counted by reading it once. Whoever
            reads a dataset that turns out to be shorter gets a `FailedPreconditionError`.
        shuffle_buffer: Examples among which the next one of an epoch is drawn.

    Raises:
        ValueError: It is empty, endless, or shorter than `num_examples`.
        TypeError: Its elements haven't that form, or aren't dense tensors of known rank.
    """

    def __init__(
        self,
        dataset: tf.data.Dataset,
        *,
        batched: bool = False,
        num_examples: int | None = None,
        shuffle_buffer: int = 10_000,
    ):
        if not isinstance(dataset, tf.data.Dataset):
            raise TypeError(f"Expected a tf.data.Dataset of (features, labels), got {type(dataset).__name__}.")
        element = dataset.element_spec
        if not isinstance(element, tuple) or len(element) not in (2, 3):
            raise TypeError(f"Elements must be (features, labels) or (features, labels, weights), got {element}.")
        if batched:
            dataset = dataset.unbatch()
        dataset = dataset.map(_as_example)
        _check_elements(Example(*dataset.element_spec))
        cardinality = int(dataset.cardinality())
        if num_examples is not None:
            if 0 <= cardinality < num_examples:
                raise ValueError(f"num_examples is {num_examples}, but the dataset has {cardinality}.")
            dataset = dataset.take(num_examples)
        elif cardinality == tf.data.INFINITE_CARDINALITY:
            raise ValueError("The dataset is endless. Say how many examples an epoch has with num_examples=.")
        elif cardinality == tf.data.UNKNOWN_CARDINALITY:
            num_examples = int(dataset.reduce(np.int64(0), lambda count, _: count + 1))
        else:
            num_examples = cardinality
        if num_examples < 1:
            raise ValueError("The dataset is empty.")
        self.num_examples = num_examples
        self.shuffle_buffer = shuffle_buffer
        self._dataset = dataset.apply(tf.data.experimental.assert_cardinality(num_examples))
        self.spec = Example(*dataset.element_spec).map(lambda spec: tf.TensorSpec((None, *spec.shape), spec.dtype))

    @property
    def random_access(self) -> bool:
        return False

    def stream(self) -> tf.data.Dataset:
        return self._dataset


def _as_example(features: Any, labels: Any, weights: Any = None) -> Example:
    if not isinstance(features, Mapping):
        features = {"features": features}
    return Example(dict(features), labels, None if weights is None else tf.cast(weights, tf.float32))


def _check_elements(example: Example) -> None:
    for spec in tf.nest.flatten((example.features, example.labels)):
        if not isinstance(spec, tf.TensorSpec) or spec.shape.rank is None:
            raise TypeError(f"Features and labels must be dense tensors of known rank, got {spec}.")
    nested = {name: value for name, value in example.features.items() if not isinstance(value, tf.TensorSpec)}
    if nested:
        raise TypeError(f"Features must be one tensor, or a dict of them by name, got {nested}.")


def batch_padded(elements: tf.data.Dataset, batch_size: int, *, drop_remainder: bool = False) -> tf.data.Dataset:
    """Batches of single elements, filled up with zeros where their lengths vary."""
    specs = tf.nest.flatten(elements.element_spec)
    if all(spec.shape.is_fully_defined() for spec in specs if isinstance(spec, tf.TensorSpec)):
        return elements.batch(batch_size, drop_remainder=drop_remainder)

    def padded(*batch: Any) -> Any:
        return tf.nest.map_structure(_dense, batch if len(batch) > 1 else batch[0])

    # Not padded_batch, which knows nothing of weights that aren't there.
    return elements.ragged_batch(batch_size, drop_remainder=drop_remainder).map(padded)


def _dense(tensor: Any) -> Any:
    return tensor.to_tensor() if isinstance(tensor, tf.RaggedTensor) else tensor


def _named(example: Example) -> list[tuple[str, np.ndarray]]:
    """Every array of an example with a name for messages."""
    labels = example.labels if isinstance(example.labels, Mapping) else {"": example.labels}
    named = [(f"feature {name!r}", value) for name, value in example.features.items()]
    named += [(f"labels {head!r}" if head else "labels", value) for head, value in labels.items()]
    return named if example.weights is None else [*named, ("weights", example.weights)]


def _as_array(value: Any, what: str) -> np.ndarray:
    """An array with a dtype that TensorFlow has; text becomes an object array of str."""
    array = np.asarray(value)
    if array.dtype.kind == "S" and not isinstance(value, np.ndarray):
        array = np.asarray(value, object)  # NumPy's own bytes lose the zeros at their ends: half an encoded image
    if array.ndim == 0:
        raise ValueError(f"The {what} must have the examples on its first axis, got the single value {array!r}.")
    if array.dtype.kind in "US":
        array = array.astype(object)
    if array.dtype.kind == "O":
        other = [item for item in array.flat if not isinstance(item, (str, bytes))]
        if other:
            raise TypeError(
                f"The {what} holds Python objects such as {other[0]!r} ({type(other[0]).__name__}); expected numbers, "
                "booleans or text throughout. Fill missing values and convert it first."
            )
    elif array.dtype.kind not in "fiub":
        raise TypeError(f"The {what} has dtype {array.dtype}; expected numbers, booleans or text.")
    return array


def _tensor_dtype(array: np.ndarray) -> tf.DType:
    return tf.string if array.dtype == object else tf.as_dtype(array.dtype)


def feature_specs(source: Source) -> dict[str, Feature]:
    """The raw features that a source has."""
    return {name: Feature(tuple(spec.shape[1:]), spec.dtype.name) for name, spec in source.spec.features.items()}


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
