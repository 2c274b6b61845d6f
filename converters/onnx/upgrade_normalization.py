"""Upgrades of normalisations and Dropout: the parts that only training needs go away."""

from __future__ import annotations

import numpy as np

from converters.onnx.scope import Scope
from converters.onnx.upgrade import ALWAYS, CannotUpgradeError, upgrade
from edgeinfer.graph import DType, Node


@upgrade(7, "BatchNormalization", "Dropout")
def drop_is_test(scope: Scope, node: Node) -> list[Node]:
    """Whether the node is for training was an attribute; we always infer."""
    node.attributes.pop("is_test", None)
    return [node]


@upgrade(9, "BatchNormalization")
def drop_spatial(scope: Scope, node: Node) -> list[Node]:
    """Statistics are now always those of channels."""
    if not node.attributes.pop("spatial", 1):
        raise CannotUpgradeError("attribute 'spatial' = 0 (statistics of each element) is not supported")
    return [node]


@upgrade(ALWAYS, "BatchNormalization")
def infer_batch_normalization(scope: Scope, node: Node) -> list[Node]:
    """Only the normalised output is left; that of training is refused."""
    if node.attributes.pop("training_mode", 0):
        raise CannotUpgradeError("attribute 'training_mode' = 1: export the model for inference")
    node.attributes.pop("momentum", None)
    del node.outputs[1:]
    return [node]


@upgrade(21, "GroupNormalization")
def scale_channels(scope: Scope, node: Node) -> list[Node]:
    """Scale and bias were given for each group [G], now for each channel [C].

    ``scale`` becomes ``Reshape(Expand(Unsqueeze(scale, 1), Concat(1, C / G)), -1)``.
    """
    groups = node.attributes["num_groups"]
    one = scope.add_constant(f"{node.name}.one", np.array([1], np.int64))
    flat = scope.add_constant(f"{node.name}.flat", np.array([-1], np.int64))
    divisor = scope.add_constant(f"{node.name}.groups", np.array([groups], np.int64))
    channels, repeats, target = (scope.names.fresh(f"{node.name}.{part}") for part in ("channels", "repeats", "target"))
    nodes = [
        Node("Shape", [node.inputs[0]], [channels], {"start": 1, "end": 2}, channels),
        Node("Div", [channels, divisor], [repeats], {}, repeats),
        Node("Concat", [one, repeats], [target], {"axis": 0}, target),
    ]
    for position, part in enumerate(("scale", "bias"), 1):
        column, table, row = (
            scope.names.fresh(f"{node.name}.{part}_{step}") for step in ("column", "table", "channels")
        )
        nodes += [
            Node("Unsqueeze", [node.inputs[position], one], [column], {}, column),
            Node("Expand", [column, target], [table], {}, table),
            Node("Reshape", [table, flat], [row], {}, row),
        ]
        node.inputs[position] = row
    return [*nodes, node]


@upgrade(10, "Dropout")
def mask_as_bool(scope: Scope, node: Node) -> list[Node]:
    """The mask had the dtype of the data, now it is bool."""
    if len(node.outputs) < 2 or not node.outputs[1]:
        return [node]
    mask = node.outputs[1]
    node.outputs[1] = scope.names.fresh(f"{node.name}.mask")
    return [node, Node("CastLike", [node.outputs[1], node.inputs[0]], [mask], {}, f"{node.name}.cast")]


@upgrade(12, "Dropout")
def drop_ratio(scope: Scope, node: Node) -> list[Node]:
    """The ratio became an input; inference does not need it."""
    node.attributes.pop("ratio", None)
    return [node]


@upgrade(ALWAYS, "Dropout")
def infer_dropout(scope: Scope, node: Node) -> list[Node]:
    """Inference keeps everything: the output is the input, the mask all true.

    ``y, mask = Dropout(x)`` becomes ``y = Identity(x)``, ``mask = Expand(true, Shape(x))``.
    """
    if node.input(2):
        training = scope.constant(node.input(2))
        if training is None or bool(training.item()):
            raise CannotUpgradeError("input 'training_mode' is not constant false: export the model for inference")
    x = node.inputs[0]
    nodes = [Node("Identity", [x], [node.outputs[0]], {}, node.name)]
    if len(node.outputs) > 1 and node.outputs[1]:
        shape = scope.names.fresh(f"{node.name}.shape")
        true = scope.add_constant(f"{node.name}.true", np.array(True), DType.BOOL)
        nodes += [
            Node("Shape", [x], [shape], {}, shape),
            Node("Expand", [true, shape], [node.outputs[1]], {}, f"{node.name}.mask"),
        ]
    return nodes
