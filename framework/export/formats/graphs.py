"""Changes to a frozen GraphDef that make it readable for others than TensorFlow."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import tensorflow as tf

_CALLS = {"StatefulPartitionedCall": "PartitionedCall"}
_BRANCHES = {"If": "StatelessIf", "While": "StatelessWhile"}
_HALF = {tf.float16.as_datatype_enum, tf.bfloat16.as_datatype_enum}
_FLOAT = tf.float32.as_datatype_enum


def all_nodes(graph_def: Any) -> list[Any]:
    """The nodes of a graph and of its functions."""
    return [*graph_def.node, *(node for function in graph_def.library.function for node in function.node_def)]


def called_functions(node: Any) -> list[str]:
    """The names of the functions that a node calls."""
    functions = [function for value in node.attr.values() for function in [value.func, *value.list.func]]
    return [function.name for function in functions if function.name]


def reachable_functions(nodes: Iterable[Any], library: Any) -> list[Any]:
    """The functions of a library that nodes may call, and those that these may call."""
    by_name = {function.signature.name: function for function in library.function}
    found: dict[str, Any] = {}
    waiting = list(nodes)
    while waiting:
        for name in called_functions(waiting.pop()):
            if name in by_name and name not in found:
                found[name] = by_name[name]
                waiting.extend(by_name[name].node_def)
    return list(found.values())


def rename_functions(graph_def: Any) -> None:
    """Gives functions, in place, the names that no others have: different ones of one name can't be in one process."""
    library = graph_def.library.SerializeToString(deterministic=True)
    prefix = f"function_{hashlib.blake2b(library, digest_size=4).hexdigest()}"
    names = {called.signature.name: f"{prefix}_{index}" for index, called in enumerate(graph_def.library.function)}
    for called in graph_def.library.function:
        called.signature.name = names[called.signature.name]
    for node in all_nodes(graph_def):
        for value in node.attr.values():
            for function in [value.func, *value.list.func] if value.func.name or value.list.func else []:
                function.name = names.get(function.name, function.name)


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


def drop_state(graph_def: Any, *, keep_checks: bool) -> None:
    """Says in a graph with constants that there is no state left: what is known to have none is inlined, or dropped.

    Args:
        graph_def: Changed in place.
        keep_checks: Whether `tf.debugging.assert_*` stays; its messages are text.
    """
    stateless = _CALLS if keep_checks else _CALLS | _BRANCHES  # a check is a branch
    for node in all_nodes(graph_def):
        if node.op == "Assert" and not keep_checks:
            node.op = "NoOp"
            node.input[:] = [f"^{name.lstrip('^').partition(':')[0]}" for name in node.input]
            node.attr.clear()
        node.op = stateless.get(node.op, node.op)
        # Loops and branches stay functions, which all converters read, instead of TensorFlow 1's Switch and Merge.
        node.attr.pop("_lower_using_switch_merge", None)


def compute_in_float32(graph_def: Any) -> bool:
    """Makes a graph that computes in half precision compute in float32; returns whether there was anything to change.

    A run with `precision="mixed_float16"` or `"mixed_bfloat16"` exports a model that rounds between its layers: good on
    the accelerators it was trained on. Other runtimes lack such kernels, or choose the precision themselves.

    Args:
        graph_def: Changed in place.
    """
    functions = graph_def.library.function
    changed = [_change(value) for node in all_nodes(graph_def) for value in node.attr.values()]
    for function in functions:
        for argument in [*function.signature.input_arg, *function.signature.output_arg]:
            if argument.type in _HALF:
                argument.type = _FLOAT
    return any(changed)


def _change(value: Any) -> bool:
    """Changes one attribute: a type, a list of types, or a constant."""
    if value.type in _HALF:
        value.type = _FLOAT
    elif value.tensor.dtype in _HALF:
        value.tensor.CopyFrom(tf.make_tensor_proto(tf.make_ndarray(value.tensor).astype("float32")))
    elif set(value.list.type) & _HALF:
        value.list.type[:] = [_FLOAT if kind in _HALF else kind for kind in value.list.type]
    else:
        return False
    return True
