"""JSON values as arrays of a signature's dtypes."""

from __future__ import annotations

import base64
import binascii
import reprlib
from typing import Any

import numpy as np
import tensorflow as tf

from framework.serving.rest.errors import RequestError

_B64 = "b64"
_NOT_IMPLEMENTED = 501
_MAX_AXES = 64  # of a NumPy array
_FLOATS = (tf.float32, tf.float64)
_INTEGERS = (tf.int8, tf.int16, tf.int32, tf.int64, tf.uint8, tf.uint32, tf.uint64)


def to_array(value: Any, dtype: tf.DType, name: str, *, booleans: bool = True) -> np.ndarray:
    """An array of one JSON value: a number, text, truth value or `{"b64": ...}`, or evenly nested lists of them.

    Numbers aren't taken for text, nor truth values for numbers; a float is rounded to the signature's, an integer
    has to fit it.

    Args:
        value: As `json.loads` makes it.
        dtype: The signature's.
        name: The input's, for messages.
        booleans: Whether there may be truth values; where there are none, numbers needn't be looked through for them.

    Raises:
        RequestError: (400) The value is of another type, out of range or unevenly nested; (501) TensorFlow Serving has
            no JSON for this dtype.
    """
    if dtype == tf.string:
        return _text(value, name)
    if dtype == tf.bool:
        array = _evenly_nested(value, name)
        if array.size and array.dtype.kind != "b":
            raise _wrong_type(value, dtype, name)
        return array.astype(np.bool_)
    if dtype in _FLOATS:
        return _floats(_numbers(value, dtype, name, booleans), dtype, name)
    if dtype in _INTEGERS:
        return _integers(_numbers(value, dtype, name, booleans), dtype, name)
    raise RequestError(f"Input {name!r} is {dtype.name}, for which requests have no JSON.", _NOT_IMPLEMENTED)


def is_encoded(value: Any) -> bool:
    """Whether a value is bytes: an object with the one key `b64`."""
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get(_B64), str)


def decode_base64(text: str, name: str) -> bytes:
    """The bytes that base64 stands for; padding may be missing.

    Raises:
        RequestError: (400) It isn't base64.
    """
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise RequestError(f"Input {name!r} has a {_B64} value that isn't base64: {short(text)}") from None


def encode_text(text: str, name: str) -> bytes:
    """UTF-8.

    Raises:
        RequestError: (400) The text has half of a surrogate pair, which JSON can write and UTF-8 can't.
    """
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise RequestError(f"Input {name!r} has text with half of a surrogate pair: {short(text)}") from None


def short(value: Any) -> str:
    """A value for a message, in few characters."""
    return reprlib.repr(value)


def _floats(array: np.ndarray, dtype: tf.DType, name: str) -> np.ndarray:
    # Integers come as such, and are told from decimals: a float that can't hold one is the wrong dtype for it.
    if array.dtype.kind in "iu" and array.size:
        largest = 2 ** (24 if dtype == tf.float32 else 53) - 1
        if int(array.max()) > largest or int(array.min()) < -largest:
            raise RequestError(f"Input {name!r} has an integer that {dtype.name} can't hold without loss of precision.")
    with np.errstate(over="ignore"):
        converted = array.astype(dtype.as_numpy_dtype)
    if (np.isinf(converted) & np.isfinite(array)).any():
        raise RequestError(f"Input {name!r} has a number that {dtype.name} can't hold without loss of precision.")
    return converted


def _integers(array: np.ndarray, dtype: tf.DType, name: str) -> np.ndarray:
    if array.size and array.dtype.kind not in "iu":
        raise _wrong_type(array.tolist(), dtype, name)
    if array.size and (int(array.max()) > dtype.max or int(array.min()) < dtype.min):
        raise RequestError(f"Input {name!r} has an integer outside the range of {dtype.name}.")
    return array.astype(dtype.as_numpy_dtype)


def _numbers(value: Any, dtype: tf.DType, name: str, booleans: bool) -> np.ndarray:
    array = _evenly_nested(value, name)
    is_number = array.dtype.kind in "iuf" or not array.size
    # NumPy makes numbers of truth values that are among numbers.
    if not is_number or (booleans and any(isinstance(item, bool) for item in _items(value))):
        raise _wrong_type(value, dtype, name)
    return array


def _evenly_nested(value: Any, name: str) -> np.ndarray:
    try:
        return np.asarray(value)
    except (ValueError, OverflowError):
        raise RequestError(f"Input {name!r} has lists of different lengths, or numbers beside lists.") from None


def _text(value: Any, name: str) -> np.ndarray:
    shape: list[int] = []
    items = [value]
    while items and isinstance(items[0], list):
        if len(shape) == _MAX_AXES:
            raise RequestError(f"Input {name!r} has lists nested more than {_MAX_AXES} deep.")
        lengths = {len(item) if isinstance(item, list) else -1 for item in items}
        if len(lengths) > 1:
            raise RequestError(f"Input {name!r} has lists of different lengths, or text beside lists.")
        shape.append(lengths.pop())
        items = [inner for item in items for inner in item]
    array = np.empty(len(items), object)
    for index, item in enumerate(items):
        if isinstance(item, str):
            array[index] = encode_text(item, name)
        elif is_encoded(item):
            array[index] = decode_base64(item[_B64], name)
        else:
            raise _wrong_type(item, tf.string, name)
    return array.reshape(shape)


def _items(value: Any) -> list[Any]:
    """The innermost values of evenly nested lists."""
    items = [value]
    while items and isinstance(items[0], list):
        items = [inner for item in items for inner in item]
    return items


def _wrong_type(value: Any, dtype: tf.DType, name: str) -> RequestError:
    return RequestError(f"Input {name!r} got {short(value)}, which is not of expected type: {dtype.name}.")
