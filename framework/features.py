"""What a client has before any preprocessing: the name, shape and dtype of each raw tensor.

A `Feature` knows the three forms in which an example crosses a border: a `tf.TensorSpec` (a signature's
argument), a `tf.io` parsing spec (a `tf.Example` in a record or a request) and a `keras.Input`.
"""

from __future__ import annotations

import dataclasses
import keyword
import re
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

# tf.Example has three list types; every dtype is stored in the one that holds it.
_STORAGE = {
    tf.string: tf.string,
    tf.float16: tf.float32,
    tf.bfloat16: tf.float32,
    tf.float32: tf.float32,
    tf.float64: tf.float32,
}


@dataclasses.dataclass(frozen=True)
class Feature:
    """The shape and dtype of one named tensor of one example.

    Attributes:
        shape: Axes of a single example, without the batch axis. `None` where the length varies.
        dtype: A TensorFlow dtype name, such as `"float32"`, `"uint8"`, `"int64"`, `"bool"` or `"string"`.

    Raises:
        TypeError: The dtype isn't one TensorFlow knows, or the shape isn't a sequence of integers and `None`.
        ValueError: An axis is negative.
    """

    shape: tuple[int | None, ...] = ()
    dtype: str = "float32"

    def __post_init__(self):
        if not isinstance(self.shape, Iterable) or not all(
            axis is None or isinstance(axis, (int, np.integer)) for axis in self.shape
        ):
            raise TypeError(
                f"Feature shape must be a tuple of integers and None without the batch axis, such as (28, 28, 1). "
                f"Got {self.shape!r}."
            )
        if any(axis is not None and axis < 0 for axis in self.shape):
            raise ValueError(f"Feature shape has a negative axis: {self.shape!r}. Use None for a varying length.")
        try:
            dtype = tf.as_dtype(self.dtype)
        except TypeError as error:
            raise TypeError(
                f"Feature dtype {self.dtype!r} isn't a TensorFlow dtype. "
                "Use a name such as 'float32', 'uint8', 'int64', 'bool' or 'string'."
            ) from error
        object.__setattr__(self, "shape", tuple(None if axis is None else int(axis) for axis in self.shape))
        object.__setattr__(self, "dtype", dtype.name)

    @classmethod
    def of(cls, tensor: Any) -> Feature:
        """The feature of a *batched* array, tensor or spec: its first axis is dropped."""
        spec = tensor if isinstance(tensor, tf.TensorSpec) else tf.type_spec_from_value(tf.convert_to_tensor(tensor))
        return cls(tuple(spec.shape[1:]), spec.dtype.name)

    @property
    def stored(self) -> Feature:
        """How it lies in a source, in a record and in a request for `encoded`: as it is, unless it is encoded media."""
        return self

    @property
    def is_encoded(self) -> bool:
        """Whether it is stored as something else, which `decode` turns into the raw tensor."""
        return self.stored is not self

    @property
    def served(self) -> Feature:
        """How `serving_default` takes it: as it is, unless clients may have it in other sizes."""
        return self

    def decode(self, stored: tf.Tensor) -> tf.Tensor:
        """One example's raw tensor `[*shape]` from its stored form."""
        return stored

    def foreign(self, stored: bytes) -> str | None:
        """What kind of bad example one is whose stored form isn't of the sort that `decode` takes at all."""
        return None

    def from_served(self, served: tf.Tensor) -> tf.Tensor:
        """A batch of raw tensors `[batch, *shape]` from what `serving_default` takes."""
        return served

    def spec(self, name: str | None = None, *, batch: int | None = None) -> tf.TensorSpec:
        """The batched spec `[batch, *shape]`, as a signature declares it."""
        return tf.TensorSpec((batch, *self.shape), self.dtype, name=name)

    def keras_input(self, name: str) -> keras.KerasTensor:
        """The symbolic input `[None, *shape]` with which a functional model begins."""
        return keras.Input(self.shape, dtype=self.dtype, name=name)

    @property
    def storage_dtype(self) -> tf.DType:
        """The dtype under which a `tf.Example` keeps this feature: int64, float32 or string."""
        return _STORAGE.get(tf.as_dtype(self.dtype), tf.int64)

    def parse_spec(self) -> tf.io.FixedLenFeature | tf.io.FixedLenSequenceFeature:
        """How `tf.io.parse_example` reads it.

        Raises:
            ValueError: More than the first axis varies; a flat `tf.Example` list can't tell where a row ends.
        """
        if None not in self.shape:
            return tf.io.FixedLenFeature(self.shape, self.storage_dtype)
        if None in self.shape[1:]:
            raise ValueError(
                f"A tf.Example can hold a feature whose first axis varies, got shape {self.shape}. "
                "Fix the other axes, or give the pipeline a signature of its own."
            )
        return tf.io.FixedLenSequenceFeature(self.shape[1:], self.storage_dtype, allow_missing=True)


def check_names(names: Iterable[str], where: str) -> None:
    """Checks that names can be those of a `keras.Input`, a graph's node and a signature's argument alike.

    TensorFlow would replace other characters in signatures by underscores, and ignores case there.

    Args:
        names: Of features, inputs or outputs.
        where: Whose they are, for messages.

    Raises:
        ValueError: One isn't an ASCII identifier that begins with a letter, is a word that Python keeps for itself, or
            differs from another one in case alone; the message says how to rename it.
    """
    names = [str(name) for name in names]
    renamed = {name: as_identifier(name) for name in names if as_identifier(name) != name}
    if renamed:
        raise ValueError(
            f"{where} has names that a signature can't have: {', '.join(map(repr, renamed))}. Expected letters, digits "
            "and underscores, a letter first, and no Python keyword. Rename them, the columns of a DataFrame by "
            f"data.rename(columns={renamed})."
        )
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(name.lower(), name)
        if other != name:
            raise ValueError(f"{where} has the names {other!r} and {name!r}; a signature can't tell them apart.")


def as_identifier(name: str) -> str:
    """A name like this one, or this one itself, that `check_names` takes."""
    if not re.fullmatch("[A-Za-z][A-Za-z0-9_]*", name):
        name = re.sub("[^A-Za-z0-9]+", "_", name).strip("_")
        name = name if name[:1].isalpha() else f"x_{name}"
    return f"{name}_" if keyword.iskeyword(name) or name == "self" else name


def parse_examples(
    serialized: tf.Tensor, features: Mapping[str, Feature], *, names: tf.Tensor | None = None
) -> dict[str, tf.Tensor]:
    """Parses a batch of serialized `tf.Example` protos.

    Args:
        serialized: string `[batch]`.
        features: What to read, in the form in which it is stored; other features of the protos are ignored.
        names: string `[batch]`: where each proto comes from, for TensorFlow's messages.

    Returns:
        `{name: [batch, *shape]}` in the features' own dtypes. A varying first axis is zero-padded to the longest.

    Raises:
        tf.errors.InvalidArgumentError: A proto is malformed, lacks a feature or holds another type or length.
    """
    specs = {name: feature.parse_spec() for name, feature in features.items()}
    parsed = tf.io.parse_example(serialized, specs, example_names=names)
    return {name: from_storage(parsed[name], feature, name) for name, feature in features.items()}


def serialize_examples(values: Mapping[str, np.ndarray], features: Mapping[str, Feature]) -> np.ndarray:
    """The opposite of `parse_examples`: a batch as serialized `tf.Example` protos, bytes objects `[batch]`.

    The same values make the same bytes in every process.

    Args:
        values: `{name: [batch, ...]}`.
        features: What they are, in the form in which they are stored.
    """
    columns = {name: np.asarray(values[name]) for name in features}
    protos = []
    for row in range(len(next(iter(columns.values())))):
        lists = {name: to_storage(columns[name][row], feature) for name, feature in features.items()}
        protos.append(tf.train.Example(features=tf.train.Features(feature=lists)).SerializeToString(deterministic=True))
    return np.array(protos, dtype=object)


def to_storage(value: Any, feature: Feature) -> tf.train.Feature:
    """One example's value as a `tf.Example` keeps it: a flat list."""
    array = np.asarray(value, object if feature.dtype == "string" else None)
    items = array.ravel().tolist()
    if feature.storage_dtype == tf.string:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[tf.compat.as_bytes(item) for item in items]))
    if feature.storage_dtype == tf.float32:
        return tf.train.Feature(float_list=tf.train.FloatList(value=items))
    if array.dtype.kind not in "iu":
        items = [int(item) for item in items]
    return tf.train.Feature(int64_list=tf.train.Int64List(value=items))


def from_storage(value: tf.Tensor, feature: Feature, name: str) -> tf.Tensor:
    """What `tf.io` has parsed, in the feature's own dtype.

    Raises:
        tf.errors.InvalidArgumentError: (when run) A value is outside the range of that dtype.
    """
    dtype = tf.as_dtype(feature.dtype)
    if value.dtype == dtype:
        return value
    if dtype in (tf.float16, tf.bfloat16) or (dtype.is_integer and dtype != tf.uint64):
        # A cast would wrap around: 300 read as uint8 is 44, a wrong image and no error. Infinity is no large number.
        in_range = (value >= dtype.min) & (value <= dtype.max)
        in_range = tf.reduce_all(in_range if dtype.is_integer else in_range | ~tf.math.is_finite(value))
        message = f"Feature '{name}' has values outside the range of {dtype.name} [{dtype.min}, {dtype.max}]."
        with tf.control_dependencies([tf.debugging.Assert(in_range, [message], summarize=1)]):
            value = tf.identity(value)
    return tf.cast(value, dtype)


def as_batch(values: Any, features: Mapping[str, Feature]) -> dict[str, np.ndarray]:
    """What a person passes to `predict`, as a batch of raw features.

    Args:
        values: `{name: [batch, ...]}`, or one array where there is one feature.
        features: What is expected.

    Raises:
        ValueError: A feature is missing or unknown, or has a wrong shape or values that its dtype can't hold.
    """
    if not isinstance(values, Mapping):
        if len(features) > 1:
            raise ValueError(f"Expected a dict with the features {sorted(features)}, got {type(values).__name__}.")
        values = dict.fromkeys(features, values)
    missing, unknown = sorted(set(features) - set(values)), sorted(set(values) - set(features))
    if missing or unknown:
        raise ValueError(f"Features missing: {missing}, unknown: {unknown}. Expected {sorted(features)}.")
    batch = {name: _as_dtype(values[name], feature, name) for name, feature in features.items()}
    lengths = {name: len(array) for name, array in batch.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"Features must have the same number of examples, got {lengths}.")
    return batch


def _as_dtype(value: Any, feature: Feature, name: str) -> np.ndarray:
    try:
        array = np.asarray(value, object if feature.dtype == "string" else None)
    except ValueError as error:  # rows of different lengths
        raise ValueError(f"Feature '{name}' isn't an array: {error}") from error
    if array.ndim != len(feature.shape) + 1 or not tf.TensorShape(array.shape[1:]).is_compatible_with(feature.shape):
        expected = ", ".join(["examples", *map(str, feature.shape)])
        raise ValueError(f"Feature '{name}' has shape {array.shape}, expected ({expected}).")
    if feature.dtype == "string":
        other = [item for item in array.flat if not isinstance(item, (str, bytes))]
        if other:
            raise ValueError(f"Feature '{name}' has the value {other[0]!r}, expected text throughout.")
        return array
    dtype = tf.as_dtype(feature.dtype)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"Feature '{name}' has dtype {array.dtype}, expected {feature.dtype}.")
    with np.errstate(invalid="ignore", over="ignore"):
        converted = array.astype(dtype.as_numpy_dtype)
    # Floats may be rounded, not overflow; everything else must be kept as it is.
    lost = np.isinf(converted) != np.isinf(array) if dtype.is_floating else converted != array
    if lost.any():
        raise ValueError(f"Feature '{name}' has the value {array[lost][0]}, which {feature.dtype} can't hold.")
    return converted


def stored(features: Mapping[str, Feature]) -> dict[str, Feature]:
    """The features as they lie in a source or a record."""
    return {name: feature.stored for name, feature in features.items()}


def describe(features: Mapping[str, Feature]) -> dict[str, dict[str, Any]]:
    """The features as plain values for `config.json`, manifests and error messages."""
    return {
        name: {"shape": list(feature.shape), "dtype": feature.dtype}
        | ({"encoded": type(feature).__name__.lower()} if feature.is_encoded else {})
        for name, feature in features.items()
    }
