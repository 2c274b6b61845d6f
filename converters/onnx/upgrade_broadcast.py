"""Upgrades of element-wise operators from opset 6, where broadcasting had to be asked for."""

from __future__ import annotations

import numpy as np

from converters.onnx.scope import Scope
from converters.onnx.upgrade import CannotUpgradeError, upgrade
from edgeinfer.graph import Node


@upgrade(7, "Add", "Sub", "Mul", "Div", "Pow", "And", "Or", "Xor", "Equal", "Greater", "Less")
def broadcast_as_numpy(scope: Scope, node: Node) -> list[Node]:
    """The second input was aligned to ``axis`` of the first; now the last axes are aligned.

    ``Add(a, b) {broadcast=1, axis=1}`` with ranks 4 and 1 becomes ``Add(a, Unsqueeze(b, [1, 2]))``.
    """
    broadcast = node.attributes.pop("broadcast", 0)
    axis = node.attributes.pop("axis", None)
    if not broadcast or axis is None:
        return [node]
    left, right = scope.rank(node.input(0)), scope.rank(node.input(1))
    if left is None or right is None:
        raise CannotUpgradeError("attribute 'axis' of opset 6 needs inputs of known rank")
    trailing = left - (axis % left) - right
    if trailing <= 0:
        return [node]
    aligned = scope.names.fresh(f"{node.name}.aligned")
    axes = scope.add_constant(f"{node.name}.axes", np.arange(right, right + trailing, dtype=np.int64))
    unsqueeze = Node("Unsqueeze", [node.inputs[1], axes], [aligned], {}, aligned)
    node.inputs[1] = aligned
    return [unsqueeze, node]


@upgrade(7, "Gemm")
def drop_broadcast(scope: Scope, node: Node) -> list[Node]:
    """The last input now always broadcasts."""
    node.attributes.pop("broadcast", None)
    return [node]
