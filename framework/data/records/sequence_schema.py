"""What is in a record that is a `tf.train.SequenceExample`: features of the whole, and one value of others a step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from framework.data.records.finding import IMAGE, seen_keys
from framework.data.records.schema import LABEL, WEIGHT, Fault, Field, Schema, list_fault, with_key
from framework.data.sequences.protos import is_sequence, parse_sequence_examples, serialize_sequence_examples
from framework.data.sources import Example
from framework.features import Feature, as_identifier

# The feature that says how many steps there are; the records have it without saying it.
LENGTH = "length"


class SequenceSchema(Schema):
    """As `Schema`; features whose first axis varies are feature lists, all others are of the context.

    All feature lists of an example have the same number of steps. Examples have one feature more than the schema:
    `"length"` int64 `[]`, that number.

    Raises:
        ValueError: There is no feature list, a feature has the name `"length"`, or the label or weight is a list: the
            tasks know one answer a sequence.
    """

    proto: ClassVar[str] = "tf.train.SequenceExample"

    def __post_init__(self):
        super().__post_init__()
        if LENGTH in self.features:
            raise ValueError(
                f"{LENGTH!r} is how many steps an example has, which is known. Give that feature another name, such as "
                f"'duration': 'int64 from {LENGTH}'."
            )
        if not any(is_sequence(field.feature) for field in self.features.values()):
            raise ValueError("No feature is a sequence: write None for its first axis, as in 'float32(None, 2)'.")
        others = self.titled()[len(self.features) :]
        of_steps = [title for title, field in others if is_sequence(field.feature)]
        if of_steps:
            raise ValueError(
                f"The {of_steps[0]} has a value each step; tasks have one a sequence. Give a pipeline of your own."
            )

    @classmethod
    def of(cls, features: Mapping[str, Feature], labels: Any, *, weighted: bool = False) -> Schema:
        kept = {name: feature for name, feature in features.items() if name != LENGTH}
        return super().of(kept, labels, weighted=weighted)

    @property
    def raw(self) -> dict[str, Feature]:
        return {**super().raw, LENGTH: Feature((), "int64")}

    @property
    def spec(self) -> Example:
        spec = super().spec
        return spec._replace(features={**spec.features, LENGTH: tf.TensorSpec((None,), tf.int64)})

    @property
    def sequence_keys(self) -> list[str]:
        """The keys of the feature lists."""
        return [field.key for field in self.features.values() if is_sequence(field.feature)]

    def parse(self, serialized: tf.Tensor) -> Example:
        parsed, length = parse_sequence_examples(serialized, self.listed)
        example = self.structure(lambda field: field.from_list(parsed[field.key]))
        return example._replace(features={**example.features, LENGTH: length})

    def parse_features(self, serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        parsed, length = parse_sequence_examples(serialized, _listed(self.features.values()))
        return {**{name: field.from_list(parsed[field.key]) for name, field in self.features.items()}, LENGTH: length}

    def serialize(self, example: Example) -> np.ndarray:
        values = self.columns(example)
        columns = {field.key: field.to_list(values[title]) for title, field in self.titled()}
        return serialize_sequence_examples(columns, self.listed, example.features.get(LENGTH))

    def serialize_features(self, features: Mapping[str, np.ndarray]) -> np.ndarray:
        columns = {field.key: field.to_list(features[name]) for name, field in self.features.items()}
        return serialize_sequence_examples(columns, _listed(self.features.values()), features.get(LENGTH))

    def fault(self, record: bytes) -> Fault | None:
        try:
            proto = tf.train.SequenceExample.FromString(record)
        except DecodeError:
            return Fault("corrupt record", None, f"its {len(record)} bytes are no {self.proto}")
        context, lists = proto.context.feature, proto.feature_lists.feature_list
        counts = {}
        for title, field in self.titled():
            if not is_sequence(field.feature):
                found = list_fault(context[field.key] if field.key in context else tf.train.Feature(), field)
            elif field.key not in lists:
                found = ("missing feature", "is missing: there is no such feature list")
            else:
                counts[field.key] = len(lists[field.key].feature)
                found = _steps_fault(lists[field.key].feature, field)
            if found:
                return Fault(found[0], with_key(title, field), found[1])
        if len(set(counts.values())) > 1:
            return Fault("wrong length", None, f"its feature lists have different numbers of steps: {counts}")
        return None

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "proto": self.proto}


def parse_schema(description: Mapping[str, Any]) -> Schema:
    """The schema that `describe` was asked for.

    Raises:
        ValueError: See `Schema.parse_description`; or records are protos of another kind.
    """
    content = dict(description)
    proto = content.pop("proto", Schema.proto)
    kinds = {kind.proto: kind for kind in (Schema, SequenceSchema)}
    if proto not in kinds:
        raise ValueError(f"Records are {' or '.join(kinds)}, got {proto!r}.")
    return kinds[proto].parse_description(**content)


def infer_features(paths: Sequence[str], labels: Any, weights: Any = None) -> dict[str, str]:
    """Descriptions of all features that the first records have, but for what is a label or weight; images are text.

    Args:
        paths: Of the files.
        labels: Description of the label, or a dict of them; see `Schema.parse_description`.
        weights: That of the weights, if there are any.
    """
    described = [*labels.values()] if isinstance(labels, Mapping) else [labels]
    taken = {Field.parse(text, LABEL).key for text in described}
    taken |= {Field.parse(weights, WEIGHT).key} if weights else set()
    seen = {key: text.replace(IMAGE, "string") for key, text in seen_keys(paths).items() if key not in taken}
    return {as_identifier(key): f"{text} from {key}" for key, text in seen.items()}


def _listed(fields: Iterable[Field]) -> dict[str, Feature]:
    return {field.key: field.listed for field in fields}


def _steps_fault(steps: Sequence[tf.train.Feature], field: Field) -> tuple[str, str] | None:
    """What is wrong with the first step of a feature list that can't be used."""
    each = Field(Feature(field.feature.shape[1:], field.feature.dtype), field.key)
    for number, step in enumerate(steps):
        found = list_fault(step, each)
        if found:
            return found[0], f"in step {number} {found[1]}"
    return None
