"""Cutting a graph where shapes depend on data, so that each part can be planned when its inputs are there.

Most models are one region. A model with NonZero, NonMaxSuppression or Loop is planned up to such nodes; they
run from their references, and what follows is planned once their outputs are known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgeinfer.graph import DType, Graph, Node, TensorType, reads
from edgeinfer.ops import infer_types
from edgeinfer.plan.specialize import is_plannable, live_nodes, static_graph


@dataclass(frozen=True, eq=False)
class Region:
    """What can be planned of a graph now, and what must wait.

    Attributes:
        static: the part whose shapes are all known; its outputs are those of the graph that it makes, and
            whatever the other two parts read of it.
        dynamic: nodes to run from their references after ``static``, in order.
        known: contents of values that ``dynamic`` may read besides inputs and outputs of ``static``.
        rest: the part that reads what ``dynamic`` makes; None if there is nothing left. Its inputs are
            inputs of the graph, outputs of ``static`` and outputs of ``dynamic``.
    """

    static: Graph
    dynamic: list[Node]
    known: dict[str, np.ndarray]
    rest: Graph | None


def first_region(graph: Graph, input_types: Mapping[str, TensorType | None]) -> Region:
    """Cut the first region off a graph.

    Args:
        graph: the graph.
        input_types: static types of the inputs; None for an input that is no tensor (a sequence).

    Raises:
        ShapeError: naming the node whose inputs do not fit.
    """
    given = {name: known or TensorType(DType.FLOAT32, None) for name, known in input_types.items()}
    types, known = infer_types(graph, given)
    nodes = live_nodes(graph.nodes, graph.outputs, known)
    plannable = {name for name in [*graph.inputs, *known] if is_plannable(types.get(name))}
    available = set(graph.inputs) | known.keys()
    static, dynamic, rest = [], [], []
    for node in nodes:
        needed = reads(node)
        if needed <= plannable and all(is_plannable(types.get(name)) for name in node.outputs if name):
            static.append(node)
            plannable.update(node.outputs)
            available.update(node.outputs)
        elif needed <= available:
            dynamic.append(node)
        else:
            rest.append(node)
    later = {name for node in [*dynamic, *rest] for name in reads(node)}
    made = {name for node in static for name in node.outputs if name}
    delayed = {name for node in [*dynamic, *rest] for name in node.outputs if name}
    exported = [name for name in graph.outputs if name not in delayed]
    exported += sorted((later & made) - set(exported))
    head = static_graph(graph, static, exported, types, known)
    read_by_dynamic = {name for node in dynamic for name in reads(node)}
    return Region(
        head,
        dynamic,
        {name: known[name] for name in known if name in read_by_dynamic},
        _rest(graph, rest, types, known) if rest else None,
    )


def _rest(graph: Graph, nodes: list[Node], types: Mapping[str, TensorType], known: Mapping[str, np.ndarray]) -> Graph:
    made = {name for node in nodes for name in node.outputs if name}
    needed = {name for node in nodes for name in reads(node)}
    inputs = sorted(needed - made - known.keys())
    constants = {name: known[name] for name in known if name in needed}
    unknown = TensorType(DType.FLOAT32, None)
    known_types = {name: types[name] for name in [*constants, *made] if name in types}
    return Graph(
        graph.name,
        inputs,
        [name for name in graph.outputs if name in made],
        nodes,
        {**{name: TensorType(types.get(name, unknown).dtype, None) for name in inputs}, **known_types},
        constants,
        graph.metadata,
    )
