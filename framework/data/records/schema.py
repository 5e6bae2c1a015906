"""What is in a record: which key of a `tf.Example` holds which feature, label or weight, and how."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from framework.data.records.feature_text import feature_text, parse_feature
from framework.data.sources import Example, Source, feature_specs
from framework.data.tables.labels import expected_class
from framework.features import Feature, check_names, parse_examples, serialize_examples

LABEL = "label"
WEIGHT = "weight"
_DTYPES = "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 bfloat16 float32 float64 string".split()
# What a float list (float32) or an int64 list can't hold without loss is kept as the int64 with the same 64 bits.
_BITS = ("float64", "uint64")
_HALVES = (tf.float16, tf.bfloat16)
_LISTS = {tf.int64: "int64_list", tf.float32: "float_list", tf.string: "bytes_list"}


@dataclasses.dataclass(frozen=True)
class Field:
    """One entry of a record.

    Attributes:
        feature: What it is when decoded.
        key: Its name in the `tf.Example`.
        class_names: Of a label that is the name of one of these classes, int64 `[]` when decoded.
    """

    feature: Feature
    key: str
    class_names: tuple[str, ...] | None = None

    @property
    def listed(self) -> Feature:
        """What its list holds: int64 instead of float64 and uint64, the same 64 bits; bytes instead of an image."""
        if self.class_names is not None:
            return Feature((), "string")
        stored = self.feature.stored
        return Feature(stored.shape, "int64") if stored.dtype in _BITS else stored

    def from_list(self, values: tf.Tensor) -> tf.Tensor:
        """The stored feature from what its list holds.

        Raises:
            tf.errors.InvalidArgumentError: (when run) A label isn't the name of a class.
        """
        if self.class_names is not None:
            ids = self._table.lookup(values)
            message = f"Label out of range: a value of '{self.key}' isn't the name of a class."
            with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(ids >= 0), [message])]):
                return tf.identity(ids)
        stored = self.feature.stored
        return tf.bitcast(values, stored.dtype) if stored != self.listed else values

    def to_list(self, values: Any) -> np.ndarray:
        """The opposite of `from_list`."""
        if self.class_names is not None:
            return np.array(self.class_names, object)[np.asarray(values)]
        return np.ascontiguousarray(values).view(np.int64) if self.feature.stored != self.listed else np.asarray(values)

    def describe(self, default_key: str) -> str:
        """As text, without the names of classes; the key is said where it isn't this one."""
        feature = self.feature if self.class_names is None else self.listed
        return feature_text(feature, None if self.key == default_key else self.key)

    @classmethod
    def parse(cls, text: str | Feature, default_key: str) -> Field:
        """The opposite of `describe`; also takes a `Feature`.

        Raises:
            ValueError: See `parse_feature`.
        """
        feature, key = (text, None) if isinstance(text, Feature) else parse_feature(text)
        return cls(feature, key or default_key)

    @functools.cached_property
    def ids(self) -> dict[bytes, int]:
        """`{name as it is stored: class id}`."""
        return {name.encode(): number for number, name in enumerate(self.class_names or ())}

    @functools.cached_property
    def _table(self) -> tf.lookup.StaticHashTable:
        with tf.init_scope():  # outside of any graph, with which it would be gone
            pairs = tf.lookup.KeyValueTensorInitializer([*self.ids], [*self.ids.values()], tf.string, tf.int64)
            return tf.lookup.StaticHashTable(pairs, -1)


class Fault(NamedTuple):
    """Why a record can't be used.

    Attributes:
        kind: Such as `"missing feature"`; see `framework.data.bad_examples.BadExample`.
        feature: What it is about: `"feature 'image'"`, `"label"`; `None` where it is about the whole record.
        reason: What was got and what was expected.
    """

    kind: str
    feature: str | None
    reason: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.feature} {self.reason}" if self.feature else f"{self.kind}: {self.reason}"


@dataclasses.dataclass(frozen=True)
class Schema:
    """Features, labels and weights of the records of a data set.

    Attributes:
        features: `{feature: Field}`.
        labels: A `Field`, or a dict of them for several heads.
        weights: float32 `[]`, or `None` where every example counts the same.

    Raises:
        ValueError: A feature's name can't be that of a signature's argument, one key stands for different things, more
            than the first axis of a feature varies, or it is of a dtype that no list holds.
    """

    features: Mapping[str, Field]
    labels: Field | Mapping[str, Field]
    weights: Field | None = None

    # What a record is.
    proto: ClassVar[str] = "tf.train.Example"

    def __post_init__(self):
        check_names(self.features, "The records' features")
        listed: dict[str, Feature] = {}
        for title, field in self.titled():
            if field.feature.dtype not in _DTYPES:
                raise ValueError(f"The {title} is {field.feature.dtype}. Records hold {', '.join(_DTYPES)}.")
            field.listed.parse_spec()
            if listed.setdefault(field.key, field.listed) != field.listed:
                raise ValueError(f"The key {field.key!r} is both {listed[field.key]} and {field.listed}.")

    @classmethod
    def of(cls, features: Mapping[str, Feature], labels: Any, *, weighted: bool = False) -> Schema:
        """The schema of records that are written here.

        Args:
            features: What they are when decoded.
            labels: The label's `Feature`, or a dict of them for several heads.
            weighted: Whether examples have weights.
        """
        # A feature's name begins with a letter.
        label, weight = (f"_{key}" if key in features else key for key in (LABEL, WEIGHT))
        heads = {head: Field(feature, f"{label}/{head}") for head, feature in _items(labels)}
        return cls(
            {name: Field(feature, name) for name, feature in features.items()},
            heads if isinstance(labels, Mapping) else Field(labels, label),
            Field(Feature((), "float32"), weight) if weighted else None,
        )

    @classmethod
    def of_source(cls, source: Source, features: Mapping[str, Feature]) -> Schema:
        """The schema of records of a source's examples.

        Args:
            source: Where they are.
            features: What the pipeline declares: that a string is an image.
        """
        found = feature_specs(source)
        declared = {name: features.get(name, feature) for name, feature in found.items()}
        kept = {
            name: declared[name] if declared[name].stored == feature else feature for name, feature in found.items()
        }
        labels = tf.nest.map_structure(Feature.of, source.spec.labels)
        return cls.of(kept, labels, weighted=source.spec.weights is not None)

    def titled(self) -> list[tuple[str, Field]]:
        """All fields, each with what it is called in messages."""
        titled = [(f"feature {name!r}", field) for name, field in self.features.items()]
        titled += [(f"label {head!r}" if head else "label", field) for head, field in _items(self.labels)]
        return titled + ([("weight", self.weights)] if self.weights else [])

    def structure(self, of_field: Callable[[Field], Any]) -> Example:
        """An `Example` with `of_field(field)` in the place of each field."""
        features = {name: of_field(field) for name, field in self.features.items()}
        heads = {head: of_field(field) for head, field in _items(self.labels)}
        labels = heads if isinstance(self.labels, Mapping) else heads[""]
        return Example(features, labels, of_field(self.weights) if self.weights else None)

    @property
    def raw(self) -> dict[str, Feature]:
        """The features of an example, when decoded."""
        return {name: field.feature for name, field in self.features.items()}

    @property
    def listed(self) -> dict[str, Feature]:
        """What is in each key's list: `{key: Feature}`."""
        return {field.key: field.listed for _, field in self.titled()}

    @property
    def lists(self) -> dict[str, str]:
        """Which of a `tf.train.Feature`'s three lists holds each key."""
        return {key: _LISTS[feature.storage_dtype] for key, feature in self.listed.items()}

    @property
    def spec(self) -> Example:
        """An `Example` of batched `tf.TensorSpec`s, in the form in which features are stored."""
        return self.structure(lambda field: field.feature.stored.spec())

    @property
    def is_ragged(self) -> bool:
        """Whether the first axis of something varies."""
        return any(None in feature.shape for feature in self.listed.values())

    def parse(self, serialized: tf.Tensor) -> Example:
        """A batch of records as an `Example` of stored features; what varies in length is padded with zeros.

        Args:
            serialized: The records, string `[batch]`.

        Raises:
            tf.errors.InvalidArgumentError: A record doesn't fit; see `fault`.
        """
        parsed = parse_examples(serialized, self.listed)
        return self.structure(lambda field: field.from_list(parsed[field.key]))

    def parse_features(self, serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        """The stored features alone, `{name: [batch, ...]}`: records and requests may be without labels."""
        parsed = parse_examples(serialized, {field.key: field.listed for field in self.features.values()})
        return {name: field.from_list(parsed[field.key]) for name, field in self.features.items()}

    def columns(self, example: Example) -> dict[str, Any]:
        """The tensors or arrays of an example or a batch of them, each by what it is called in messages."""
        features = [example.features[name] for name in self.features]
        labels = dict(_items(example.labels))
        values = [*features, *(labels[head] for head, _ in _items(self.labels)), example.weights]
        return {title: value for (title, _), value in zip(self.titled(), values, strict=False)}

    def serialize(self, example: Example) -> np.ndarray:
        """The opposite of `parse`: a batch of arrays as bytes objects `[batch]`."""
        values = self.columns(example)
        columns = {field.key: field.to_list(values[title]) for title, field in self.titled()}
        return serialize_examples(columns, self.listed)

    def serialize_features(self, features: Mapping[str, np.ndarray]) -> np.ndarray:
        """The opposite of `parse_features`."""
        columns = {field.key: field.to_list(features[name]) for name, field in self.features.items()}
        return serialize_examples(columns, {field.key: field.listed for field in self.features.values()})

    def fault(self, record: bytes) -> Fault | None:
        """Why `parse` can't read a record; `None` where it can."""
        try:
            found = tf.train.Example.FromString(record).features.feature
        except DecodeError:
            return Fault("corrupt record", None, f"its {len(record)} bytes are no tf.Example")
        for title, field in self.titled():
            # Asking a map of protos for what it hasn't would add it.
            fault = list_fault(found[field.key] if field.key in found else tf.train.Feature(), field)
            if fault:
                kind, reason = fault
                return Fault(kind, with_key(title, field), reason)
        return None

    def describe(self) -> dict[str, Any]:
        """Plain values, for a sidecar or a pipeline's options."""
        features = {name: field.describe(name) for name, field in self.features.items()}
        heads = {head: field.describe(_label_key(head)) for head, field in _items(self.labels)}
        labels = heads if isinstance(self.labels, Mapping) else heads[""]
        return {"features": features, "labels": labels, "weights": self.weights and self.weights.describe(WEIGHT)}

    @classmethod
    def parse_description(
        cls, features: Mapping[str, Any], labels: Any, weights: str | Feature | None = None
    ) -> Schema:
        """The opposite of `describe`.

        Args:
            features: `{name: text}`, as `parse_feature` takes it; also `Feature`s.
            labels: Such a text, or a dict of them.
            weights: Such a text, or `None`.

        Raises:
            ValueError: There are no features; or see `parse_feature` and the class.
        """
        if not features:
            raise ValueError("A record has at least one feature, got none.")
        heads = {head: Field.parse(text, _label_key(head)) for head, text in _items(labels)}
        return cls(
            {name: Field.parse(text, name) for name, text in features.items()},
            heads if isinstance(labels, Mapping) else heads[""],
            None if weights is None else Field.parse(weights, WEIGHT),
        )


def _items(labels: Any) -> list[tuple[str, Any]]:
    """(head, label) of several heads; of one label, whose head is called nothing."""
    return list(labels.items()) if isinstance(labels, Mapping) else [("", labels)]


def _label_key(head: str) -> str:
    return f"{LABEL}/{head}" if head else LABEL


def with_key(title: str, field: Field) -> str:
    """What a field is called, with its key where that is another."""
    is_plain = title in (field.key, f"feature {field.key!r}")
    return title if is_plain else f"{title} (key {field.key!r})"


def list_fault(found: tf.train.Feature, field: Field) -> tuple[str, str] | None:
    """What kind of fault there is in what a key holds, and what was got and expected."""
    feature = field.listed
    kind = found.WhichOneof("kind")
    if kind is None:
        return None if None in feature.shape else ("missing feature", "is missing")
    expected = _LISTS[feature.storage_dtype]
    if kind != expected:
        hint = "; a float_list holds float32: declare that" if field.feature.dtype == "float64" else ""
        what = field.feature.dtype if field.class_names is None else "names of classes"
        return "wrong type", f"has the data type {kind}, expected {expected} for {what}{hint}"
    values = getattr(found, kind).value
    row = math.prod(axis for axis in feature.shape if axis is not None)
    if len(values) % max(row, 1) if None in feature.shape else len(values) != row:
        return "wrong length", f"has {len(values)} values, a wrong length for the shape {feature.shape}"
    dtype = tf.as_dtype(feature.dtype)
    numbers = values if dtype.is_integer else [*filter(math.isfinite, values)] if dtype in _HALVES else ()
    if numbers and not (float(dtype.min) <= min(numbers) and max(numbers) <= float(dtype.max)):
        return "value out of range", f"has values {min(numbers)} to {max(numbers)}, outside the range of {dtype.name}"
    if field.class_names is not None and values[0] not in field.ids:
        name = values[0].decode(errors="replace")
        return "label out of range", f"is {name!r:.100}, expected {expected_class(name, field.class_names)}"
    return None
