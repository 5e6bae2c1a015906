"""ONNX, by tf2onnx, from the frozen graph."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from framework.export.formats.frozen import Frozen
from framework.extras import require

# The newest that tf2onnx 1.17 writes and tests; every runtime since onnxruntime 1.14 (2023) reads it.
_OPSET = 18


def write_onnx(frozen: Frozen, path: pathlib.Path, representative: Any) -> None:
    """Writes an `.onnx` file with the signature's names and an open batch axis."""
    tf2onnx = require("tf2onnx.convert", extra="onnx", purpose="The format 'onnx'")
    source = frozen.source
    outputs = list(source.tensors.values())
    tf2onnx.from_graph_def(
        frozen.graph_def,
        name=source.signature,
        input_names=[f"{name}:0" for name in source.inputs],
        output_names=[f"{tensor}:0" for tensor in outputs],
        tensors_to_rename={f"{name}:0": name for name in [*source.inputs, *outputs]},
        opset=_OPSET,
        output_path=str(path),
    )


def open_onnx(path: pathlib.Path, signature: str, outputs: Mapping[str, str]) -> Callable[..., dict[str, np.ndarray]]:
    """What calls an `.onnx` file on the CPU, with onnxruntime."""
    onnxruntime = require("onnxruntime", extra="onnx", purpose="The format 'onnx'")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    taken = {value.name for value in session.get_inputs()}

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        fed = {name: value for name, value in inputs.items() if name in taken}
        return dict(zip(outputs, session.run(list(outputs.values()), fed), strict=True))

    return run
