"""JSON values as arrays of a signature's dtypes."""

from __future__ import annotations

import base64
import binascii
import itertools
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


class NonFinite(float):
    """NaN, Infinity or -Infinity as a client wrote it; `1e999`, which Python takes for infinity as well, isn't one."""


def to_array(value: Any, dtype: tf.DType, name: str) -> np.ndarray:
    """An array of one JSON value: a number, text, truth value or `{"b64": ...}`, or evenly nested lists of them.

    Numbers aren't taken for text, nor truth values for numbers; a float is rounded to the signature's, an integer
    has to fit it.

    Args:
        value: As `parse_json` makes it.
        dtype: The signature's.
        name: The input's, for messages.

    Raises:
        RequestError: (400) The value is of another type, out of range or unevenly nested; (501) TensorFlow Serving has
            no JSON for this dtype.
    """
    items, shape = _flat(value, name)
    # NumPy isn't shown what isn't known: it makes numbers of truth values, and where there is one long text among
    # short ones, an array in which each takes the room of the longest.
    if dtype == tf.string:
        array = _texts(items, name)
    elif dtype == tf.bool:
        _check_types(items, (bool,), dtype, name)
        array = np.array(items, np.bool_)
    elif dtype in _FLOATS:
        types = _check_types(items, (float, int, NonFinite), dtype, name)
        array = _floats(items, types == {int}, dtype, name)
    elif dtype in _INTEGERS:
        _check_types(items, (int,), dtype, name)
        array = _integers(items, dtype, name)
    else:
        raise RequestError(f"Input {name!r} is {dtype.name}, for which requests have no JSON.", _NOT_IMPLEMENTED)
    return array.reshape(shape)


def is_encoded(value: Any) -> bool:
    """Whether a value is bytes: an object with the one key `b64`."""
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get(_B64), str)


def decode_base64(text: str, name: str) -> bytes:
    """The bytes that base64 stands for; padding may be missing, white space is passed over.

    Raises:
        RequestError: (400) It isn't base64.
    """
    encoded = "".join(text.split())
    try:
        return base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
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


def _flat(value: Any, name: str) -> tuple[list[Any], list[int]]:
    """The innermost values of evenly nested lists, and the lengths of the lists from the outermost."""
    shape: list[int] = []
    items = [value]
    while items and isinstance(items[0], list):
        if len(shape) == _MAX_AXES:
            raise RequestError(f"Input {name!r} has lists nested more than {_MAX_AXES} deep.")
        if set(map(type, items)) != {list} or len(set(map(len, items))) > 1:
            raise _uneven(name)
        shape.append(len(items[0]))
        items = items[0] if len(items) == 1 else list(itertools.chain.from_iterable(items))
    return items, shape


def _check_types(items: list[Any], expected: tuple[type, ...], dtype: tf.DType, name: str) -> set[type]:
    """Which of the types there are."""
    found = set(map(type, items))
    if list in found:
        raise _uneven(name)
    if not found.issubset(expected):
        raise _wrong_type(next(item for item in items if type(item) not in expected), dtype, name)
    return found


def _floats(items: list[Any], are_integers: bool, dtype: tf.DType, name: str) -> np.ndarray:
    lossy = RequestError(f"Input {name!r} has a number that {dtype.name} can't hold without loss of precision.")
    try:
        wide = np.array(items, np.float64)
    except OverflowError:  # an integer of hundreds of digits
        raise lossy from None
    # Integers are told from decimals: a float that can't hold one is the wrong dtype for it.
    if are_integers and np.abs(wide).max() >= 2 ** (24 if dtype == tf.float32 else 53):
        raise lossy
    with np.errstate(over="ignore"):
        array = wide.astype(dtype.as_numpy_dtype)
    if not all(isinstance(items[index], NonFinite) for index in np.flatnonzero(np.isinf(array))):
        raise lossy
    return array


def _integers(items: list[Any], dtype: tf.DType, name: str) -> np.ndarray:
    try:
        return np.array(items, dtype.as_numpy_dtype)
    except OverflowError:
        raise RequestError(f"Input {name!r} has an integer outside the range of {dtype.name}.") from None


def _texts(items: list[Any], name: str) -> np.ndarray:
    array = np.empty(len(items), object)
    for index, item in enumerate(items):
        if isinstance(item, str):
            array[index] = encode_text(item, name)
        elif is_encoded(item):
            array[index] = decode_base64(item[_B64], name)
        else:
            raise _uneven(name) if isinstance(item, list) else _wrong_type(item, tf.string, name)
    return array


def _uneven(name: str) -> RequestError:
    return RequestError(f"Input {name!r} has lists of different lengths, or values beside lists.")


def _wrong_type(value: Any, dtype: tf.DType, name: str) -> RequestError:
    return RequestError(f"Input {name!r} got {short(value)}, which is not of expected type: {dtype.name}.")
