"""Bodies of answers."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from framework.serving.rest.errors import RequestError

_BYTES_SUFFIX = "_bytes"  # of an output whose text is bytes
_INTERNAL = 500


def predictions(outputs: Mapping[str, np.ndarray], *, is_row: bool) -> bytes:
    """`{"predictions": [...]}` to a request in row format, `{"outputs": ...}` to one in column format.

    The name of a single output is left out. NaN and infinities are the tokens NaN, Infinity and -Infinity, as
    TensorFlow Serving, Python's `json` and JavaScript have them.

    Raises:
        RequestError: (400) In row format, an output doesn't have one entry for each instance; or a dtype has no JSON.
    """
    if not outputs:
        raise RequestError("The signature has no outputs.")
    if is_row:
        sizes = {name: array.shape[:1] for name, array in outputs.items()}
        if () in sizes.values() or len(set(sizes.values())) > 1:
            raise RequestError(
                "Outputs have inconsistent batch sizes, so they can't be given in rows: "
                f"{', '.join(f'{name} {list(array.shape)}' for name, array in outputs.items())}. Ask with 'inputs'."
            )
    values = {name: _texts(array, name) for name, array in outputs.items()}
    if len(values) == 1:
        (answer,) = map(_nested, values.values())
    elif is_row:
        rows = zip(*(map(_nested, value) for value in values.values()), strict=True)
        answer = _list(_object(values, row) for row in rows)
    else:
        answer = _object(values, map(_nested, values.values()))
    return _object(["predictions" if is_row else "outputs"], [answer])


def classifications(classes: np.ndarray | None, scores: np.ndarray | None, count: int) -> bytes:
    """`{"results": [[[label, score], ...], ...]}` from `[examples, classes]` of either or both.

    Raises:
        RequestError: (400) They have other shapes or dtypes.
    """
    given = {"classes": classes, "scores": scores}
    arrays = {name: array for name, array in given.items() if array is not None}
    for name, array in arrays.items():
        dtype = object if name == "classes" else np.float32
        if array.ndim != 2 or len(array) != count or array.dtype != dtype:
            raise RequestError(
                f"Expected Tensor shape: [batch_size num_classes] of {'string' if dtype is object else 'float'}, but "
                f"the output {name!r} is {array.dtype} {list(array.shape)} for {count} examples."
            )
    shapes = {array.shape for array in arrays.values()}
    if len(shapes) != 1:
        raise RequestError(f"Expected outputs 'classes' or 'scores', or both of one shape; got {sorted(shapes)}.")
    (shape,) = shapes
    labels = _texts(arrays["classes"], "classes") if "classes" in arrays else np.full(shape, b'""').tolist()
    values = _texts(arrays["scores"], "scores") if "scores" in arrays else np.full(shape, b"0.0").tolist()
    rows = [[list(pair) for pair in zip(*row, strict=True)] for row in zip(labels, values, strict=True)]
    return _object(["results"], [_nested(rows)])


def regressions(outputs: np.ndarray, count: int) -> bytes:
    """`{"results": [value, ...]}` from float `[examples]` or `[examples, 1]`.

    Raises:
        RequestError: (400) It has another shape or dtype.
    """
    if outputs.dtype != np.float32 or outputs.shape not in ((count,), (count, 1)):
        raise RequestError(
            f"Expected output Tensor shape to be either [batch_size] or [batch_size, 1] of float, but got "
            f"{outputs.dtype} {list(outputs.shape)} for {count} examples."
        )
    return _object(["results"], [_nested(_texts(outputs.reshape(count), "outputs"))])


def status(versions: Iterable[tuple[int, str, str, str]]) -> bytes:
    """What `GetModelStatusResponse` is as JSON, from `(version, state, error code, error message)`."""
    return to_json(
        {
            "model_version_status": [
                {"version": str(version), "state": state, "status": {"error_code": code, "error_message": message}}
                for version, state, code, message in versions
            ]
        }
    )


def metadata(model: str, version: int, definitions: Mapping[str, Any]) -> bytes:
    """What `GetModelMetadataResponse` is as JSON, from `{signature: SignatureDef as JSON}`."""
    return to_json(
        {
            "model_spec": {"name": model, "signature_name": "", "version": str(version)},
            "metadata": {"signature_def": {"signature_def": dict(definitions)}},
        }
    )


def error(message: str) -> bytes:
    """`{"error": message}`."""
    return to_json({"error": message})


def to_json(value: Any) -> bytes:
    """UTF-8 without spaces; text that isn't Unicode is escaped."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace")


def _texts(array: np.ndarray, name: str) -> Any:
    """The JSON of each value, in nested lists.

    NumPy writes all numbers of an array at once, float32 with the digits that it has and no more, in half the time that
    rounding and `json` take for them one by one; for a thousand classes that is more than the model's.

    Raises:
        RequestError: (400) The dtype has no JSON.
    """
    kind = array.dtype.kind
    if kind == "b":
        return np.where(array, b"true", b"false").tolist()
    if kind in "iu":
        return array.astype("S20").tolist()
    if kind == "f":
        texts = array.astype("S24")
        if not np.isfinite(array).all():
            texts = np.where(np.isnan(array), b"NaN", np.where(array == np.inf, b"Infinity", texts))
            texts = np.where(array == -np.inf, b"-Infinity", texts)
        return texts.tolist()
    if kind != "O":
        raise RequestError(f"Failed to write JSON value for output {name!r} of type: {array.dtype}")
    texts = np.empty(array.size, object)
    for index, value in enumerate(array.ravel()):
        texts[index] = _text(value, name)
    return texts.reshape(array.shape).tolist()


def _text(value: Any, name: str) -> bytes:
    if not isinstance(value, bytes):
        return _nested(_texts(value, name))  # a part of outputs of different shapes
    if not name.endswith(_BYTES_SUFFIX):
        try:
            return to_json(value.decode())
        except UnicodeDecodeError:
            pass  # the output's name doesn't say that it is bytes, but no text is like this
    return to_json({"b64": base64.b64encode(value).decode()})


def _nested(texts: Any) -> bytes:
    """One JSON value of nested lists of them."""
    if isinstance(texts, bytes):
        return texts
    return _list(texts if texts and isinstance(texts[0], bytes) else map(_nested, texts))


def _list(texts: Iterable[bytes]) -> bytes:
    return b"[" + b",".join(texts) + b"]"


def _object(names: Iterable[str], texts: Iterable[bytes]) -> bytes:
    return b"{" + b",".join(to_json(name) + b":" + text for name, text in zip(names, texts, strict=True)) + b"}"
