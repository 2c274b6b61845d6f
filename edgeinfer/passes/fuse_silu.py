"""SiLU spelled out becomes one operator."""

from __future__ import annotations

from edgeinfer.graph import GraphView, Node
from edgeinfer.passes.pass_base import Rule
from edgeinfer.passes.patch import Patch
from edgeinfer.passes.patterns import made_by, only_read_by, operands


class FuseSilu(Rule):
    """SiLU (Elfwing et al. 2018), which ONNX calls Swish, becomes one operator.

    Before: ``y = x * Sigmoid(x)``
    After:  ``y = Swish(x)``
    """

    anchors = frozenset({"Mul"})

    def match(self, view: GraphView, node: Node) -> Patch | str | None:
        """Match the product."""
        if len(node.inputs) != 2:
            return None
        for x, gate in operands(node):
            sigmoid = made_by(view, gate, "Sigmoid")
            if sigmoid is None or sigmoid.inputs[0] != x:
                continue
            if not only_read_by(view, gate, node):
                return "the gate is read elsewhere"
            return Patch([sigmoid, node], [Node("Swish", [x], node.outputs, {"alpha": 1.0}, node.name)])
        return None
