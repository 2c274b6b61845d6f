"""What is done once when a model is loaded, before any shapes are known."""

from __future__ import annotations

import dataclasses

from edgeinfer.graph import DType, Graph, TensorType
from edgeinfer.ops import infer_types
from edgeinfer.plan.layout import to_channels_last
from edgeinfer.plan.specialize import live_nodes


def fold_constants(graph: Graph) -> Graph:
    """Values that do not depend on inputs become constants, such as float32 copies of weights kept in float16.

    Before: ``y = Conv(x, Cast(weight16, to=float32))``
    After:  ``y = Conv(x, weight32)``
    """
    types, known = infer_types(graph)
    widened = dict(known)
    for node in graph.nodes:
        if node.op == "Cast" and node.inputs[0] in graph.constants and node.outputs[0] not in widened:
            source = graph.constants[node.inputs[0]]
            widened[node.outputs[0]] = source.astype(types[node.outputs[0]].dtype.numpy)
    nodes = live_nodes(graph.nodes, graph.outputs, widened)
    used = {name for node in nodes for name in node.inputs} | set(graph.outputs)
    constants = {name: array for name, array in widened.items() if name in used}
    for name, array in constants.items():
        known_type = types.get(name)
        types[name] = TensorType(known_type.dtype if known_type else DType.of(array), tuple(array.shape))
    return dataclasses.replace(graph, nodes=nodes, constants=constants, types=types)


def prepare(graph: Graph) -> Graph:
    """Fold constants and bring pictures into channels-last layout; the graph given stays as it was."""
    return to_channels_last(fold_constants(graph))
