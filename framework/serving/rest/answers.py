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
    values = {name: plain(array, name) for name, array in outputs.items()}
    if len(values) == 1:
        (answer,) = values.values()
    elif is_row:
        answer = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
    else:
        answer = values
    return to_json({"predictions" if is_row else "outputs": answer})


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
    labels: Any = plain(arrays["classes"], "classes") if "classes" in arrays else np.full(shape, "").tolist()
    values: Any = plain(arrays["scores"], "scores") if "scores" in arrays else np.zeros(shape).tolist()
    rows = [[list(pair) for pair in zip(*row, strict=True)] for row in zip(labels, values, strict=True)]
    return to_json({"results": rows})


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
    return to_json({"results": plain(outputs.reshape(count), "outputs")})


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


def plain(array: np.ndarray, name: str) -> Any:
    """An output's values as JSON has them, float32 with the digits that it has and no more.

    Raises:
        RequestError: (400) The dtype has no JSON.
    """
    kind = array.dtype.kind
    if kind == "f" and array.dtype.itemsize < 8:
        # NumPy writes the shortest text that is read as the same float32, and does it for all values at once.
        return array.astype("S24").astype(np.float64).tolist()
    if kind in "fiub":
        return array.tolist()
    if kind != "O":
        raise RequestError(f"Failed to write JSON value for output {name!r} of type: {array.dtype}")
    texts = np.empty(array.size, object)
    for index, value in enumerate(array.ravel()):
        texts[index] = _text(value, name)
    return texts.reshape(array.shape).tolist()


def _text(value: Any, name: str) -> Any:
    if isinstance(value, bytes):
        if not name.endswith(_BYTES_SUFFIX):
            try:
                return value.decode()
            except UnicodeDecodeError:
                pass  # the output's name doesn't say that it is bytes, but no text is like this
        return {"b64": base64.b64encode(value).decode()}
    return plain(value, name)  # a part of outputs of different shapes
