"""What is written: examples of a source or of any iterable, read in the order in which they are to lie."""

from __future__ import annotations

import abc
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from typing import Any

import numpy as np
import tensorflow as tf

from framework.data.records.schema import Schema
from framework.data.sources import Example, Source
from framework.features import Feature, as_batch

_BATCH = 64


class Feed(abc.ABC):
    """Examples to be written.

    Attributes:
        schema: What is in each of them.
        num_examples: How many there are.
        fingerprint: Of the data, as far as it is known.
        random_access: Whether several threads may read anywhere; otherwise one reads in ascending order.
    """

    schema: Schema
    num_examples: int
    fingerprint: str = ""
    random_access: bool = False

    @abc.abstractmethod
    def read(self, indices: Sequence[int]) -> Iterator[Example]:
        """The examples at ascending indices in batches of any size, as arrays."""


class SourceFeed(Feed):
    """The examples of a source as they are stored: of one that keeps them decoded, the bytes that these were.

    Args:
        source: Where they are.
        features: What a pipeline declares of its features, by which a string is known to be an image.
        kind: Of what protos the records will be.
    """

    def __init__(self, source: Source, features: Mapping[str, Feature], kind: type[Schema] = Schema):
        source = source.stored
        self._source = source
        self.schema = kind.of_source(source, features)
        self.num_examples = source.num_examples
        self.fingerprint = source.fingerprint()
        self.random_access = source.random_access
        self._stream: Iterator[tuple[int, Any]] = iter(())
        if not source.random_access:
            self._stream = enumerate(iter(source.stream()))

    def read(self, indices: Sequence[int]) -> Iterator[Example]:
        if not self.random_access:
            for example in _advance(self._stream, indices):
                yield _arrays(Example(*example).map(lambda tensor: tensor[tf.newaxis]))
            return
        size = 1 if self.schema.is_ragged else _BATCH  # a batch is padded to its longest
        for first in range(0, len(indices), size):
            yield _arrays(self._source.gather(tf.constant(indices[first : first + size], tf.int64)))


class IterableFeed(Feed):
    """`(features, label)` or `(features, label, weight)` of single examples, of a list, a generator or the like.

    Args:
        examples: Read once, and from a sequence no more than has to be.
        num_examples: Where `len` can't tell.
        features: What features are, where it isn't to be told from the first example: that one varies in length, or
            that its bytes are an image.
        labels: The same for the label, or a dict for several heads.
        kind: Of what protos the records will be.

    Raises:
        TypeError: Nobody knows how many examples there are.
        ValueError: There are none, or not as many as `num_examples`; or features are declared that the examples don't
            have, or one can't be told.
    """

    def __init__(
        self,
        examples: Iterable[Any],
        *,
        num_examples: int | None = None,
        features: Mapping[str, Feature] | None = None,
        labels: Any = None,
        kind: type[Schema] = Schema,
    ):
        if isinstance(examples, Sized):
            if num_examples not in (None, len(examples)):
                raise ValueError(f"num_examples is {num_examples}, but there are {len(examples)} examples.")
            num_examples = len(examples)
        if num_examples is None:
            raise TypeError(f"How many examples has a {type(examples).__name__}? Give num_examples=, or a list.")
        if num_examples < 1:
            raise ValueError("There are no examples to write.")
        self.num_examples = num_examples
        self._examples = examples if isinstance(examples, Sequence) else None
        stream = iter(examples)
        first = next(stream, None)
        if first is None:
            raise ValueError(f"Expected {num_examples} examples, there are none.")
        self._stream = enumerate(itertools.chain([first], stream))
        self.schema = _infer(first, features or {}, labels, kind)

    def read(self, indices: Sequence[int]) -> Iterator[Example]:
        if self._examples is not None:
            chosen: Iterable[Any] = (self._examples[index] for index in indices)
        else:
            chosen = _advance(self._stream, indices)
        for index, example in zip(indices, chosen, strict=True):
            yield self._checked(index, example)
        if self._examples is None and indices[-1] == self.num_examples - 1 and next(self._stream, None):
            raise ValueError(f"There are more than the {self.num_examples} examples that num_examples= promises.")

    def _checked(self, index: int, example: Any) -> Example:
        """A batch of this one, of the dtypes and shapes that it should have."""
        try:
            features, labels, weight = _parts(example)
            made = self.schema.structure(lambda field: field.feature.stored)
            batch = as_batch(_single(features), made.features)
            heads = labels if isinstance(labels, Mapping) else {"label": labels}
            expected = made.labels if isinstance(made.labels, Mapping) else {"label": made.labels}
            label = as_batch(_single(heads), expected)
        except (ValueError, TypeError) as error:
            raise ValueError(f"Example {index} isn't like the first one or what was declared: {error}") from error
        if (weight is None) == (self.schema.weights is not None):
            raise ValueError(f"Example {index} has the weight {weight}, the first one was another case: all or none.")
        weights = None if weight is None else np.asarray([weight], np.float32)
        return Example(batch, label if isinstance(labels, Mapping) else label["label"], weights)


def _advance(stream: Iterator[tuple[int, Any]], indices: Sequence[int]) -> Iterator[Any]:
    """The examples at ascending indices of what can only be read on."""
    for wanted in indices:
        for index, example in stream:
            if index == wanted:
                yield example
                break
        else:
            raise ValueError(f"The examples end before the one at index {wanted}, counted from 0.")


def _parts(example: Any) -> tuple[Mapping[str, Any], Any, Any]:
    if not (isinstance(example, tuple) and len(example) in (2, 3) and isinstance(example[0], Mapping)):
        raise TypeError(
            f"expected ({{name: feature}}, label) or ({{name: feature}}, label, weight), got {example!r:.80}"
        )
    return example if len(example) == 3 else (*example, None)


def _infer(example: Any, features: Mapping[str, Feature], labels: Any, kind: type[Schema]) -> Schema:
    """The schema of what is written, of its first example and what is declared."""
    found, label, weight = _parts(example)
    if not found:
        raise ValueError("An example has at least one feature, the first one has none.")
    is_heads = isinstance(label, Mapping)
    unknown = sorted(features.keys() - found.keys())
    if unknown:
        raise ValueError(f"Declared are features {unknown}, which examples don't have; they have {sorted(found)}.")
    chosen = {name: features.get(name) or _feature_of(value, f"feature {name!r}") for name, value in found.items()}
    if labels is None and is_heads:
        labels = {head: _feature_of(value, f"label {head!r}") for head, value in label.items()}
    elif labels is None:
        labels = _feature_of(label, "label")
    return kind.of(chosen, labels, weighted=weight is not None)


def _feature_of(value: Any, what: str) -> Feature:
    """What a value is; Python's floats are float32, as everywhere in TensorFlow."""
    try:
        array = np.asarray(value)
    except ValueError as error:  # rows of different lengths
        raise ValueError(f"The {what} of the first example isn't an array: {error}") from error
    if array.dtype.kind in "USO":
        return Feature(array.shape, "string")
    is_python = not hasattr(value, "dtype")
    return Feature(array.shape, "float32" if is_python and array.dtype.kind == "f" else array.dtype.name)


def _single(values: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Values as batches of one."""
    return {name: _as_array(value)[np.newaxis] for name, value in values.items()}


def _as_array(value: Any) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype.kind in "US":
        return np.asarray(value, object)  # NumPy's own bytes lose the zeros at their ends: half an encoded image
    return array.astype(np.float32) if array.dtype.kind == "V" else array  # bfloat16 is no number to NumPy


def _arrays(example: Example) -> Example:
    return example.map(lambda tensor: tensor.numpy())
