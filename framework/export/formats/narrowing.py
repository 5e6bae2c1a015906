"""One signature of a SavedModel as a SavedModel of its own: what every converter can read.

Converters see a small graph with one way in, whose inputs and outputs have the names that clients know. Outputs of
text, such as `class_name`, are left out for formats that can't hold them, and what only they needed goes with them.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from framework.data.serving import DEFAULT, FEATURES
from framework.features import Feature


@dataclasses.dataclass(frozen=True)
class Narrowed:
    """A SavedModel with one signature.

    Attributes:
        directory: Where it lies.
        signature: Its only signature.
        inputs: `{name: Feature}`.
        outputs: `{name: Feature}`, those that were kept.
        left_out: Names of the outputs that weren't.
        has_text: Whether it may hold text.
    """

    directory: pathlib.Path
    signature: str
    inputs: Mapping[str, Feature]
    outputs: Mapping[str, Feature]
    left_out: tuple[str, ...]
    has_text: bool

    @property
    def tensors(self) -> dict[str, str]:
        """`{output: its tensor's name}`: the same, unless an input has that name (TensorFlow ignores case there)."""
        taken = {name.lower() for name in self.inputs}
        return {name: f"{name}_output" if name.lower() in taken else name for name in self.outputs}


def narrow(loaded: Any, signature: str, directory: pathlib.Path, *, has_text: bool) -> Narrowed:
    """Writes one signature as a SavedModel.

    Args:
        loaded: What `tf.saved_model.load` returned.
        signature: One of its signatures.
        directory: Where to.
        has_text: Whether outputs of text stay.

    Raises:
        ValueError: Nothing is left: all outputs are text.
    """
    function = loaded.signatures[signature]
    specs, answers = function.structured_input_signature[1], function.structured_outputs
    kept = {name: spec for name, spec in answers.items() if has_text or spec.dtype != tf.string}
    if not kept:
        raise ValueError(f"all outputs of the signature {signature!r} are text")

    @tf.function(autograph=False)
    def serve(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = function(**inputs)
        return {name: tf.identity(outputs[name], name=name) for name in kept}

    concrete = serve.get_concrete_function(**specs)
    module = tf.Module()
    module.used = list({id(variable): variable for variable in concrete.variables}.values())
    tf.saved_model.save(module, str(directory), signatures={signature: concrete})
    left_out = tuple(sorted(set(answers) - set(kept)))
    return Narrowed(directory, signature, features_of(specs), features_of(kept), left_out, has_text)


def features_of(specs: Mapping[str, Any]) -> dict[str, Feature]:
    """`{name: Feature}` of a concrete function's inputs or outputs."""
    return {name: Feature(tuple(spec.shape[1:]), spec.dtype.name) for name, spec in specs.items()}


def choose_signatures(loaded: Any, *, has_text: bool) -> tuple[list[str], dict[str, str]]:
    """The signatures that a format might hold, the best first, and why it can't hold the others.

    `serving_default` comes first: with the preprocessing in its graph, a client can't do it differently.

    Args:
        loaded: What `tf.saved_model.load` returned.
        has_text: Whether the format can hold text.
    """
    possible, refused = [], {}
    for name in (DEFAULT, FEATURES):
        if name in loaded.signatures:
            reason = obstacle(loaded.signatures[name], has_text=has_text)
            if reason is None:
                possible.append(name)
            else:
                refused[name] = reason
    return possible, refused


def obstacle(function: Any, *, has_text: bool) -> str | None:
    """Why a signature can't be converted, as far as one can tell without trying; `None` where nothing is in the way."""
    text = sorted(name for name, spec in function.structured_input_signature[1].items() if spec.dtype == tf.string)
    if text and not has_text:
        return f"its inputs {', '.join(map(repr, text))} are text"
    graph = function.graph.as_graph_def()
    nodes = [*graph.node, *(node for called in graph.library.function for node in called.node_def)]
    if any("LookupTable" in node.op for node in nodes):
        return "it looks values up in a table, which only a SavedModel can hold"
    return None
