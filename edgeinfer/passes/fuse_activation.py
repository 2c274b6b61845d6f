"""Activations folded into the operator whose result they read."""

from __future__ import annotations

from typing import Any

from edgeinfer.graph import FUSED, ONNX, GraphView, Node
from edgeinfer.passes.activations import activation_of
from edgeinfer.passes.conv_attributes import fused_conv_attributes, fused_transpose_attributes
from edgeinfer.passes.pass_base import Rule
from edgeinfer.passes.patch import Patch


class FuseActivation(Rule):
    """An activation goes into the operator that computes its argument.

    Before: ``y = Relu(Conv | ConvTranspose | InstanceNormalization | MatMul | Add | Mul (…))``
    After:  ``y = edgeinfer.Conv | … (…) {activation="Relu"}``

    ``activation_of`` tells which activations fused operators know.
    """

    anchors = frozenset({"Conv", "ConvTranspose", "InstanceNormalization", "MatMul", "Add", "Mul"})

    def match(self, view: GraphView, node: Node) -> Patch | str | None:
        """Match an operator without activation whose only reader is one."""
        if node.domain not in (ONNX, FUSED) or node.attributes.get("activation"):
            return None
        reader = view.sole_consumer(node.outputs[0])
        if reader is None or reader.inputs[0] != node.outputs[0]:
            return None
        activation = activation_of(view, reader)
        known = view.graph.types.get(node.outputs[0])
        if activation is None or known is None or not known.dtype.is_float:
            return None
        attributes: dict[str, Any] | str = dict(node.attributes)
        if node.op == "Conv":
            attributes = fused_conv_attributes(view, node)
        if node.op == "ConvTranspose":
            attributes = fused_transpose_attributes(view, node)
        if isinstance(attributes, str):
            return attributes
        fused = Node(node.op, node.inputs, reader.outputs, {**attributes, **activation}, node.name, FUSED)
        return Patch([node, reader], [fused])
