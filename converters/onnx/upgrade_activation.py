"""Upgrades of activations: Clip, the Softmax family, PRelu."""

from __future__ import annotations

from converters.onnx.scope import Scope
from converters.onnx.upgrade import CannotUpgradeError, attribute_to_input, upgrade
from edgeinfer.graph import Node


@upgrade(11, "Clip")
def bounds_to_inputs(scope: Scope, node: Node) -> list[Node]:
    """The bounds became inputs of the dtype of the data."""
    if "min" in node.attributes or "max" in node.attributes:
        dtype = scope.dtype(node.input(0)).numpy
        attribute_to_input(scope, node, "min", 1, dtype)
        attribute_to_input(scope, node, "max", 2, dtype)
    return [node]


@upgrade(13, "Softmax", "LogSoftmax", "Hardmax")
def normalize_flattened(scope: Scope, node: Node) -> list[Node]:
    """All axes from ``axis`` on were normalised together, now ``axis`` alone is.

    Unless ``axis`` is the last one::

        y = Softmax(x) {axis=k}   becomes   shape = Shape(x)
                                            flat = Flatten(x) {axis=k}
                                            normalised = Softmax(flat) {axis=-1}
                                            y = Reshape(normalised, shape)
    """
    axis = node.attributes.get("axis", 1)
    rank = scope.rank(node.input(0))
    if axis == -1 or (rank is not None and axis == rank - 1):
        node.attributes["axis"] = -1
        return [node]
    (x,), (y,) = node.inputs, node.outputs
    shape, flat, normalized = (scope.names.fresh(f"{node.name}.{part}") for part in ("shape", "flat", "normalized"))
    return [
        Node("Shape", [x], [shape], {}, shape),
        Node("Flatten", [x], [flat], {"axis": axis}, flat),
        Node(node.op, [flat], [normalized], {"axis": -1}, node.name),
        Node("Reshape", [normalized, shape], [y], {}, f"{node.name}.reshape"),
    ]


@upgrade(7, "PRelu")
def align_slope(scope: Scope, node: Node) -> list[Node]:
    """A slope for each channel was a vector, now it broadcasts: [C] becomes [C, 1, 1] for a picture."""
    slope, rank = scope.constant(node.input(1)), scope.rank(node.input(0))
    if slope is None or (slope.size > 1 and rank is None):
        raise CannotUpgradeError("the slope of an old PRelu must be a constant and the rank of its input known")
    if slope.size > 1 and rank is not None:
        aligned = slope.reshape(-1, *[1] * (rank - 2))
        node.inputs[1] = scope.add_constant(f"{node.name}.slope", aligned)
    return [node]
