"""OpenVINO's intermediate representation (IR), from the frozen graph."""

from __future__ import annotations

import pathlib
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from framework.export.formats.frozen import Frozen
from framework.extras import require


def write_openvino(frozen: Frozen, path: pathlib.Path, representative: Any) -> None:
    """Writes an `.xml` file and its `.bin` with float32 weights, the signature's names and an open batch axis."""
    openvino = require("openvino", extra="openvino", purpose="The format 'openvino'")
    with tempfile.TemporaryDirectory() as directory:
        graph = pathlib.Path(directory, "frozen.pb")  # which it only reads from a file
        graph.write_bytes(frozen.graph_def.SerializeToString())
        model = openvino.Core().read_model(str(graph))
        for port in model.inputs:
            port.get_tensor().set_names({_known(port, frozen.source.inputs)})
        for port in model.outputs:
            port.get_tensor().set_names({_known(port, frozen.source.tensors.values())})
        openvino.save_model(model, str(path), compress_to_fp16=False)


def open_openvino(
    path: pathlib.Path, signature: str, outputs: Mapping[str, str]
) -> Callable[..., dict[str, np.ndarray]]:
    """What calls an IR file on the CPU in float32; on processors that have bfloat16, that is OpenVINO's default."""
    openvino = require("openvino", extra="openvino", purpose="The format 'openvino'")
    model = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    taken = {port.get_any_name() for port in model.inputs}
    lock = threading.Lock()

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        with lock:
            answer = model({name: value for name, value in inputs.items() if name in taken}, share_outputs=False)
        return {name: answer[tensor] for name, tensor in outputs.items()}

    return run


def _known(port: Any, names: Iterable[str]) -> str:
    """Which of our names a port has among its own, such as `image` or `image:0`."""
    for name in names:
        if {name, f"{name}:0"} & set(port.get_names()):
            return name
    raise ValueError(f"OpenVINO calls a tensor {sorted(port.get_names())}, expected one of {sorted(names)}")
