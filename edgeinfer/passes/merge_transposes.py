"""Merging of Transposes."""

from __future__ import annotations

from edgeinfer.graph import GraphView, Node
from edgeinfer.passes.pass_base import Rule
from edgeinfer.passes.patch import Patch
from edgeinfer.passes.patterns import is_op


class MergeTransposes(Rule):
    """Two Transposes in a row become one.

    Before: ``y = Transpose(Transpose(x, p), q)``
    After:  ``y = Transpose(x, r)`` with ``r[i] = p[q[i]]``
    """

    anchors = frozenset({"Transpose"})

    def match(self, view: GraphView, node: Node) -> Patch | str | None:
        """Match the second one; the first stays for its other readers."""
        first = view.producer(node.inputs[0])
        if first is None or not (is_op(node, "Transpose") and is_op(first, "Transpose")):
            return None
        inner, outer = _permutation(view, first), _permutation(view, node)
        if inner is None or outer is None:
            return "the rank is not known"
        merged = [inner[axis] for axis in outer]
        return Patch([node], [Node("Transpose", [first.inputs[0]], node.outputs, {"perm": merged}, node.name)])


def _permutation(view: GraphView, node: Node) -> list[int] | None:
    perm = node.attributes.get("perm")
    if perm is not None:
        return list(perm)
    known = view.graph.types.get(node.inputs[0])
    return None if known is None or known.rank is None else list(range(known.rank))[::-1]
