"""What is done once when a model is loaded, before any shapes are known."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgeinfer.graph import DType, Graph, Node, TensorType, reads, subgraphs
from edgeinfer.ops import evaluate_node, infer_types
from edgeinfer.ops.infer import NEVER_FOLDED
from edgeinfer.plan.border import summands_to_borders
from edgeinfer.plan.layout import to_channels_last
from edgeinfer.plan.specialize import live_nodes
from edgeinfer.records import altered


def fold_constants(graph: Graph) -> Graph:
    """Values that do not depend on inputs become constants, such as float32 copies of weights kept in float16.

    Before: ``y = Conv(x, Cast(weight16, to=float32))``
    After:  ``y = Conv(x, weight32)``
    """
    types, known = infer_types(graph)
    values = dict(known)
    for node in graph.nodes:
        if _is_constant(node, values):
            outputs = evaluate_node(node, [values[name] if name else None for name in node.inputs])
            values.update({name: array for name, array in zip(node.outputs, outputs, strict=True) if name})
    nodes = live_nodes(graph.nodes, graph.outputs, values)
    used = {name for node in nodes for name in reads(node)} | set(graph.outputs)
    constants = {name: array for name, array in values.items() if name in used}
    for name, array in constants.items():
        known_type = types.get(name)
        types[name] = TensorType(known_type.dtype if known_type else DType.of(array), tuple(array.shape))
    return altered(graph, nodes=nodes, constants=constants, types=types)


def _is_constant(node: Node, values: Mapping[str, np.ndarray]) -> bool:
    """Whether a node computes a tensor, not known yet, from known values alone: whatever its size."""
    present = [name for name in node.inputs if name]
    if not present or node.op in NEVER_FOLDED or any(subgraphs(node)):
        return False
    return all(name in values for name in present) and any(name and name not in values for name in node.outputs)


def prepare(graph: Graph) -> Graph:
    """Fold constants, bring pictures into channels-last layout, fold summands; the graph given stays as it was."""
    return summands_to_borders(to_channels_last(fold_constants(graph)))
