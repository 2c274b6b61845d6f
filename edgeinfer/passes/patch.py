"""Local changes of a graph, and how they are applied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from edgeinfer.graph import DType, Graph, Node, TensorType
from edgeinfer.records import altered


@dataclass
class Patch:
    """A local change of a graph.

    Attributes:
        remove: nodes that go; the new ones take the place of the last of them.
        insert: new nodes in order; they define every removed value that is still read.
        constants: new constants by name.
        renames: values that readers find under another name from now on.

    Names of new values and nodes are suggestions: where one is taken, ``apply_patches`` finds a free one. Within
    the patch such a name always means the new value.
    """

    remove: list[Node]
    insert: list[Node] = field(default_factory=list)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    renames: dict[str, str] = field(default_factory=dict)


def renamed_inputs(node: Node, renames: Mapping[str, str]) -> Node:
    """The node reading values by their new names, inside its bodies too; chains of renames are followed."""
    inputs = [_final(name, renames) for name in node.inputs]
    attributes = {
        key: _renamed_body(value, renames) if isinstance(value, Graph) else value
        for key, value in node.attributes.items()
    }
    return altered(node, inputs=inputs, attributes=attributes)


def _final(name: str, renames: Mapping[str, str]) -> str:
    while name in renames:
        name = renames[name]
    return name


def _renamed_body(body: Graph, renames: Mapping[str, str]) -> Graph:
    """A body with values of the graphs around it renamed; values that it defines itself hide those."""
    own = {*body.inputs, *body.constants, *(name for node in body.nodes for name in node.outputs)}
    outer = {old: _final(old, renames) for old in renames if old not in own}
    nodes = [renamed_inputs(node, outer) for node in body.nodes]
    return altered(body, nodes=nodes, outputs=[outer.get(name, name) for name in body.outputs])


def apply_patches(graph: Graph, patches: Sequence[Patch]) -> Graph:
    """The graph with patches applied that remove different nodes; the graph given stays as it was."""
    result = graph.copy()
    place = {id(node): index for index, node in enumerate(graph.nodes)}
    removed = {id(node) for patch in patches for node in patch.remove}
    names = _FreshNames(graph, removed)
    inserted: dict[int, list[Node]] = {}
    renames: dict[str, str] = {}
    for patch in map(names.renamed, patches):
        last = max(place[id(node)] for node in patch.remove)
        inserted.setdefault(last, []).extend(patch.insert)
        for name, array in patch.constants.items():
            result.constants[name] = array
            result.types[name] = TensorType(DType.of(array), tuple(array.shape))
        renames.update(patch.renames)
    nodes: list[Node] = []
    for index, node in enumerate(graph.nodes):
        if id(node) not in removed:
            nodes.append(node)
        nodes += inserted.get(index, [])
    result.nodes = [renamed_inputs(node, renames) for node in nodes]
    return result


class _FreshNames:
    """The names taken in a graph; gives what patches add to it names that are free."""

    def __init__(self, graph: Graph, removed: set[int]) -> None:
        made = (name for node in graph.nodes for name in node.outputs)
        self._values = {*graph.inputs, *graph.constants, *graph.outputs, *made}
        self._nodes = {node.name for node in graph.nodes if id(node) not in removed}

    def renamed(self, patch: Patch) -> Patch:
        """The patch with its new values and nodes under names that are free."""
        replaced = {name for node in patch.remove for name in node.outputs if name}
        new = [*patch.constants, *(name for node in patch.insert for name in node.outputs if name)]
        values = {name: name if name in replaced else _take(name, self._values) for name in new}
        insert = [
            altered(
                node,
                inputs=[values.get(name, name) for name in node.inputs],
                outputs=[values.get(name, name) for name in node.outputs],
                name=_take(node.name, self._nodes),
            )
            for node in patch.insert
        ]
        constants = {values[name]: array for name, array in patch.constants.items()}
        return Patch(patch.remove, insert, constants, patch.renames)


def _take(name: str, taken: set[str]) -> str:
    """A free name, which is taken from now on."""
    candidate, number = name, 1
    while candidate in taken:
        candidate = f"{name}_{number}"
        number += 1
    taken.add(candidate)
    return candidate
