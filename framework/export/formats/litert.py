"""LiteRT (TensorFlow Lite): float32, float16 weights, int8 weights, or int8 throughout.

Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference".
Only built-in operations: the file runs on a plain runtime, without TensorFlow's own kernels beside it.
"""

from __future__ import annotations

import pathlib
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Literal

import numpy as np
import tensorflow as tf

from framework.export.formats.frozen import Frozen

Precision = Literal["float32", "float16", "dynamic", "int8"]


def write_litert(
    frozen: Frozen, path: pathlib.Path, representative: Mapping[str, np.ndarray] | None, *, precision: Precision
) -> None:
    """Writes a `.tflite` file that has the signature.

    Args:
        frozen: What to convert.
        path: Where to.
        representative: For `"int8"`: examples that show the ranges of activations, `{name: [examples, ...]}`.
        precision: `"float16"` halves the weights, `"dynamic"` stores them in 8 bits and computes activations' scales as
            they come, `"int8"` computes in integers wherever there is such a kernel, between float inputs and outputs.
    """
    source = frozen.source

    @tf.function(autograph=False)
    def serve(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = tf.graph_util.import_graph_def(
            frozen.graph_def,
            input_map={f"{name}:0": inputs[name] for name in source.inputs},
            return_elements=[f"{tensor}:0" for tensor in source.tensors.values()],
            name="",
        )
        return dict(zip(source.tensors, outputs, strict=True))

    concrete = serve.get_concrete_function(**{name: feature.spec(name) for name, feature in source.inputs.items()})
    with tempfile.TemporaryDirectory() as directory:
        # Only what comes from a SavedModel has a signature.
        tf.saved_model.save(tf.Module(), directory, signatures={source.signature: concrete})
        converter = tf.lite.TFLiteConverter.from_saved_model(directory, signature_keys=[source.signature])
        if precision != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if precision == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if precision == "int8":
            converter.representative_dataset = lambda: _one_by_one(representative or {})
        path.write_bytes(converter.convert())


def _one_by_one(examples: Mapping[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    for row in range(len(next(iter(examples.values())))):
        yield {name: values[row : row + 1] for name, values in examples.items()}


def open_litert(path: pathlib.Path, signature: str, outputs: Mapping[str, str]) -> Callable[..., dict[str, np.ndarray]]:
    """What calls a `.tflite` file with batches of any size; one call at a time, as its interpreter needs."""
    with warnings.catch_warnings():
        # 2026-11-23, tensorflow 2.21: "tf.lite.Interpreter is deprecated", for a package with no release for this
        # platform. Until the interpreter is gone from tf.lite.
        warnings.filterwarnings("ignore", ".*tf.lite.Interpreter is deprecated", UserWarning)
        interpreter = tf.lite.Interpreter(model_path=str(path))
    runner = interpreter.get_signature_runner(signature)
    ways_in = {name: details["index"] for name, details in runner.get_input_details().items()}
    ways_out = {name: details["index"] for name, details in runner.get_output_details().items()}
    shapes: dict[str, tuple[int, ...]] = {}
    lock = threading.Lock()

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        with lock:
            new = {name: inputs[name].shape for name in ways_in}
            if new != shapes:
                for name, shape in new.items():
                    interpreter.resize_tensor_input(ways_in[name], shape)
                interpreter.allocate_tensors()
                shapes.update(new)
            for name, index in ways_in.items():
                interpreter.set_tensor(index, inputs[name])
            interpreter.invoke()
            return {name: interpreter.get_tensor(index) for name, index in ways_out.items()}

    return run
