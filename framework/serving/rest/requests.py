"""The body of a request: JSON, the signature's name, arrays in row or column format."""

from __future__ import annotations

import collections
import json
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from framework.serving.rest.arrays import NonFinite, is_encoded, short, to_array
from framework.serving.rest.errors import RequestError

_TOO_LARGE = 413


def _json_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        ((twice, _),) = collections.Counter(name for name, _ in pairs).most_common(1)
        raise RequestError(f"JSON Parse error: an object has the key {short(twice)} twice")
    return values


_DECODER = json.JSONDecoder(object_pairs_hook=_json_object, parse_constant=NonFinite)


def decompress(body: bytes, max_bytes: int) -> bytes:
    """The body that gzip made smaller, in one piece (RFC 1952 has several, which would be put together).

    Raises:
        RequestError: (413) It would be larger than `max_bytes`; (400) it isn't gzip, ends too early, or goes on.
    """
    stream = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        plain = stream.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise RequestError(f"The body isn't gzip, as its Content-Encoding says: {error}") from None
    if len(plain) > max_bytes:
        raise RequestError(f"The body is larger than {max_bytes} bytes when decompressed.", _TOO_LARGE)
    if not stream.eof:
        raise RequestError("The gzip body ends too early.")
    if stream.unused_data:
        raise RequestError("The gzip body goes on after its end.")
    return plain


def parse_json(body: bytes) -> dict[str, Any]:
    """The JSON object that a body is; NaN, Infinity and -Infinity are numbers (`NonFinite`).

    Raises:
        RequestError: (400) It is something else, or has an object in which a key comes twice.
    """
    if not body.strip():
        raise RequestError("JSON Parse error: The document is empty")
    try:
        document = _DECODER.decode(body.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise RequestError(f"JSON Parse error: not UTF-8 at offset: {error.start}") from None
    except json.JSONDecodeError as error:
        raise RequestError(f"JSON Parse error: {error.msg} at offset: {error.pos}") from None
    except ValueError:  # an integer of thousands of digits
        raise RequestError("JSON Parse error: a number is too long") from None
    except RecursionError:
        raise RequestError("JSON Parse error: nested too deeply") from None
    if not isinstance(document, dict):
        raise RequestError(f"JSON Value: {short(document)} Is not object")
    return document


def signature_name(document: Mapping[str, Any], default: str) -> str:
    """The signature that a request asks for.

    Raises:
        RequestError: (400) Its name isn't text.
    """
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise RequestError(f"'signature_name' key must be a string value, got {short(name)}.")
    return name or default


def predict_inputs(
    document: Mapping[str, Any], inputs: Mapping[str, tf.TensorSpec]
) -> tuple[dict[str, np.ndarray], bool]:
    """The arrays of a predict request, and whether it is in row format, in which it is then answered.

        {"instances": [value, ...]}  or  {"instances": [{name: value, ...}, ...]}      rows
        {"inputs": value}            or  {"inputs": {name: value, ...}}                columns

    Args:
        document: The body.
        inputs: The signature's, with the batch axis where it has one.

    Raises:
        RequestError: (400) The request isn't of one of these forms, or doesn't fit the signature.
    """
    if not inputs:
        raise RequestError("The signature takes no inputs, so it can't be called with a request.")
    is_row = "instances" in document
    if is_row == ("inputs" in document):
        raise RequestError(
            "Not formatted correctly: expecting only one of 'inputs' or 'instances' keys to exist."
            if is_row
            else "Missing 'inputs' or 'instances' key"
        )
    values = _rows(document["instances"], inputs) if is_row else _columns(document["inputs"], inputs)
    arrays = {name: to_array(value, inputs[name].dtype, name) for name, value in values.items()}
    for name, spec in inputs.items():
        if not _fits(arrays[name].shape, spec.shape):
            got, expected = list(arrays[name].shape), spec.shape.as_list()
            raise RequestError(f"Input {name!r} has shape {got}, expected is {expected}; None is any length.")
    return arrays, is_row


def _rows(instances: Any, inputs: Mapping[str, tf.TensorSpec]) -> dict[str, Any]:
    """`{name: list of values}` from a list of instances."""
    if not isinstance(instances, list):
        raise RequestError(f"Expecting 'instances' to be a list/array, got {short(instances)}.")
    if not instances:
        raise RequestError("No values in 'instances' array")
    are_objects = _is_object(instances[0])
    if not are_objects and len(inputs) > 1:
        raise RequestError(
            f"'instances' is a plain list, but the signature has several inputs: each instance must be an object with "
            f"{_listed(inputs)}."
        )
    for index, instance in enumerate(instances):
        if _is_object(instance) != are_objects:
            raise RequestError(
                f"Expecting {'object but got value/list' if are_objects else 'value/list but got object'} at item "
                f"{index} of 'instances'."
            )
        if are_objects and instance.keys() != inputs.keys():
            raise RequestError(
                f"Failed to process element: {index} of 'instances' list. Its keys are {_listed(instance)}, they must "
                f"be equal to: {_listed(inputs)}."
            )
    if not are_objects:
        return dict.fromkeys(inputs, instances)
    return {name: [instance[name] for instance in instances] for name in inputs}


def _columns(value: Any, inputs: Mapping[str, tf.TensorSpec]) -> dict[str, Any]:
    """`{name: value}` from one value or an object; what the signature doesn't take is passed over."""
    if not _is_object(value):
        if len(inputs) > 1:
            raise RequestError(
                f"'inputs' is a plain value/list, but the signature has several inputs: it must be an object with "
                f"{_listed(inputs)}."
            )
        return dict.fromkeys(inputs, value)
    for name in inputs:
        if name not in value:
            raise RequestError(f"Missing named input: {name} in 'inputs' object, which has {_listed(value)}.")
    return {name: value[name] for name in inputs}


def _is_object(value: Any) -> bool:
    """Whether it has named inputs: bytes are an object too, but one value."""
    return isinstance(value, dict) and not is_encoded(value)


def _fits(shape: tuple[int, ...], expected: tf.TensorShape) -> bool:
    if expected.rank is None:
        return True
    axes = zip(shape, expected.as_list(), strict=False)
    return len(shape) == expected.rank and all(axis in (None, length) for length, axis in axes)


def _listed(names: Any) -> str:
    return ", ".join(sorted(map(str, names))) or "nothing"
