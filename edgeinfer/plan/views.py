"""Nodes that move no data: their output is the same bytes as one of their inputs."""

from __future__ import annotations

from collections.abc import Sequence

from edgeinfer.graph import ONNX, Graph, Node

_ALWAYS = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"}
_WHEN_SHAPE_STAYS = {"Dropout", "Expand", "Tile", "Concat", "Sum", "Max", "Min", "Mean"}


def view_source(node: Node, graph: Graph) -> str | None:
    """The input of which a node's output is a view, None if the node computes or moves something.

    Args:
        node: a node of ``graph``.
        graph: a static graph.
    """
    if node.domain != ONNX or not node.inputs or any(node.outputs[1:]):
        return None
    source, output = graph.types[node.inputs[0]], graph.types[node.outputs[0]]
    if node.op in _ALWAYS:
        return node.inputs[0]
    if node.op == "Transpose" and moves_no_data(source.shape or (), transpose_permutation(node, source.rank or 0)):
        return node.inputs[0]
    if node.op in ("Concat", "Sum", "Max", "Min", "Mean") and len(node.inputs) > 1:
        return None
    if node.op == "Cast" and source.dtype is output.dtype:
        return node.inputs[0]
    if node.op in _WHEN_SHAPE_STAYS and source.shape == output.shape:
        return node.inputs[0]
    return None


def transpose_permutation(node: Node, rank: int) -> tuple[int, ...]:
    """The permutation of an ONNX Transpose: its attribute, by default all axes reversed."""
    return tuple(node.attributes.get("perm") or range(rank - 1, -1, -1))


def moves_no_data(shape: Sequence[object], permutation: Sequence[int]) -> bool:
    """Whether a transpose keeps the order of all axes that are longer than 1."""
    moved = [axis for axis in permutation if shape[axis] != 1]
    return moved == sorted(moved)
