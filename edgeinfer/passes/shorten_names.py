"""Short names for values, where the file shall be small."""

from __future__ import annotations

from edgeinfer.graph import Graph, subgraphs
from edgeinfer.passes.pass_base import Pass, PassResult
from edgeinfer.records import altered


class ShortenNames(Pass):
    """Values inside a graph get numbers for names; inputs, outputs and nodes keep theirs.

    Before: ``/layer1/Relu_output_0 = Relu(/layer1/Conv_output_0)``
    After:  ``v8 = Relu(v7)``

    Run it last: names of values tell where they come from. Graphs with bodies stay as they are.
    """

    def run(self, graph: Graph) -> PassResult:
        """Rename all values that are neither inputs nor outputs."""
        if any(subgraphs(node) for node in graph.nodes):
            return PassResult(graph, 0)
        kept = {*graph.inputs, *graph.outputs}
        made = [name for node in graph.nodes for name in node.outputs if name]
        values = [name for name in [*graph.constants, *made] if name not in kept]
        fresh = (name for number in range(len(values) + len(kept)) if (name := f"v{number}") not in kept)
        renames = dict(zip(values, fresh, strict=False))
        if all(old == new for old, new in renames.items()):
            return PassResult(graph, 0)
        result = graph.copy()
        result.constants = {renames.get(name, name): array for name, array in graph.constants.items()}
        known = {*renames, *kept}
        result.types = {renames.get(name, name): value for name, value in graph.types.items() if name in known}
        result.nodes = [
            altered(
                node,
                inputs=[renames.get(name, name) for name in node.inputs],
                outputs=[renames.get(name, name) for name in node.outputs],
            )
            for node in graph.nodes
        ]
        return PassResult(result, len(renames))
