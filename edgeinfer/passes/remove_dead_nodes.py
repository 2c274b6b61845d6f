"""Removal of what nobody reads."""

from __future__ import annotations

from edgeinfer.graph import Graph, Node, reads
from edgeinfer.passes.pass_base import Pass, PassResult


class RemoveDeadNodes(Pass):
    """Nodes whose outputs nobody reads go, and so do constants without readers.

    Before: ``a = Relu(x); b = Exp(x); return a``
    After:  ``a = Relu(x); return a``
    """

    def run(self, graph: Graph) -> PassResult:
        """Walk backwards from the outputs."""
        needed = set(graph.outputs)
        kept: list[Node] = []
        for node in reversed(graph.nodes):
            if needed.intersection(node.outputs):
                kept.append(node)
                needed |= reads(node)
        unused = [name for name in graph.constants if name not in needed]
        count = len(graph.nodes) - len(kept) + len(unused)
        if not count:
            return PassResult(graph, 0)
        result = graph.copy()
        alive = {id(node) for node in kept}
        result.nodes = [copied for node, copied in zip(graph.nodes, result.nodes, strict=True) if id(node) in alive]
        for name in unused:
            del result.constants[name]
        live = {*result.inputs, *result.constants, *(name for node in result.nodes for name in node.outputs)}
        result.types = {name: kind for name, kind in result.types.items() if name in live}
        return PassResult(result, count)
