"""The rules of the intermediate representation, as a check that tests run after every pass."""

from __future__ import annotations

from edgeinfer.errors import GraphError
from edgeinfer.graph.graph import Graph
from edgeinfer.graph.view import reads, subgraphs


def verify(graph: Graph, outer: frozenset[str] = frozenset()) -> None:
    """Check that every value is defined once and before it is read, and that types fit the constants.

    Args:
        graph: the graph to check.
        outer: values that a body may read from the graphs around it.

    Raises:
        GraphError: naming the node or value and the rule that it breaks.
    """
    where = f"graph '{graph.name}'"
    defined = set(outer)
    for name in [*graph.inputs, *graph.constants]:
        if not name:
            raise GraphError(f"{where}: an input or constant has an empty name")
        if name in graph.inputs and name in graph.constants:
            raise GraphError(f"{where}: '{name}' is both an input and a constant")
        if name not in graph.types:
            raise GraphError(f"{where}: '{name}' has no type")
        defined.add(name)
    if len(set(graph.inputs)) != len(graph.inputs):
        raise GraphError(f"{where}: an input is listed twice: {graph.inputs}")
    for name, array in graph.constants.items():
        declared = graph.types[name]
        if declared.shape != tuple(array.shape) or declared.dtype.numpy.kind != array.dtype.kind:
            raise GraphError(
                f"{where}: constant '{name}' is {array.dtype}{list(array.shape)} but declared as {declared}"
            )
    made: set[str] = set()
    for node in graph.nodes:
        for name in sorted(reads(node)):
            if name not in defined:
                raise GraphError(f"{where}: {node} reads '{name}', which nothing before it defines")
        for body in subgraphs(node):
            verify(body, frozenset(defined))
        for name in node.outputs:
            if not name:
                continue
            if name in made or name in graph.inputs or name in graph.constants:
                raise GraphError(f"{where}: {node} defines '{name}' a second time")
            made.add(name)
            defined.add(name)
    for name in graph.outputs:
        if name not in defined:
            raise GraphError(f"{where}: output '{name}' is not defined by any node")
