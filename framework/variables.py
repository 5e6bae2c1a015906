"""Names of a model's variables that are the same whenever its builder is called.

Keras numbers unnamed layers by how many it has seen in the process (`conv2d`, `conv2d_7`), so `Variable.path` isn't
stable. Here they are numbered by their order within the model; names that a person gave stay as they are.
"""

from __future__ import annotations

import collections
import re
from collections.abc import Iterator

import keras


def variable_names(model: keras.Model) -> list[str]:
    """A unique name for each of `model.variables`, in their order, such as `"conv2d_1/kernel"`."""
    renamed = _layer_names(model)
    names: list[str] = []
    seen: collections.Counter = collections.Counter()
    for variable in model.variables:
        name = "/".join(renamed.get(part, part) for part in variable.path.split("/"))
        seen[name] += 1
        names.append(name if seen[name] == 1 else f"{name}_{seen[name] - 1}")
    return names


def _layer_names(model: keras.Model) -> dict[str, str]:
    """`{name that Keras made up: name by order within the model}`."""
    counts: collections.Counter = collections.Counter()
    renamed = {}
    for layer in _layers(model):
        kind = _snake_case(type(layer).__name__)
        if re.fullmatch(rf"{re.escape(kind)}(_\d+)?", layer.name):
            renamed[layer.name] = f"{kind}_{counts[kind]}" if counts[kind] else kind
            counts[kind] += 1
    return renamed


def _layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    for layer in model.layers:
        yield layer
        if isinstance(layer, keras.Model):
            yield from _layers(layer)


def _snake_case(name: str) -> str:
    """As Keras names layers after their classes."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
