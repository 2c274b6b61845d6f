"""Squares become products."""

from __future__ import annotations

from edgeinfer.graph import GraphView, Node
from edgeinfer.passes.pass_base import Rule
from edgeinfer.passes.patch import Patch
from edgeinfer.passes.patterns import keeps_rank, scalar


class ReplaceSquare(Rule):
    """A Pow with the exponent 2 becomes a product, for which there are kernels; both round once.

    Before: ``y = Pow(x, 2)``
    After:  ``y = x * x``
    """

    anchors = frozenset({"Pow"})

    def match(self, view: GraphView, node: Node) -> Patch | str | None:
        """Match a Pow by a constant 2."""
        if node.domain or scalar(view, node.inputs[1]) != 2 or not keeps_rank(view, *node.inputs):
            return None
        return Patch([node], [Node("Mul", [node.inputs[0]] * 2, list(node.outputs), {}, node.name)])
