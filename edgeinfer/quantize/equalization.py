"""Cross-layer equalisation: channels of activations get ranges alike, and weights make up for it.

    y = W x = (W diag(s)) (x / s)        with one factor s for each channel of x

Factors move into what makes x, a convolution or a normalisation, through Relu, LeakyRelu and sums, and into the
weights of all convolutions that read x. Through Clip from 0 they do so for channels that never come near its bound.
Weights have a scale for each output channel, activations only one for all: so it is the reach of activations that is
evened out.

Source: Nagel et al., Data-free quantization through weight equalization and bias correction, ICCV 2019; Xiao et al.,
SmoothQuant, ICML 2023.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeinfer.graph import Graph, GraphView, Node
from edgeinfer.passes.conv_attributes import is_conv
from edgeinfer.quantize.layers import Layer
from edgeinfer.quantize.observation import Observation
from edgeinfer.records import altered

# Factors beyond would only push the other channels' weights under the rounding.
_LARGEST_FACTOR = 16.0
_HOMOGENEOUS = ("", "Relu", "LeakyRelu")
# Channels in front of a Clip grow so far that it would cut off what is this much larger than all that was seen.
_CLEARANCE = 2.0


@dataclass
class _Group:
    """Values that must share their factors, since residuals add one to the other; and the nodes around them."""

    values: list[str]
    makers: list[Node]
    readers: list[Node]


def equalize(graph: Graph, layers: list[Layer], seen: dict[str, Observation], strength: float) -> tuple[Graph, int]:
    """Even out the channels of activations; returns the graph and the number of groups of values changed.

    Before: ``y = Conv(Relu(Conv(x, w1, b1)), w2)``
    After:  ``y = Conv(Relu(Conv(x, w1 / s, b1 / s)), w2 * s)``

    Args:
        graph: the float model.
        layers: its layers.
        seen: what was seen of its values.
        strength: factors are ``(reach / median reach) ** strength``: 1 makes all channels reach alike.
    """
    result, count = graph.copy(), 0
    names = {layer.name for layer in layers}
    for values in _connected(graph):
        group = _group(GraphView(result), values, names)
        if group is None:
            continue
        reach = np.max([np.maximum(np.abs(seen[v].channel_low), np.abs(seen[v].channel_high)) for v in values], axis=0)
        if not reach.any():
            continue
        factors = _factors(reach, strength, min(_upper_bound(maker) for maker in group.makers))
        for maker in group.makers:
            _divide_outputs(result, maker, factors)
        for reader in group.readers:
            _multiply_inputs(result, reader, factors)
        count += 1
    return result, count


def _factors(reach: np.ndarray, strength: float, bound: float) -> np.ndarray:
    """Factors of channels; where an activation bounds them, only those grow that stay far from the bound."""
    alive = reach > 0
    reach = np.where(alive, reach, 1.0)
    middle = np.median(reach[alive]) if np.isinf(bound) else bound / _CLEARANCE
    factors = np.where(alive, (reach / middle) ** strength, 1.0)
    most = _LARGEST_FACTOR if np.isinf(bound) else 1.0
    return np.clip(factors, 1 / _LARGEST_FACTOR, most).astype(np.float32)


def _upper_bound(node: Node) -> float:
    """Where a node's activation cuts large numbers off."""
    if node.attributes.get("activation") != "Clip":
        return np.inf
    return float(node.attributes["activation_parameters"][1])


def _passes(node: Node) -> bool:
    """Whether factors pass through a node's activation."""
    activation = node.attributes.get("activation", "")
    return activation in _HOMOGENEOUS or (
        activation == "Clip" and node.attributes["activation_parameters"][0] == 0.0
    )  # fmt: skip


def _connected(graph: Graph) -> list[list[str]]:
    """Outputs of convolutions and normalisations, those linked by residuals together."""
    groups: dict[str, list[str]] = {}
    for node in graph.nodes:
        if not (is_conv(node) or node.op == "InstanceNormalization"):
            continue
        output, residual = node.outputs[0], node.input(3)
        groups[output] = groups.get(residual, []) if residual in groups else []
        groups[output].append(output)
    return list({id(values): values for values in groups.values()}.values())


def _group(view: GraphView, values: list[str], layers: set[str]) -> _Group | None:
    """The nodes around values, None if factors cannot pass through one of them."""
    makers, readers = [], []
    for value in values:
        maker = view.producer(value)
        if maker is None or view.is_output(value) or not _passes(maker):
            return None
        if maker.input(3) and maker.input(3) not in values:
            return None
        if is_conv(maker) and not all(_is_own_constant(view, name) for name in maker.inputs[1:3] if name):
            return None
        makers.append(maker)
        for reader in view.consumers.get(value, []):
            if reader.op == "InstanceNormalization" and reader.input(3) == value and reader.inputs[0] != value:
                if reader.outputs[0] not in values:
                    return None
            elif reader.name in layers and is_conv(reader) and reader.inputs[0] == value:
                if not _is_own_constant(view, reader.inputs[1]):
                    return None
                readers.append(reader)
            else:
                return None
    return _Group(values, makers, readers) if readers else None


def _is_own_constant(view: GraphView, name: str) -> bool:
    return name in view.graph.constants and len(view.consumers[name]) == 1


def _divide_outputs(graph: Graph, node: Node, factors: np.ndarray) -> None:
    """Divide the output channels of a convolution or normalisation, whose residual is divided already."""
    index = next(index for index, other in enumerate(graph.nodes) if other.name == node.name)
    if is_conv(node):
        weight = graph.constants[node.inputs[1]]
        graph.constants[node.inputs[1]] = weight / factors.reshape(-1, 1, 1, 1)
        if node.input(2):
            graph.constants[node.inputs[2]] = graph.constants[node.inputs[2]] / factors
        return
    inputs = list(node.inputs)
    for place in (1, 2):
        inputs[place] = _divided(graph, inputs[place], factors, index)
    index = next(index for index, other in enumerate(graph.nodes) if other.name == node.name)
    graph.nodes[index] = altered(node, inputs=inputs)


def _divided(graph: Graph, name: str, factors: np.ndarray, index: int) -> str:
    """A constant or computed value for each channel, divided; a new node goes before node ``index``."""
    if name in graph.constants:
        return graph.add_constant(f"{name}.equalized", graph.constants[name] / factors)
    table, first = _table_behind(graph, name)
    if table:
        divided_table = graph.constants[table].copy()
        divided_table[:, first : first + factors.size] /= factors
        graph.constants[table] = divided_table
        return name
    factor = graph.add_constant(f"{name}.factors", 1 / factors)
    divided = graph.fresh_name(f"{name}.equalized")
    graph.types[divided] = graph.types[name]
    graph.nodes.insert(index, Node("Mul", [name, factor], [divided], {}, divided))
    return divided


def _table_behind(graph: Graph, name: str) -> tuple[str, int]:
    """The constant matrix whose product with something holds a value for each channel, and the column where it begins.

    ``("", 0)`` if there is none, or something else reads the values.
    """
    view, first = GraphView(graph), 0
    node = view.producer(name) if view.sole_consumer(name) is not None else None
    if node is not None and node.op == "Split" and node.input(1) in graph.constants:
        first = int(graph.constants[node.inputs[1]][: node.outputs.index(name)].sum())
        node = view.producer(node.inputs[0])
    if node is not None and node.op == "Reshape" and view.sole_consumer(node.inputs[0]) is not None:
        node = view.producer(node.inputs[0])
    if node is None or node.op != "MatMul" or node.input(2) or node.attributes.get("activation"):
        return "", 0
    table = node.inputs[1]
    return (table, first) if _is_own_constant(view, table) and graph.constants[table].ndim == 2 else ("", 0)


def _multiply_inputs(graph: Graph, node: Node, factors: np.ndarray) -> None:
    """Multiply the weights of a convolution's input channels."""
    weight = graph.constants[node.inputs[1]]
    groups = node.attributes.get("group", 1)
    outputs, inputs = weight.shape[:2]
    by_group = weight.reshape(groups, outputs // groups, inputs, -1)
    scaled = by_group * factors.reshape(groups, 1, inputs, 1)
    graph.constants[node.inputs[1]] = np.ascontiguousarray(scaled.reshape(weight.shape))
