"""The frozen graph: one GraphDef file with the weights as constants, for those who don't load SavedModels.

Made with public API alone. `convert_variables_to_constants` freezes; then the graph runs once in a session that is
asked for what TensorFlow's graph optimizer made of it: calls inlined, constants folded (a batch normalization into its
convolution), dead ends pruned. Rewrites for one kind of processor are off: it must run anywhere.

The other converters start from it too.
"""

from __future__ import annotations

import collections
import dataclasses
import pathlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from framework.export.formats.gelu import erfc_by_erf, spell_gelu
from framework.export.formats.graphs import (
    all_nodes,
    called_functions,
    compute_in_float32,
    drop_state,
    reachable_functions,
    rename_functions,
)
from framework.export.formats.narrowing import Narrowed

v1 = tf.compat.v1

_HALF = {"float16", "bfloat16"}
_CALL = r"\b(Stateful)?PartitionedCall/"  # the path of calls that were inlined


@dataclasses.dataclass(frozen=True)
class Frozen:
    """A signature as a graph.

    Attributes:
        source: The signature.
        graph_def: Inputs are placeholders with the names of the signature's inputs, outputs are nodes with the names
            that `source.tensors` gives.
        was_half: Whether the signature computes in half precision, and this in float32.
    """

    source: Narrowed
    graph_def: Any
    was_half: bool


def freeze(source: Narrowed, inputs: Mapping[str, np.ndarray]) -> Frozen:
    """The optimized graph of a signature.

    Where `source` may have text, it is for TensorFlow: checks of values (`tf.debugging.assert_*`, which speak text) and
    half precision stay, and so does `erfc`.

    Args:
        source: What to freeze.
        inputs: Any batch that it takes.

    Raises:
        ValueError: The signature uses something that can't be frozen.
    """
    graph_def, ways_in, ways_out = _with_constants(source)
    drop_state(graph_def, keep_checks=source.has_text)
    crosses_border = _HALF & {feature.dtype for feature in [*source.inputs.values(), *source.outputs.values()]}
    was_half = not source.has_text and not crosses_border and compute_in_float32(graph_def)
    if not source.has_text:
        erfc_by_erf(graph_def)
    with tf.Graph().as_default() as graph:
        fed = {name: v1.placeholder(f.dtype, (None, *f.shape), name=name) for name, f in source.inputs.items()}
        outputs = tf.graph_util.import_graph_def(
            graph_def,
            input_map={tensor: fed[name] for name, tensor in ways_in.items()},
            return_elements=list(ways_out.values()),
            name="model",
        )
        fetched = [tf.identity(x, name=source.tensors[name]) for name, x in zip(ways_out, outputs, strict=True)]
    optimized = _optimized(graph, fetched, {fed[name]: value for name, value in inputs.items()})
    return Frozen(source, _portable(optimized, graph_def, source), was_half)


def write_frozen(frozen: Frozen, path: pathlib.Path, representative: Any) -> None:
    """Writes the frozen graph."""
    path.write_bytes(frozen.graph_def.SerializeToString(deterministic=True))


def open_frozen(path: pathlib.Path, signature: str, outputs: Mapping[str, str]) -> Callable[..., dict[str, np.ndarray]]:
    """What calls a frozen graph, in a session and graph of its own."""
    graph_def = v1.GraphDef.FromString(path.read_bytes())
    with tf.Graph().as_default() as graph:
        tf.graph_util.import_graph_def(graph_def, name="")
    session = v1.Session(graph=graph)
    fetches = {name: f"{tensor}:0" for name, tensor in outputs.items()}

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return session.run(fetches, {f"{name}:0": value for name, value in inputs.items()})

    return run


def _with_constants(source: Narrowed) -> tuple[Any, dict[str, str], dict[str, str]]:
    """The graph as saved, with constants for variables, and the names of its inputs' and outputs' tensors."""
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        loaded = v1.saved_model.loader.load(session, ["serve"], str(source.directory))
        signature = loaded.signature_def[source.signature]
        ways_in = {name: signature.inputs[name].name for name in source.inputs}
        ways_out = {name: signature.outputs[name].name for name in source.outputs}
        graph_def = v1.graph_util.convert_variables_to_constants(
            session, graph.as_graph_def(), sorted({tensor.partition(":")[0] for tensor in ways_out.values()})
        )
    return graph_def, ways_in, ways_out


def _optimized(graph: tf.Graph, fetched: list[tf.Tensor], feeds: Mapping[Any, np.ndarray]) -> Any:
    """The graph that a session really runs."""
    config = v1.ConfigProto(device_count={"GPU": 0})
    rewrites, older = config.graph_options.rewrite_options, config.graph_options.optimizer_options
    rewrites.min_graph_nodes = -1  # small graphs too
    rewrites.remapping = rewrites.OFF  # fused kernels, which only TensorFlow has
    rewrites.layout_optimizer = rewrites.OFF
    rewrites.disable_tfg_optimizer = True  # makes functions of branches that aren't part of what a session tells
    older.opt_level = older.L0  # it folds a recurrent layer's empty list into a constant that no other runtime reads
    metadata = v1.RunMetadata()
    with v1.Session(graph=graph, config=config) as session:
        session.run(fetched, feeds, options=v1.RunOptions(output_partition_graphs=True), run_metadata=metadata)
    if len(metadata.partition_graphs) != 1:
        raise ValueError(f"the graph was split among {len(metadata.partition_graphs)} devices, expected one")
    return metadata.partition_graphs[0]


def _portable(graph_def: Any, original: Any, source: Narrowed) -> Any:
    """Undoes what belongs to one session: where values are fed and fetched, devices, private attributes."""
    placeholders = {
        node.name: name
        for node in graph_def.node
        for name in source.inputs
        if node.op == "_Arg" and re.fullmatch(rf"_arg_{re.escape(name)}_0_\d+", node.name)
    }
    portable = v1.GraphDef(versions=graph_def.versions)
    with tf.Graph().as_default() as graph:
        for name, feature in source.inputs.items():
            v1.placeholder(feature.dtype, (None, *feature.shape), name=name)
        portable.node.extend(graph.as_graph_def().node)
    for node in graph_def.node:
        if node.op in ("_Arg", "_Retval"):
            continue
        copy = portable.node.add()
        copy.CopyFrom(node)
        copy.device = ""
        for index, name in enumerate(node.input):
            origin = name.lstrip("^").partition(":")[0]
            copy.input[index] = name.replace(origin, placeholders.get(origin, origin), 1)
        for attribute in [name for name in node.attr if name.startswith("_")]:
            del copy.attr[attribute]
    _shorten_names(portable)
    portable.library.function.extend(reachable_functions(portable.node, original.library))
    rename_functions(portable)
    if not source.has_text:
        spell_gelu(portable)
    _check(portable, source)
    return portable


def _shorten_names(graph_def: Any) -> None:
    """Leaves out of the nodes' names what they were called through, where they stay different; files keep them all."""
    short = {node.name: re.sub(_CALL, "", node.name) for node in graph_def.node}
    taken = collections.Counter(short.values())
    names = {name: new if taken[new] == 1 and new not in short else name for name, new in short.items()}
    for node in graph_def.node:
        node.name = names[node.name]
        for index, name in enumerate(node.input):
            origin = name.lstrip("^").partition(":")[0]
            node.input[index] = name.replace(origin, names[origin], 1)


def _check(graph_def: Any, source: Narrowed) -> None:
    names = {node.name for node in graph_def.node}
    missing = sorted(set(source.tensors.values()) - names)
    if missing:
        raise ValueError(f"the optimizer lost the outputs {missing}")
    stateful = sorted({node.op for node in all_nodes(graph_def) if node.op.startswith("_") or "Variable" in node.op})
    if stateful:
        raise ValueError(f"the operations {', '.join(stateful)} can't be frozen")
    defined = {function.signature.name for function in graph_def.library.function}
    undefined = sorted({name for node in all_nodes(graph_def) for name in called_functions(node)} - defined)
    if undefined:
        raise ValueError(f"the optimizer made the functions {undefined}, which can't be had")
