"""Names of a model's variables that are the same whenever its builder is called.

Keras numbers unnamed layers by how many it has seen in the process (`conv2d`, `conv2d_7`), so `Variable.path` isn't
stable. Here they are numbered by their order within the model; names that a person gave stay as they are.
"""

from __future__ import annotations

import collections
import re
from collections.abc import Iterable

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
    """`{name that Keras made up: name by order within its model}`, of nested models' layers too."""
    renamed = canonical_names([(layer.name, snake_case(type(layer).__name__)) for layer in model.layers])
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            renamed |= _layer_names(layer)
    return renamed


def canonical_names(layers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """`{name: name by order}` of those layers of a model, given as (name, kind), whose names Keras made up."""
    counts: collections.Counter = collections.Counter()
    renamed = {}
    for name, kind in layers:
        if re.fullmatch(rf"{re.escape(kind)}(_\d+)?", name):
            renamed[name] = f"{kind}_{counts[kind]}" if counts[kind] else kind
            counts[kind] += 1
    return renamed


def snake_case(name: str) -> str:
    """As Keras names layers after their classes."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
