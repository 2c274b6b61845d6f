"""Unsigned bytes between quantized operators as signed ones that are 128 less, for kernels that multiply signed bytes.

    before: QConv ──uint8──▶ QAdd      after: QConv ──int8──▶ QAdd, zero points 128 less

Inputs and outputs of the graph stay what they are, and so does whatever an operator touches that is not listed here.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edgeinfer.graph import FUSED, DType, Graph, Node, TensorType
from edgeinfer.plan.kernel_set import KernelSet

# Operators by what they read: inputs, each with its zero point's; and the input that is the zero point of the result.
_PRODUCTS: tuple[dict[int, int], int] = ({0: 2}, 7)
_PAIRS: tuple[dict[int, int], int] = ({0: 2, 3: 5}, 7)
_POOLS: tuple[dict[int, int], int] = ({0: 2}, 4)
_ZERO_POINTS = {
    "QConv": _PRODUCTS, "QConvTranspose": _PRODUCTS, "QMatMul": _PRODUCTS, "QAdd": _PAIRS, "QMul": _PAIRS,
    "QAveragePool": _POOLS, "QGlobalAveragePool": _POOLS, "QSoftmax": _POOLS,
    "QuantizeLinear": ({}, 2), "DequantizeLinear": ({0: 2}, -1),
}  # fmt: skip
# Operators that hand bytes on; the greatest byte stays the greatest.
_MOVES = {"Concat", "Flatten", "Identity", "MaxPool", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"}
_FLIP = 128


def takes_signed_bytes(kernels: KernelSet) -> bool:
    """Whether kernels of products read signed bytes."""
    return any(row.traits.get("x_offset") for row in kernels.family("qu8_conv"))


def with_signed_bytes(graph: Graph) -> Graph:
    """A static graph whose bytes are signed wherever all that touch them can do with that."""
    chosen = _convertible(graph)
    if not chosen:
        return graph
    result = graph.copy()
    for name in chosen:
        result.types[name] = TensorType(DType.INT8, result.types[name].shape)
    shifted: dict[str, str] = {}
    for node in result.nodes:
        for value, zero_point in _roles(node):
            if value in chosen and zero_point >= 0:
                name = node.inputs[zero_point]
                if name not in shifted:
                    array = result.constants[name].astype(np.int16) - _FLIP
                    shifted[name] = result.add_constant(f"{name}.signed", array.astype(np.int8))
                node.inputs[zero_point] = shifted[name]
    return result


def _roles(node: Node) -> Iterator[tuple[str, int]]:
    """Values of bytes that a node reads or writes, each with the input that is its zero point; -1 where none is."""
    if node.op in _ZERO_POINTS and (node.domain == FUSED or not node.op.startswith("Q") or node.op == "QuantizeLinear"):
        reads, written = _ZERO_POINTS[node.op]
        yield from ((node.input(index), zero_point) for index, zero_point in reads.items())
        if written >= 0:
            yield node.outputs[0], written
    elif node.op in _MOVES:
        inputs = node.inputs if node.op == "Concat" else node.inputs[:1]
        yield from ((name, -1) for name in [*inputs, node.outputs[0]])


def _convertible(graph: Graph) -> set[str]:
    """Values that can become signed: those that moves connect only all together."""
    chosen = {
        name for node in graph.nodes for name in node.outputs
        if name and graph.types[name].dtype is DType.UINT8 and name not in graph.outputs
    }  # fmt: skip
    for node in graph.nodes:
        roles = list(_roles(node))
        known = {name for name, _ in roles}
        chosen -= {name for name in [*node.inputs, *node.outputs] if name not in known}
        for name, zero_point in roles:
            if node.op not in _MOVES and node.input(zero_point) not in graph.constants:
                chosen.discard(name)
    before = -1
    moves = [node for node in graph.nodes if node.op in _MOVES]
    while len(chosen) != before:
        before = len(chosen)
        for node in moves:
            names = {name for name, _ in _roles(node)}
            if not names <= chosen:
                chosen -= names
    return chosen
