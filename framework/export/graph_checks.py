"""What a SavedModel must and mustn't hold, told from what the fresh process has seen in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from framework.export.errors import ProofError

Facts = Mapping[str, Any]

# Operations that call back into a Python process, which a server hasn't.
_PYTHON = re.compile(r"(Eager)?PyFunc(Stateless)?$")
# Those that update weights, or read or write a checkpoint. ScatterNd is none of them: it makes a new tensor.
_TRAINING = re.compile(
    r"(Resource|Sparse)?(Sparse)?Apply[A-Z]|Assign|ResourceScatter|Scatter(Nd)?(Update|Add|Sub|Mul|Div|Min|Max)$"
    r"|LookupTable(Insert|Import|Remove)|(Save|Restore)(V2)?$"
)
# Those that read files of the host. Tables are filled from assets before a signature is called.
_FILES = re.compile(r"ReadFile$|MatchingFiles|.*Reader(V2)?$|.*RecordDataset|TextLineDataset|(Experimental)?CSVDataset")
# Those that draw numbers from a state of their own; stateless ones answer the same each time.
_RANDOM = re.compile(
    r"(Random(Uniform|UniformInt|StandardNormal|Gamma|Poisson|PoissonV2|Shuffle)|TruncatedNormal|Multinomial"
    r"|ParameterizedTruncatedNormal|RngReadAndSkip|RngSkip|Stateful(Uniform.*|StandardNormal.*|TruncatedNormal))$"
)
_FORBIDDEN = (
    (_PYTHON, "calls Python", "tf.py_function and tf.numpy_function work in this process alone: use TensorFlow's own"),
    (_TRAINING, "changes variables or checkpoints", "call layers with training=False and keep updates out of call"),
    (_FILES, "reads files of its host", "send bytes, or use a lookup table, whose file becomes an asset"),
    (_RANDOM, "draws random numbers", "its answers can't be compared: use tf.random.stateless_* with seeds as inputs"),
)
_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
# What a checkpoint may hold besides the model's weights: a pipeline's, tables' contents, and TensorFlow's own notes.
_OTHER_WEIGHTS = "other_variables/"
_TABLES = "resources/"
_OTHER_KEYS = (_TABLES, "_CHECKPOINTABLE_OBJECT_GRAPH", "save_counter/")
# Of a checkpoint's file: the description of what belongs to which object.
_NOTES_BYTES = 16_384
_NOTES_BYTES_EACH = 1024


def check_facts(facts: Facts, manifest: Mapping[str, Any]) -> dict[str, int]:
    """Checks a SavedModel's signatures, operations, paths, variables and size; returns the sizes of its parts.

    Raises:
        ProofError: One isn't as it should be.
    """
    _check_signatures(facts["signatures"], manifest["signatures"])
    for name, signature in facts["signatures"].items():
        _check_operations(name, signature["operations"])
    if facts["host_paths"]:
        raise ProofError(
            "paths",
            f"The graph holds paths of this host: {', '.join(facts['host_paths'])}. Another host hasn't these files. A "
            "vocabulary file belongs into a lookup table that the pipeline or model has as an attribute.",
        )
    _check_variables(facts["variables"], manifest)
    return _check_sizes(facts["bytes"], facts["variables"], manifest["parameter_bytes"])


def _check_signatures(found: Facts, declared: Mapping[str, Any]) -> None:
    if set(found) != set(declared):
        raise ProofError("signatures", f"The SavedModel has the signatures {sorted(found)}, not {sorted(declared)}.")
    for name, signature in declared.items():
        for side in ("inputs", "outputs"):
            expected = {key: ([None, *value["shape"]], value["dtype"]) for key, value in signature[side].items()}
            got = found[name][side]
            if set(got) != set(expected) or not all(_agree(got[key], expected[key]) for key in expected):
                raise ProofError("signatures", f"Its {side} are {got}, expected {expected}.", signature=name)
        if found[name]["method_name"] != signature["method_name"]:
            raise ProofError(
                "signatures",
                f"It is called as {found[name]['method_name']!r}, expected {signature['method_name']!r}.",
                signature=name,
            )


def _agree(one: tuple[list | None, str], other: tuple[list | None, str]) -> bool:
    """Whether two forms (shape, dtype) can be those of the same tensors; `None` is any length, or any rank."""
    (shape, dtype), (other_shape, other_dtype) = one, other
    if dtype != other_dtype or shape is None or other_shape is None:
        return dtype == other_dtype
    return len(shape) == len(other_shape) and all(
        a == b or None in (a, b) for a, b in zip(shape, other_shape, strict=True)
    )


def _check_operations(signature: str, operations: Mapping[str, int]) -> None:
    for pattern, does, fix in _FORBIDDEN:
        forbidden = sorted(name for name in operations if pattern.match(name))
        if forbidden:
            raise ProofError("operations", f"Its graph {does}: {', '.join(forbidden)}; {fix}.", signature=signature)


def _check_variables(found: Facts, manifest: Mapping[str, Any]) -> None:
    """Checks that every variable is there and nothing else is."""
    expected = {f"{key}{_VALUE}": value for key, value in manifest["variables"].items()}
    strange = [key for key in found if key not in expected and not key.startswith((_OTHER_WEIGHTS, *_OTHER_KEYS))]
    missing = sorted(set(expected) - set(found))
    if strange or missing:
        raise ProofError(
            "variables", f"Its checkpoint lacks {missing} and has {sorted(strange)}, which no signature uses."
        )
    for key, variable in expected.items():
        shape, dtype = found[key]
        if [list(shape), dtype] != [variable["shape"], variable["dtype"]]:
            raise ProofError(
                "variables",
                f"{variable['name']} is {dtype}{list(shape)} in its checkpoint, expected {variable['dtype']}"
                f"{variable['shape']}.",
            )


def _check_sizes(found: Mapping[str, int], variables: Facts, parameter_bytes: int) -> dict[str, int]:
    """Checks that every variable is stored once."""
    stored = sum(size for path, size in found.items() if path.startswith("variables/"))
    notes = _NOTES_BYTES + _NOTES_BYTES_EACH * len(variables)
    has_tables = any(key.startswith(_TABLES) for key in variables)  # whose contents may be of any size
    if stored > parameter_bytes + notes and not has_tables:
        raise ProofError(
            "size", f"Its variables take {stored} bytes for parameters of {parameter_bytes}: something is stored twice."
        )
    return {
        "graph_bytes": found["saved_model.pb"],
        "variables_bytes": stored,
        "assets_bytes": sum(size for path, size in found.items() if path.startswith("assets/")),
    }
