"""The examples of a classify or regress request, as the `tf.Example` protos that such a signature parses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from framework.serving.rest.arrays import NonFinite, decode_base64, encode_text, is_encoded, short
from framework.serving.rest.errors import RequestError

_INT64 = (-(2**63), 2**63 - 1)
_LARGEST_FLOAT = float(np.finfo(np.float32).max)


def serialized_examples(document: Mapping[str, Any]) -> np.ndarray:
    """Serialized `tf.Example` protos, dtype object `[examples]`.

        {"context": {name: value or list}, "examples": [{name: value or list, ...}, ...]}

    Whole numbers and truth values are int64, decimals float, text and `{"b64": ...}` bytes. The context, if any, is
    part of every example.

    Raises:
        RequestError: (400) The request isn't of this form.
    """
    examples = document.get("examples")
    if not isinstance(examples, list):
        raise RequestError(f"Key 'examples' is expected with a list of objects, got {short(examples)}.")
    if not examples:
        raise RequestError("'examples' value is an empty array")
    context = _features(document["context"], "'context'") if "context" in document else {}
    protos = np.empty(len(examples), object)
    for index, example in enumerate(examples):
        features = {**context, **_features(example, f"example {index}")}
        protos[index] = tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()
    return protos


def _features(example: Any, where: str) -> dict[str, tf.train.Feature]:
    if not isinstance(example, dict):
        raise RequestError(f"Example must be JSON object but {where} is {short(example)}.")
    return {
        encode_text(name, name).decode(): _feature(value if isinstance(value, list) else [value], name, where)
        for name, value in example.items()
    }


def _feature(values: list[Any], name: str, where: str) -> tf.train.Feature:
    kinds = {_kind(value) for value in values}
    if not kinds:
        return tf.train.Feature()
    if len(kinds) > 1 or None in kinds:
        raise RequestError(
            f"Feature {name!r} of {where} is {short(values)}: expected numbers, all whole or all decimal, or text, or "
            f"{{'b64': ...}}."
        )
    if kinds == {"int64"}:
        if not all(_INT64[0] <= value <= _INT64[1] for value in values):
            raise RequestError(f"Feature {name!r} of {where} has an integer outside the range of int64.")
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[int(value) for value in values]))
    if kinds == {"float"}:
        if any(abs(value) > _LARGEST_FLOAT and not isinstance(value, NonFinite) for value in values):
            raise RequestError(f"Feature {name!r} of {where} has a number that float can't hold.")
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))
    encoded = [encode_text(v, name) if isinstance(v, str) else decode_base64(v["b64"], name) for v in values]
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=encoded))


def _kind(value: Any) -> str | None:
    if isinstance(value, int):  # truth values too
        return "int64"
    if isinstance(value, float):
        return "float"
    return "bytes" if isinstance(value, str) or is_encoded(value) else None
