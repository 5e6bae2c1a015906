"""Starting from weights that another run learned."""

from __future__ import annotations

import dataclasses
import fnmatch
import os
import pathlib
import re
from collections.abc import Mapping, Sequence

import h5py
import keras
import numpy as np
import tensorflow as tf

from framework import files
from framework.export.versions import BEST, read_manifest
from framework.registry import did_you_mean
from framework.training.run_directory import CONFIG
from framework.variables import canonical_names, variable_names

# What a Keras weights file has beside layers.
_NO_LAYERS = ("vars", "optimizer")


@dataclasses.dataclass(frozen=True)
class WarmStart:
    """Where a new run's weights come from. A run that goes on takes its own.

    Attributes:
        source: A run directory (its best epoch is taken), an export, a `.weights.h5` or a `.keras` file.
        mapping: `{prefix of names here: prefix of names in the source}` for layers that are called differently:
            `{"encoder/": "backbone/"}`. Names are those of `framework.variables.variable_names`.
        reinitialize: Shell patterns of names that keep their initial values: `("logits/*",)`.
    """

    source: str | os.PathLike
    mapping: Mapping[str, str] = dataclasses.field(default_factory=dict)
    reinitialize: Sequence[str] = ()

    def __post_init__(self):
        if isinstance(self.reinitialize, str):
            raise TypeError(f"reinitialize is a list of patterns, got the single text {self.reinitialize!r}.")
        object.__setattr__(self, "source", os.fspath(self.source))


@dataclasses.dataclass(frozen=True)
class WarmStartReport:
    """What became of each variable.

    Attributes:
        loaded: `{name here: name in the source}`.
        reinitialized: Listed to be so.
        missing: Not in the source; they keep their initial values.
        unused: In the source, with no place here.
    """

    loaded: dict[str, str]
    reinitialized: list[str]
    missing: list[str]
    unused: list[str]

    def __str__(self) -> str:
        def listed(names: Sequence[str]) -> str:
            return f": {', '.join(names)}" if names else ""

        return (
            f"{len(self.loaded)} variables loaded; {len(self.reinitialized)} re-initialized as asked"
            f"{listed(self.reinitialized)}; {len(self.missing)} not in the source{listed(self.missing)}; "
            f"{len(self.unused)} of the source not used{listed(self.unused)}."
        )


def load_weights(model: keras.Model, warm_start: WarmStart) -> WarmStartReport:
    """Gives `model` the weights of the source, by name.

    Raises:
        FileNotFoundError: There is nothing at the source.
        ValueError: A shape differs in a layer that isn't to be re-initialized, no name matches, or a pattern or
            prefix fits nothing.
    """
    source = read_weights(pathlib.Path(warm_start.source))
    targets = {
        name: variable
        for name, variable in zip(variable_names(model), model.variables, strict=True)
        if not name.endswith("seed_generator_state")
    }
    fresh = [name for name in targets if any(fnmatch.fnmatch(name, pattern) for pattern in warm_start.reinitialize)]
    _check_used(warm_start, targets)
    by_position = _positional(targets)
    loaded, missing, wrong = {}, [], []
    for name, variable in targets.items():
        if name in fresh:
            continue
        wanted = _mapped(name, warm_start.mapping)
        found = next((n for n in (wanted, _mapped(by_position[name], warm_start.mapping)) if n in source), None)
        if found is None:
            missing.append(name)
        elif tuple(source[found].shape) != tuple(variable.shape):
            wrong.append(f"  {name}: here {tuple(variable.shape)}, in the source {tuple(source[found].shape)}")
        else:
            loaded[name] = found
    if wrong:
        listed = "\n".join(wrong)
        raise ValueError(
            f"Shapes differ from {warm_start.source}:\n{listed}\n"
            "List the layers that are to start anew: reinitialize=('layer/*',)."
        )
    if not loaded:
        near = did_you_mean(missing[0], source) if missing else ""
        raise ValueError(
            f"No variable of {warm_start.source} has a name of this model.{near} Here: {', '.join(list(targets)[:8])}; "
            f"there: {', '.join(list(source)[:8])}. Give a mapping={{prefix here: prefix there}}."
        )
    for name, found in loaded.items():
        targets[name].assign(source[found])
    return WarmStartReport(loaded, fresh, missing, sorted(set(source) - set(loaded.values())))


def read_weights(path: pathlib.Path) -> dict[str, np.ndarray]:
    """`{name: value}` of a run's best epoch, an export, a `.weights.h5` or a `.keras` file.

    A `.weights.h5` file knows layers by name, but variables by number only: `"conv2d/0"`.

    Raises:
        FileNotFoundError: There is nothing, or a run without an export.
        ValueError: It is none of these.
    """
    if not path.exists():
        raise FileNotFoundError(f"There is nothing to start from at {path}.")
    if path.is_file():
        if path.name.endswith(".weights.h5"):
            return _read_h5(path)
        if path.suffix == ".keras":
            loaded = keras.saving.load_model(path, compile=False)
            values = (keras.ops.convert_to_numpy(variable) for variable in loaded.variables)
            return dict(zip(variable_names(loaded), values, strict=True))
        raise ValueError(f"Weights come from a run, an export, a .weights.h5 or a .keras file, got {path.name}.")
    if (path / CONFIG).exists():
        pointer = path / "export" / BEST
        if not pointer.exists():
            raise FileNotFoundError(f"The run {path} has no export yet.")
        path = path / "export" / str(files.read_json(pointer)["version"])
    reader = tf.train.load_checkpoint(str(path / "variables" / "variables"))
    variables = read_manifest(path)["variables"]
    return {entry["name"]: reader.get_tensor(f"{key}/.ATTRIBUTES/VARIABLE_VALUE") for key, entry in variables.items()}


def _read_h5(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Keras files a layer under its class and number (`conv2d_1`) and notes its name beside its variables."""
    found: dict[str, np.ndarray] = {}

    def visit(group: h5py.Group, parents: tuple[str, ...]) -> None:
        layers = {}
        inside = {key: child for key, child in group.items() if isinstance(child, h5py.Group) and key not in _NO_LAYERS}
        for key, child in inside.items():
            own = child.get("vars")
            if own is not None and "name" in own.attrs:
                kind, _, number = re.fullmatch(r"(.*?)(_(\d+))?", key).groups()  # type: ignore[union-attr]
                layers[key] = (str(own.attrs["name"]), kind, int(number or 0))
            else:
                visit(child, parents)
        ordered = sorted(layers.values(), key=lambda layer: layer[2])
        renamed = canonical_names((name, kind) for name, kind, _ in ordered)
        for key, (name, _, _) in layers.items():
            inner = (*parents, renamed.get(name, name))
            found.update({"/".join((*inner, number)): value[()] for number, value in group[key]["vars"].items()})
            visit(group[key], inner)

    with h5py.File(path) as file:
        visit(file, ())
    return found


def _positional(names: Mapping[str, object]) -> dict[str, str]:
    """`{"conv2d/kernel": "conv2d/0", ...}`: a variable by its number within its layer."""
    counts: dict[str, int] = {}
    positions = {}
    for name in names:
        layer = name.rpartition("/")[0]
        positions[name] = f"{layer}/{counts.get(layer, 0)}"
        counts[layer] = counts.get(layer, 0) + 1
    return positions


def _mapped(name: str, mapping: Mapping[str, str]) -> str:
    """The name in the source; the longest prefix that fits decides."""
    prefix = max((prefix for prefix in mapping if name.startswith(prefix)), key=len, default=None)
    return name if prefix is None else mapping[prefix] + name[len(prefix) :]


def _check_used(warm_start: WarmStart, targets: Mapping[str, object]) -> None:
    idle = [p for p in warm_start.reinitialize if not any(fnmatch.fnmatch(name, p) for name in targets)]
    idle += [prefix for prefix in warm_start.mapping if not any(name.startswith(prefix) for name in targets)]
    if idle:
        raise ValueError(
            f"No variable of the model fits {', '.join(map(repr, idle))}.{did_you_mean(idle[0], targets)} "
            f"Variables: {', '.join(targets)}."
        )
