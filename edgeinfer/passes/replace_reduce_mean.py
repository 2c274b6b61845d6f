"""Means over pictures become global average pooling."""

from __future__ import annotations

from edgeinfer.graph import GraphView, Node
from edgeinfer.passes.pass_base import Rule
from edgeinfer.passes.patch import Patch
from edgeinfer.passes.patterns import axes_of, is_real


class ReplaceReduceMean(Rule):
    """A mean over the spatial axes of a picture is global average pooling.

    Before: ``y = ReduceMean(x, axes=[2, 3])`` with x [N, C, H, W]
    After:  ``y = GlobalAveragePool(x)``, followed by ``Squeeze(axes)`` if the axes are not kept
    """

    anchors = frozenset({"ReduceMean"})

    def match(self, view: GraphView, node: Node) -> Patch | str | None:
        """Match a mean over axes 2 and 3 of four."""
        known = view.graph.types.get(node.inputs[0])
        if node.domain or known is None or known.rank != 4 or axes_of(view, node) != [2, 3]:
            return None
        if not is_real(view, node.inputs[0]):
            return None
        if node.attributes.get("keepdims", 1):
            return Patch([node], [Node("GlobalAveragePool", node.inputs[:1], node.outputs, {}, node.name)])
        mean = f"{node.name}.mean"
        pool = Node("GlobalAveragePool", node.inputs[:1], [mean], {}, mean)
        return Patch([node], [pool, Node("Squeeze", [mean, node.inputs[1]], node.outputs, {}, node.name)])
