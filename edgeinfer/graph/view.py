"""Who makes and who reads each value of a graph."""

from __future__ import annotations

from edgeinfer.graph.graph import Graph, Node


def subgraphs(node: Node) -> list[Graph]:
    """The graphs held by a node's attributes (bodies of If, Loop and Scan)."""
    return [value for value in node.attributes.values() if isinstance(value, Graph)]


def outer_reads(graph: Graph) -> set[str]:
    """Values that a body reads from the graphs around it."""
    defined = set(graph.inputs) | graph.constants.keys()
    reads: set[str] = set()
    for node in graph.nodes:
        names = set(node.inputs)
        for body in subgraphs(node):
            names |= outer_reads(body)
        reads |= names - defined - {""}
        defined.update(node.outputs)
    return reads | (set(graph.outputs) - defined)


def reads(node: Node) -> set[str]:
    """All values that a node needs: its inputs and whatever its bodies read from outside."""
    names = set(node.inputs)
    names.discard("")
    for body in subgraphs(node):
        names |= outer_reads(body)
    return names


class GraphView:
    """An index of a graph as it was when the view was made.

    Attributes:
        graph: the graph.
        producers: value name to the node that makes it (inputs and constants have none).
        consumers: value name to the nodes that read it, one entry per node.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.producers: dict[str, Node] = {}
        self.consumers: dict[str, list[Node]] = {}
        for node in graph.nodes:
            for name in node.outputs:
                if name:
                    self.producers[name] = node
            for name in reads(node):
                self.consumers.setdefault(name, []).append(node)
        self._outputs = set(graph.outputs)

    def producer(self, name: str) -> Node | None:
        """The node that makes a value."""
        return self.producers.get(name)

    def sole_consumer(self, name: str) -> Node | None:
        """The only node that reads a value; None if there are several, or it is an output of the graph."""
        readers = self.consumers.get(name, [])
        return readers[0] if len(readers) == 1 and name not in self._outputs else None

    def is_output(self, name: str) -> bool:
        """Whether a value is an output of the graph."""
        return name in self._outputs
