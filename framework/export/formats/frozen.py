"""The frozen graph: one GraphDef file with the weights as constants, for those who don't load SavedModels.

Made with public API alone. `convert_variables_to_constants` freezes; then the graph runs once in a session that is
asked for what TensorFlow's graph optimizer made of it: calls inlined, constants folded (a batch normalization into its
convolution), dead ends pruned. Rewrites for one kind of processor are off: it must run anywhere.

The other converters that read graphs start from it too.
"""

from __future__ import annotations

import pathlib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from framework.export.formats.narrowing import Narrowed

v1 = tf.compat.v1

_TAGS = ["serve"]
_STATELESS = {"StatefulPartitionedCall": "PartitionedCall"}


def freeze(source: Narrowed, inputs: Mapping[str, np.ndarray]) -> Any:
    """The optimized GraphDef of a signature.

    Its inputs are placeholders with the names of the signature's inputs, its outputs are nodes with the names that
    `source.tensors` gives. Checks of values (`tf.debugging.assert_*`) speak text: they stay where `source` may have it.

    Args:
        source: What to freeze.
        inputs: Any batch that it takes.

    Raises:
        ValueError: The signature uses something that can't be frozen.
    """
    graph_def, ways_in, ways_out = _with_constants(source)
    with tf.Graph().as_default() as graph:
        fed = {name: v1.placeholder(f.dtype, (None, *f.shape), name=name) for name, f in source.inputs.items()}
        outputs = tf.graph_util.import_graph_def(
            graph_def,
            input_map={tensor: fed[name] for name, tensor in ways_in.items()},
            return_elements=list(ways_out.values()),
            name="model",
        )
        fetched = [tf.identity(x, name=source.tensors[name]) for name, x in zip(ways_out, outputs, strict=True)]
    feeds = {fed[name]: value for name, value in inputs.items()}
    optimized = _optimized(graph, fetched, feeds, keep_checks=source.has_text)
    return _portable(optimized, graph_def, source)


def text_operations(graph_def: Any) -> list[str]:
    """The types of operations that take or make text, sorted."""
    with tf.Graph().as_default() as graph:
        tf.graph_util.import_graph_def(graph_def, name="")
    return sorted(
        {
            operation.type
            for operation in graph.get_operations()
            if any(tensor.dtype == tf.string for tensor in [*operation.inputs, *operation.outputs])
        }
    )


def write_frozen(source: Narrowed, graph_def: Any, path: pathlib.Path, representative: Any) -> None:
    """Writes the frozen graph."""
    path.write_bytes(graph_def.SerializeToString())


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
        loaded = v1.saved_model.loader.load(session, _TAGS, str(source.directory))
        signature = loaded.signature_def[source.signature]
        ways_in = {name: signature.inputs[name].name for name in source.inputs}
        ways_out = {name: signature.outputs[name].name for name in source.outputs}
        graph_def = v1.graph_util.convert_variables_to_constants(
            session, graph.as_graph_def(), sorted({tensor.partition(":")[0] for tensor in ways_out.values()})
        )
    for node in [*graph_def.node, *(node for called in graph_def.library.function for node in called.node_def)]:
        # No state is left; the optimizer inlines only what is known to have none.
        node.op = _STATELESS.get(node.op, node.op)
        # Loops stay functions, which all converters read, instead of TensorFlow 1's Switch and Merge.
        node.attr.pop("_lower_using_switch_merge", None)
    return graph_def, ways_in, ways_out


def _optimized(graph: tf.Graph, fetched: list[tf.Tensor], feeds: Mapping[Any, np.ndarray], *, keep_checks: bool) -> Any:
    """The graph that a session really runs."""
    config = v1.ConfigProto(device_count={"GPU": 0})
    rewrites, older = config.graph_options.rewrite_options, config.graph_options.optimizer_options
    rewrites.min_graph_nodes = -1  # small graphs too
    rewrites.remapping = rewrites.OFF  # fused kernels, which only TensorFlow has
    rewrites.layout_optimizer = rewrites.OFF
    rewrites.debug_stripper = rewrites.OFF if keep_checks else rewrites.ON
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
            origin, colon, rest = name.partition(":")
            copy.input[index] = placeholders.get(origin, origin) + colon + rest
        for attribute in [name for name in node.attr if name.startswith("_")]:
            del copy.attr[attribute]
    portable.library.function.extend(_called(portable.node, original.library))
    _check(portable, source)
    return portable


def _called(nodes: Iterable[Any], library: Any) -> list[Any]:
    """The functions that nodes may call, and those that these may call."""
    by_name = {function.signature.name: function for function in library.function}
    found: dict[str, Any] = {}
    waiting = list(nodes)
    while waiting:
        for value in waiting.pop().attr.values():
            for name in [value.func.name, *(function.name for function in value.list.func)]:
                if name in by_name and name not in found:
                    found[name] = by_name[name]
                    waiting.extend(by_name[name].node_def)
    return list(found.values())


def _check(graph_def: Any, source: Narrowed) -> None:
    names = {node.name for node in graph_def.node}
    missing = sorted(set(source.tensors.values()) - names)
    if missing:
        raise ValueError(f"the optimizer lost the outputs {missing}")
    nodes = [*graph_def.node, *(node for called in graph_def.library.function for node in called.node_def)]
    stateful = sorted({node.op for node in nodes if node.op.startswith("_") or "Variable" in node.op})
    if stateful:
        raise ValueError(f"the operations {', '.join(stateful)} can't be frozen")
