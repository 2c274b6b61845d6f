"""Upgrades of operators that move, cut and reshape: their parameters became inputs."""

from __future__ import annotations

import numpy as np

from converters.onnx.scope import Scope
from converters.onnx.upgrade import attribute_to_input, set_input, upgrade
from edgeinfer.graph import Node


@upgrade(13, "Squeeze", "Unsqueeze")
def axes_to_input(scope: Scope, node: Node) -> list[Node]:
    """The axes became an input."""
    attribute_to_input(scope, node, "axes", 1, np.int64)
    return [node]


@upgrade(13, "Split")
def split_to_input(scope: Scope, node: Node) -> list[Node]:
    """The sizes became an input."""
    attribute_to_input(scope, node, "split", 1, np.int64)
    return [node]


@upgrade(18, "Split")
def count_parts(scope: Scope, node: Node) -> list[Node]:
    """Without sizes the number of parts must be said."""
    if not node.input(1):
        node.attributes["num_outputs"] = len(node.outputs)
    return [node]


@upgrade(10, "Slice")
def bounds_to_inputs(scope: Scope, node: Node) -> list[Node]:
    """Starts, ends and axes became inputs."""
    for position, name in enumerate(("starts", "ends", "axes"), 1):
        attribute_to_input(scope, node, name, position, np.int64)
    return [node]


@upgrade(11, "Pad")
def pads_to_inputs(scope: Scope, node: Node) -> list[Node]:
    """The widths and the fill value became inputs; the value has the dtype of the data."""
    attribute_to_input(scope, node, "pads", 1, np.int64)
    value = node.attributes.pop("value", 0.0)
    if value:
        attribute = np.asarray(value, scope.dtype(node.input(0)).numpy)
        set_input(node, 2, scope.add_constant(f"{node.name}.value", attribute))
    return [node]


@upgrade(10, "TopK")
def k_to_input(scope: Scope, node: Node) -> list[Node]:
    """The number of elements became an input of shape [1]."""
    node.attributes["k"] = [node.attributes["k"]]
    attribute_to_input(scope, node, "k", 1, np.int64)
    return [node]


@upgrade(11, "Scatter")
def rename_scatter(scope: Scope, node: Node) -> list[Node]:
    """Scatter was renamed."""
    node.op = "ScatterElements"
    return [node]


@upgrade(20, "DFT")
def axis_to_input(scope: Scope, node: Node) -> list[Node]:
    """The axis became an input and its default changed from 1 to the last but one."""
    node.attributes.setdefault("axis", 1)
    attribute_to_input(scope, node, "axis", 2, np.int64)
    return [node]
