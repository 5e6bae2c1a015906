"""OpenVINO's intermediate representation (IR), from the frozen graph."""

from __future__ import annotations

import pathlib
import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from framework.export.formats.narrowing import Narrowed
from framework.extras import require


def write_openvino(source: Narrowed, graph_def: Any, path: pathlib.Path, representative: Any) -> None:
    """Writes an `.xml` file and its `.bin` with float32 weights, the signature's names and an open batch axis."""
    openvino = require("openvino", extra="openvino", purpose="The format 'openvino'")
    frozen = path.with_name("frozen.pb")
    frozen.write_bytes(graph_def.SerializeToString())
    model = openvino.Core().read_model(str(frozen))
    for port in model.inputs:
        port.get_tensor().set_names({_known(port, source.inputs)})
    for port in model.outputs:
        port.get_tensor().set_names({_known(port, source.tensors.values())})
    openvino.save_model(model, str(path), compress_to_fp16=False)
    frozen.unlink()


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


def _known(port: Any, names: Any) -> str:
    """Which of our names a port has among its own, such as `image` or `image:0`."""
    return next(name for name in names if {name, f"{name}:0"} & set(port.get_names()))
