"""OpenVINO's intermediate representation (IR), from the frozen graph."""

from __future__ import annotations

import pathlib
import tempfile
import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from framework.export.formats.frozen import Frozen
from framework.extras import require


def write_openvino(frozen: Frozen, path: pathlib.Path, representative: Any) -> None:
    """Writes an `.xml` file and its `.bin` with float32 weights, the signature's names and an open batch axis."""
    openvino = require("openvino", extra="openvino", purpose="The format 'openvino'")
    with tempfile.TemporaryDirectory() as directory:
        graph = pathlib.Path(directory, "frozen.pb")  # which it only reads from a file
        graph.write_bytes(frozen.graph_def.SerializeToString(deterministic=True))
        model = openvino.Core().read_model(str(graph))
        _name_inputs_and_outputs(model, list(frozen.source.inputs), list(frozen.source.tensors.values()))
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


def _name_inputs_and_outputs(model: Any, inputs: list[str], outputs: list[str]) -> None:
    """Calls them as the signature does, without the `:0` of TensorFlow's tensors.

    Raises:
        ValueError: An output isn't there under its name.
    """
    for port in model.inputs:
        port.get_tensor().set_names({_known(port, inputs)})
    missing = set(outputs)
    for port in model.outputs:
        name = _known(port, outputs)
        if name is None:
            model.remove_result(port.get_node())  # an input that nothing uses is taken for an output too
        else:
            port.get_tensor().set_names({name})
            missing.discard(name)
    if missing:
        raise ValueError(f"OpenVINO has no tensors {sorted(missing)}: an output can't be an input as it is")


def _known(port: Any, names: list[str]) -> str | None:
    """Which of our names a port has among its own, such as `image` or `image:0`."""
    return next((name for name in names if {name, f"{name}:0"} & set(port.get_names())), None)
