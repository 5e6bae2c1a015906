"""The formats there are."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from framework.export.formats.frozen import open_frozen, write_frozen
from framework.export.formats.litert import Precision, open_litert, write_litert
from framework.export.formats.onnx import open_onnx, write_onnx
from framework.export.formats.openvino import open_openvino, write_openvino
from framework.extras import require
from framework.registry import did_you_mean

SAVED_MODEL = "saved_model"

Call = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Format:
    """One way to deploy a signature.

    Attributes:
        name: How it is asked for.
        file: The name of the file that a runtime opens.
        write: `write(frozen, path, representative)` converts.
        open: `open(path, signature, tensors)` returns what calls the file.
        tolerance: The largest difference from the SavedModel, as a share of an output's largest value (or of 1, where
            all are smaller).
        is_quantized: Whether weights lose so much that a metric has to decide.
        needs_examples: Whether it can't be made without representative examples.
        has_text: Whether it can hold text.
        modules: What it is made with, and the extra that brings it.
    """

    name: str
    file: str
    write: Callable[..., None]
    open: Callable[[pathlib.Path, str, Mapping[str, str]], Call]
    tolerance: float
    is_quantized: bool = False
    needs_examples: bool = False
    has_text: bool = False
    modules: tuple[str, ...] = ()
    extra: str = ""


def _litert(name: str, precision: Precision, tolerance: float, **settings: Any) -> Format:
    write = functools.partial(write_litert, precision=precision)
    return Format(name, "model.tflite", write, open_litert, tolerance, **settings)


FORMATS: dict[str, Format] = {
    kind.name: kind
    for kind in (
        Format("frozen", "frozen_graph.pb", write_frozen, open_frozen, 1e-4, has_text=True),
        _litert("litert", "float32", 1e-4),
        _litert("litert_f16", "float16", 1e-2),
        _litert("litert_dynamic", "dynamic", 0.1, is_quantized=True),
        _litert("litert_int8", "int8", 0.2, is_quantized=True, needs_examples=True),
        Format(
            "onnx",
            "model.onnx",
            write_onnx,
            open_onnx,
            1e-4,
            modules=("onnx", "tf2onnx", "onnxruntime"),
            extra="onnx",
        ),
        Format("openvino", "model.xml", write_openvino, open_openvino, 1e-4, modules=("openvino",), extra="openvino"),
    )
}


def check_formats(names: Iterable[str]) -> list[Format]:
    """The formats of these names, all of which can be made here; `"saved_model"` is passed over: it is there anyway.

    Cheap enough to call before training: whoever asked for ONNX shouldn't learn after a night that it isn't installed.

    Raises:
        ValueError: There is no such format; the near names are in the message.
        ImportError: A package that a format needs isn't installed; the message names the extra.
    """
    if isinstance(names, str):
        raise ValueError(f"formats must be a list of names, such as ({names!r},); got the text {names!r}.")
    found = {}
    for name in names:
        if name == SAVED_MODEL:
            continue
        if name not in FORMATS:
            raise ValueError(
                f"There is no format {name!r}.{did_you_mean(str(name), [SAVED_MODEL, *FORMATS])} "
                f"Formats: {', '.join([SAVED_MODEL, *FORMATS])}."
            )
        found[name] = FORMATS[name]
        for module in FORMATS[name].modules:
            if importlib.util.find_spec(module) is None:  # not imported here: converters change the process they are in
                require(module, extra=FORMATS[name].extra, purpose=f"The format {name!r}")
    return list(found.values())
