"""Operators of older opsets rewritten to their newest form, one node at a time.

An upgrade takes the graph (to add constants to), the node, and the types known so far; it returns the
nodes that replace it. It applies if the model's opset is below the opset that brought the new form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from edgeinfer.errors import ConversionError
from edgeinfer.graph import Graph, Node, TensorType

Types = Mapping[str, TensorType]
Upgrade = Callable[[Graph, Node, Types], list[Node]]

_UPGRADES: dict[str, list[tuple[int, Upgrade]]] = {}


def upgrade(below: int, *operators: str) -> Callable[[Upgrade], Upgrade]:
    """Register the decorated function for models whose opset is below ``below``."""

    def register(function: Upgrade) -> Upgrade:
        for operator in operators:
            _UPGRADES.setdefault(operator, []).append((below, function))
        return function

    return register


def upgrade_node(graph: Graph, node: Node, opset: int, types: Types) -> list[Node]:
    """The nodes, in the newest form, that do what a node of a model of this opset does."""
    nodes = [node]
    for below, function in sorted(_UPGRADES.get(node.op, []), key=lambda entry: entry[0]):
        if opset < below:
            nodes = [new for old in nodes for new in (function(graph, old, types) if old.op == node.op else [old])]
    return nodes


def _attribute_to_input(graph: Graph, node: Node, name: str, position: int, dtype: type) -> None:
    """Move an attribute to an input, as a constant."""
    if name not in node.attributes:
        return
    value = graph.add_constant(f"{node.name}.{name}", np.asarray(node.attributes.pop(name), dtype))
    node.inputs += [""] * (position + 1 - len(node.inputs))
    node.inputs[position] = value


@upgrade(13, "Squeeze", "Unsqueeze", "ReduceSum")
@upgrade(18, "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare")
@upgrade(18, "ReduceLogSum", "ReduceLogSumExp")
def _axes_to_input(graph: Graph, node: Node, types: Types) -> list[Node]:
    _attribute_to_input(graph, node, "axes", 1, np.int64)
    return [node]


@upgrade(13, "Split")
def _split_to_input(graph: Graph, node: Node, types: Types) -> list[Node]:
    _attribute_to_input(graph, node, "split", 1, np.int64)
    return [node]


@upgrade(18, "Split")
def _count_outputs(graph: Graph, node: Node, types: Types) -> list[Node]:
    if not node.input(1):
        node.attributes.setdefault("num_outputs", len(node.outputs))
    return [node]


@upgrade(11, "Clip")
def _bounds_to_inputs(graph: Graph, node: Node, types: Types) -> list[Node]:
    _attribute_to_input(graph, node, "min", 1, np.float32)
    _attribute_to_input(graph, node, "max", 2, np.float32)
    return [node]


@upgrade(11, "Pad")
def _pads_to_inputs(graph: Graph, node: Node, types: Types) -> list[Node]:
    value = node.attributes.pop("value", 0.0)
    _attribute_to_input(graph, node, "pads", 1, np.int64)
    if value:
        node.inputs.append(graph.add_constant(f"{node.name}.value", np.float32(value).reshape(())))
    return [node]


@upgrade(10, "Slice")
def _slice_to_inputs(graph: Graph, node: Node, types: Types) -> list[Node]:
    for position, name in enumerate(("starts", "ends", "axes"), 1):
        _attribute_to_input(graph, node, name, position, np.int64)
    return [node]


@upgrade(10, "TopK")
def _k_to_input(graph: Graph, node: Node, types: Types) -> list[Node]:
    if "k" in node.attributes:
        node.attributes["k"] = [node.attributes["k"]]
        _attribute_to_input(graph, node, "k", 1, np.int64)
    return [node]


@upgrade(12, "Dropout")
def _dropout_ratio(graph: Graph, node: Node, types: Types) -> list[Node]:
    node.attributes.pop("ratio", None)
    node.attributes.pop("is_test", None)
    return [node]


@upgrade(9, "BatchNormalization")
def _spatial_batch_norm(graph: Graph, node: Node, types: Types) -> list[Node]:
    if node.attributes.pop("spatial", 1) != 1:
        raise ConversionError(f"{node}: BatchNormalization with spatial=0 is not supported")
    node.outputs = node.outputs[:1]
    return [node]


@upgrade(14, "BatchNormalization")
def _inference_batch_norm(graph: Graph, node: Node, types: Types) -> list[Node]:
    node.outputs = node.outputs[:1]
    return [node]


@upgrade(9, "Upsample")
def _upsample_scales(graph: Graph, node: Node, types: Types) -> list[Node]:
    _attribute_to_input(graph, node, "scales", 1, np.float32)
    return [node]


@upgrade(99, "Upsample")
def _upsample_to_resize(graph: Graph, node: Node, types: Types) -> list[Node]:
    return [_legacy_resize(node)]


@upgrade(11, "Resize")
def _resize_10(graph: Graph, node: Node, types: Types) -> list[Node]:
    return [_legacy_resize(node)]


def _legacy_resize(node: Node) -> Node:
    """Upsample and the first Resize: asymmetric coordinates, floor for nearest."""
    attributes = {
        "mode": node.attributes.get("mode", "nearest"),
        "coordinate_transformation_mode": "asymmetric",
        "nearest_mode": "floor",
    }
    return Node("Resize", [node.inputs[0], "", node.inputs[1]], node.outputs, attributes, node.name)


@upgrade(13, "Softmax", "LogSoftmax", "Hardmax")
def _flattening_softmax(graph: Graph, node: Node, types: Types) -> list[Node]:
    """Before opset 13 all axes from ``axis`` on were normalised together."""
    axis = node.attributes.pop("axis", 1)
    known = types.get(node.inputs[0])
    rank = known.rank if known else None
    if rank is not None and axis % rank == rank - 1:
        node.attributes["axis"] = -1
        return [node]
    if axis == -1:
        node.attributes["axis"] = -1
        return [node]
    x, y = node.inputs[0], node.outputs[0]
    shape, flat, result = (f"{node.name}.{part}" for part in ("shape", "flat", "result"))
    return [
        Node("Shape", [x], [shape], {}, shape),
        Node("Flatten", [x], [flat], {"axis": axis}, flat),
        Node(node.op, [flat], [result], {"axis": -1}, node.name),
        Node("Reshape", [result, shape], [y], {}, f"{node.name}.reshape"),
    ]
