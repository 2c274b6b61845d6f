"""Small questions that fusion rules ask of a graph."""

from __future__ import annotations

import numpy as np

from edgeinfer.graph import ONNX, GraphView, Node


def is_op(node: Node | None, *operators: str, domain: str = ONNX) -> bool:
    """Whether a node is one of some operators of a domain."""
    return node is not None and node.domain == domain and node.op in operators


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
    if array is None:
        return None
    shape = (1,) * (rank - array.ndim) + array.shape
    if len(shape) != rank or any(dim != 1 for axis, dim in enumerate(shape) if axis != 1):
        return None
    return np.broadcast_to(array.reshape(shape)[0].ravel(), (channels,)).copy() if shape[1] in (1, channels) else None
