"""Small questions that fusion rules ask of a graph."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edgeinfer.graph import ONNX, DType, GraphView, Node


def is_op(node: Node | None, *operators: str, domain: str = ONNX) -> bool:
    """Whether a node is one of some operators of a domain."""
    return node is not None and node.domain == domain and node.op in operators


def made_by(view: GraphView, name: str, *operators: str) -> Node | None:
    """The node that makes a value if it is one of some ONNX operators."""
    producer = view.producer(name)
    return producer if is_op(producer, *operators) else None


def is_real(view: GraphView, name: str) -> bool:
    """Whether a value holds float32 or float16 numbers: on integers, arithmetic rounds and wraps otherwise."""
    known = view.graph.types.get(name)
    return known is not None and known.dtype in (DType.FLOAT32, DType.FLOAT16)


def scalar(view: GraphView, name: str) -> float | None:
    """The value of a constant with one element, else None."""
    array = view.graph.constants.get(name)
    if array is None or array.size != 1 or array.dtype.kind not in "fiu":
        return None
    return float(array.ravel()[0])


def is_scalar(view: GraphView, name: str, value: float) -> bool:
    """Whether a value is a constant with one element of this value (to float32 accuracy)."""
    found = scalar(view, name)
    return found is not None and abs(found - value) <= 1e-6 * max(1.0, abs(value))


def is_power(view: GraphView, node: Node, base: str, exponent: float) -> bool:
    """Whether a node raises a value to a constant power, in the shape of the value."""
    if not is_op(node, "Pow") or node.inputs[0] != base or not is_scalar(view, node.inputs[1], exponent):
        return False
    return keeps_rank(view, base, node.inputs[1])


def operands(node: Node) -> Iterator[tuple[str, str]]:
    """The two operands of a commutative node, in both orders."""
    first, second = node.inputs
    yield first, second
    yield second, first


def scalar_operand(view: GraphView, node: Node | None, operator: str) -> tuple[str, float] | None:
    """The operand and the number of a commutative node ``x + 3`` or ``3 + x`` of an operator."""
    if node is None or not is_op(node, operator) or len(node.inputs) != 2:
        return None
    for name, other in operands(node):
        value = scalar(view, other)
        if value is not None and name not in view.graph.constants and keeps_rank(view, name, other):
            return name, value
    return None


def keeps_rank(view: GraphView, name: str, constant: str) -> bool:
    """Whether a constant with one element broadcasts with a value without adding axes to it."""
    known = view.graph.types.get(name)
    rank = known.rank if known is not None else None
    return view.graph.constants[constant].ndim <= (1 if rank is None else rank)


def scaled_operand(view: GraphView, node: Node | None) -> tuple[str, float] | None:
    """The operand and the factor of a node ``x * a``, ``a * x`` or ``x / (1 / a)``."""
    if node is not None and is_op(node, "Div"):
        divisor = scalar(view, node.inputs[1])
        return (node.inputs[0], 1.0 / divisor) if divisor and keeps_rank(view, *node.inputs) else None
    return scalar_operand(view, node, "Mul")


def is_close(value: float, expected: float, tolerance: float = 1e-4) -> bool:
    """Whether a number read from a model is an expected one, written with some digits."""
    return abs(value - expected) <= tolerance * abs(expected)


def other_input(node: Node, name: str) -> str | None:
    """The second operand of a binary node whose one operand is ``name``."""
    if len(node.inputs) != 2 or name not in node.inputs:
        return None
    return node.inputs[1] if node.inputs[0] == name else node.inputs[0]


def consumers_of(view: GraphView, name: str, *operators: str) -> list[Node]:
    """The nodes of some ONNX operators that read a value."""
    return [node for node in view.consumers.get(name, []) if is_op(node, *operators)]


def only_read_by(view: GraphView, name: str, *nodes: Node) -> bool:
    """Whether a value is no output of the graph and nobody but these nodes reads it."""
    allowed = {id(node) for node in nodes}
    return not view.is_output(name) and all(id(reader) in allowed for reader in view.consumers.get(name, []))


def axes_of(view: GraphView, node: Node) -> list[int] | None:
    """The axes of a Reduce node as non-negative numbers, None if they or the rank are unknown."""
    known = view.graph.types.get(node.inputs[0])
    axes = view.graph.constants.get(node.input(1)) if node.input(1) else None
    if known is None or known.rank is None or axes is None:
        return None
    return sorted(int(axis) % known.rank for axis in axes)


def per_channel(view: GraphView, name: str, rank: int, channels: int) -> np.ndarray | None:
    """A constant that broadcasts over a picture [N, C, …] as one value a channel, as an array [C]."""
    array = view.graph.constants.get(name)
    if array is None or array.ndim > rank:
        return None
    shape = (1,) * (rank - array.ndim) + array.shape
    if any(dim != 1 for axis, dim in enumerate(shape) if axis != 1) or shape[1] not in (1, channels):
        return None
    return np.broadcast_to(array.reshape(shape)[0].ravel(), (channels,)).copy()
