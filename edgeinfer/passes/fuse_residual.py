"""Residual additions folded into the operator that makes one of the operands."""

from __future__ import annotations

from typing import Any

from edgeinfer.graph import FUSED, ONNX, GraphView, Node
from edgeinfer.passes.conv_attributes import fused_conv_attributes, is_conv
from edgeinfer.passes.pass_base import Rule
from edgeinfer.passes.patch import Patch
from edgeinfer.passes.patterns import only_read_by


class FuseResidual(Rule):
    """A value added to an operator's result becomes the operator's residual (He et al. 2015).

    Before: ``y = Conv | InstanceNormalization (x, weight, bias) + other``
    After:  ``y = edgeinfer.Conv | edgeinfer.InstanceNormalization (x, weight, bias, other)``
    """

    anchors = frozenset({"Add"})

    def match(self, view: GraphView, node: Node) -> Patch | str | None:
        """Match an addition of equal shapes, one operand made by an operator for it alone."""
        if node.domain != ONNX:
            return None
        reason = None
        for own, other in (node.inputs, node.inputs[::-1]):
            producer = view.producer(own)
            if producer is None or not self._takes_residual(producer) or own == other:
                continue
            reason = self._refusal(view, producer, own, other, node)
            if reason:
                continue
            attributes: dict[str, Any] | str = dict(producer.attributes)
            if producer.op == "Conv":
                attributes = fused_conv_attributes(view, producer)
            if isinstance(attributes, str):
                reason = attributes
                continue
            inputs = [producer.input(index) for index in range(3)]
            fused = Node(producer.op, [*inputs, other], node.outputs, attributes, producer.name, FUSED)
            return Patch([producer, node], [fused])
        return reason

    def _takes_residual(self, producer: Node) -> bool:
        fits = is_conv(producer) or (producer.op == "InstanceNormalization" and producer.domain in (ONNX, FUSED))
        return fits and not producer.attributes.get("activation") and len(producer.inputs) < 4

    def _refusal(self, view: GraphView, producer: Node, own: str, other: str, node: Node) -> str | None:
        if not only_read_by(view, own, node):
            return "the value before the addition is read elsewhere"
        left, right = view.graph.types.get(own), view.graph.types.get(other)
        if left is None or right is None or left.shape != right.shape or left.shape is None:
            return "the operands of the addition do not have the same shape"
        return None
