"""Sums of several operands become additions."""

from __future__ import annotations

from edgeinfer.graph import GraphView, Node
from edgeinfer.passes.pass_base import Rule
from edgeinfer.passes.patch import Patch


class ReplaceSum(Rule):
    """A Sum becomes additions of two operands, which can be folded into other operators.

    Before: ``y = Sum(a, b, c)``
    After:  ``y = (a + b) + c``
    """

    anchors = frozenset({"Sum"})

    def match(self, view: GraphView, node: Node) -> Patch | str | None:
        """Match a Sum of two or more operands."""
        if node.domain or len(node.inputs) < 2:
            return None
        patch, current = Patch([node]), node.inputs[0]
        for index, operand in enumerate(node.inputs[1:], 1):
            is_last = index == len(node.inputs) - 1
            name = node.name if is_last else f"{node.name}.partial{index}"
            target = node.outputs[0] if is_last else name
            patch.insert.append(Node("Add", [current, operand], [target], {}, name))
            current = target
        return patch
