"""Summands in front of depthwise convolutions become the values of their borders.

Before: ``y = edgeinfer.Conv(Add(x, s), weight, bias)``, depthwise, padding with zeros
After:  ``y = edgeinfer.Conv(x, weight, bias + s * sum(weight), residual, border=-s)``

Under the padding stands ``-s`` then, which the bias makes 0 again; elsewhere ``weight * (x + s)`` is
``weight * x + weight * s``. A pass over the whole picture is gone.
"""

from __future__ import annotations

import numpy as np

from edgeinfer.graph import FUSED, ONNX, DType, Graph, GraphView, Node, TensorType
from edgeinfer.records import altered

BORDER_INPUT = 4
# Kernels for depthwise convolutions take whole vectors of channels; no level has more lanes.
FEWEST_CHANNELS = 16


def summands_to_borders(graph: Graph) -> Graph:
    """The graph, in channels-last layout, with summands folded; the graph given stays as it was."""
    view = GraphView(graph)
    replaced: dict[int, Node | None] = {}
    constants, types = dict(graph.constants), dict(graph.types)
    for node in graph.nodes:
        found = _summand(view, node)
        if found is None:
            continue
        add, source, summand = found
        weight = graph.constants[node.inputs[1]]
        bias = graph.constants[node.inputs[2]] if node.input(2) else np.zeros(len(weight), np.float32)
        with np.errstate(over="ignore"):
            total = (bias + summand * weight.astype(np.float64).sum(axis=(1, 2, 3))).astype(np.float32)
        if not np.isfinite(total).all():
            continue
        names = {f"{add.name}.border": -summand.astype(np.float32), f"{node.name}.bordered_bias": total}
        for name, array in names.items():
            constants[name], types[name] = array, TensorType(DType.FLOAT32, array.shape)
        border, bias_name = names
        inputs = [source, node.inputs[1], bias_name, node.input(3), border]
        replaced[id(add)] = None
        replaced[id(node)] = altered(node, inputs=inputs)
    if not replaced:
        return graph
    nodes = [kept for node in graph.nodes if (kept := replaced.get(id(node), node)) is not None]
    return altered(graph, nodes=nodes, constants=constants, types=types)


def _summand(view: GraphView, node: Node) -> tuple[Node, str, np.ndarray] | None:
    """The Add in front of a convolution that can go, what it adds to, and one summand for each channel."""
    if (node.op, node.domain) != ("Conv", FUSED) or node.input(BORDER_INPUT):
        return None
    weight, attributes = view.graph.constants.get(node.inputs[1]), node.attributes
    add = view.producer(node.inputs[0])
    if weight is None or add is None or (add.op, add.domain) != ("Add", ONNX):
        return None
    if node.input(2) and node.inputs[2] not in view.graph.constants:
        return None
    channels = len(weight)
    depthwise = weight.shape[1] == 1 and attributes.get("group", 1) == channels >= FEWEST_CHANNELS
    plain = attributes.get("pad_mode", "constant") == "constant" and list(attributes.get("upsample", (1, 1))) == [1, 1]
    if not (depthwise and plain and attributes.get("layout") == "NHWC" and weight.dtype == np.float32):
        return None
    if view.sole_consumer(add.outputs[0]) is not node:
        return None
    for source, other in (add.inputs, add.inputs[::-1]):
        summand, known = view.graph.constants.get(other), view.graph.types.get(source)
        if summand is None or source in view.graph.constants or known is None or known.rank != weight.ndim:
            continue
        if (
            summand.size in (1, channels)
            and summand.ndim <= weight.ndim
            and summand.shape[-1:] in ((), (summand.size,))
        ):
            return add, source, np.broadcast_to(summand.ravel(), (channels,)).astype(np.float64)
    return None
