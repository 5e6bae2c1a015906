"""`gelu` for others than TensorFlow, whose own is made of `erfc`, an operation that no other runtime has.

Hendrycks and Gimpel 2016, "Gaussian Error Linear Units": gelu(x) = x / 2 * (1 + erf(x / sqrt(2))).
"""

from __future__ import annotations

import collections
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

_ROOT = math.sqrt(0.5)
_ROUNDED = 2.0**-8  # as far as bfloat16 may be from a constant; LiteRT wants to see it exact


def erfc_by_erf(graph_def: Any) -> None:
    """Writes `erfc(x)` as `1 + erf(-x)`, which ONNX and OpenVINO know; TensorFlow's optimizer inlines these calls.

    Args:
        graph_def: Changed in place.
    """

    @tf.function(autograph=False)
    def erfc(x: tf.Tensor) -> tf.Tensor:
        return tf.math.erf(-x) + 1.0

    made: dict[int, Any] = {}

    def call(node: Any) -> str:
        kind = node.attr["T"].type
        if kind not in made:
            made[kind] = erfc.get_concrete_function(tf.TensorSpec(None, tf.dtypes.as_dtype(kind))).function_def
        node.op = "PartitionedCall"
        node.attr.clear()
        node.attr["Tin"].list.type.append(kind)
        node.attr["Tout"].list.type.append(kind)
        node.attr["f"].func.name = made[kind].signature.name
        return node.name

    for node in [node for node in graph_def.node if node.op == "Erfc"]:
        call(node)
    for function in graph_def.library.function:
        # In a function's body a reference says the name of the result, too.
        renamed = {}
        for node in [node for node in function.node_def if node.op == "Erfc"]:
            name = call(node)
            renamed[f"{name}:y:0"] = f"{name}:output:0"
        for node in function.node_def:
            node.input[:] = [renamed.get(name, name) for name in node.input]
        for output, name in function.ret.items():
            function.ret[output] = renamed.get(name, name)
    graph_def.library.function.extend(made.values())


def spell_gelu(graph_def: Any) -> None:
    """Writes each `gelu` as `(x / 2) * (1 + erf(x / sqrt(2)))`, the one form for which LiteRT has a kernel.

    TensorFlow's optimizer leaves it with the factors in another order and with signs that cancel out.

    Args:
        graph_def: An optimized graph after `erfc_by_erf`, changed in place.
    """
    nodes = {node.name: node for node in graph_def.node}
    uses = collections.Counter(_origin(name) for node in graph_def.node for name in node.input)
    for product in graph_def.node:
        found = next(_gelus(nodes, product.name), None)
        if found is None:
            continue
        x, half, one_plus, inner, root, sign = found
        if uses[inner] == uses[sign] == 1:
            nodes[sign].op = "Mul"
            nodes[sign].input[:] = [root, x]
            nodes[inner].input[:] = [half, x]
            product.input[:] = [inner, one_plus]
            constant = nodes[root].attr["value"].tensor
            shape = tf.TensorShape(constant.tensor_shape)
            constant.CopyFrom(tf.make_tensor_proto(_ROOT, constant.dtype, shape.as_list()))


def _gelus(nodes: Mapping[str, Any], product: str) -> Iterator[tuple[str, str, str, str, str, str]]:
    """The names in `x * 0.5 * (erf(-(root * -x)) + 1)`, with factors in any order, where a node is such a product."""
    return (
        (x, half, one_plus, inner, root, sign)
        for inner, outer in _operands(nodes, product, "Mul")
        for one, other in _operands(nodes, inner, "Mul")
        # Either (half * (1 + erf)) * x or (half * x) * (1 + erf).
        for half, one_plus, x in ((one, other, outer), (one, outer, other))
        if _is_constant(nodes, half, 0.5)
        for erf, summand in _operands(nodes, one_plus, "AddV2")
        if _is_constant(nodes, summand, 1.0)
        for root, sign in _scaled(nodes, erf, x)
    )


def _scaled(nodes: Mapping[str, Any], erf: str, x: str) -> Iterator[tuple[str, str]]:
    """The constant and the outer sign in `erf(-(root * -x))`, where a node is that."""
    return (
        (root, sign)
        for (sign,) in _operands(nodes, erf, "Erf")
        for (scaled,) in _operands(nodes, sign, "Neg")
        for root, minus in _operands(nodes, scaled, "Mul")
        if _is_constant(nodes, root, _ROOT) and (x,) in _operands(nodes, minus, "Neg")
    )


def _operands(nodes: Mapping[str, Any], name: str, op: str) -> list[tuple[str, ...]]:
    """A node's operands in both orders; none where it is another operation."""
    if name not in nodes or nodes[name].op != op:
        return []
    names = tuple(_origin(given) for given in nodes[name].input)
    return [names, names[::-1]] if len(names) > 1 else [names]


def _origin(name: str) -> str:
    return name.removesuffix(":0")


def _is_constant(nodes: Mapping[str, Any], name: str, value: float) -> bool:
    if name not in nodes or nodes[name].op != "Const":
        return False
    array = tf.make_ndarray(nodes[name].attr["value"].tensor)
    return array.size == 1 and array.dtype.kind == "f" and bool(np.isclose(array, value, rtol=_ROUNDED, atol=0).all())
