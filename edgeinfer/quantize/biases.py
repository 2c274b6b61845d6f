"""Biases that make up for what rounding does to means."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgeinfer.graph import Graph
from edgeinfer.quantize.layers import Layer
from edgeinfer.quantize.observation import Observation
from edgeinfer.quantize.scales import dequantized_weight, weight_scales
from edgeinfer.records import altered


def correct_biases(
    graph: Graph, layers: list[Layer], weights: Mapping[str, np.ndarray], seen: Mapping[str, Observation]
) -> Graph:
    """Biases lose what rounded weights add to the mean of each output channel: ``b - (rounded w - w) * mean(x)``.

    ``weights`` are the rounded ones by name of the layer. Means of the input channels are those seen on calibration
    data, borders left aside.
    Source: Nagel et al., Data-free quantization through weight equalization and bias correction, ICCV 2019.
    """
    result = graph.copy()
    for layer in layers:
        weight = graph.constants[layer.weight].astype(np.float64)
        error = dequantized_weight(weights[layer.name], weight_scales(weight, layer.axis), layer.axis) - weight
        mean = seen[layer.node.inputs[0]].channel_mean
        if layer.node.op == "Conv":
            groups = layer.node.attributes.get("group", 1)
            of_inputs = error.sum(axis=(2, 3)).reshape(groups, -1, weight.shape[1])
            shift = np.einsum("goi,gi->go", of_inputs, mean.reshape(groups, -1)).ravel()
        elif layer.node.op == "ConvTranspose":
            # Each output position sees one tap in so many along each axis.
            shift = mean @ error.sum(axis=(2, 3)) / np.prod(layer.node.attributes.get("strides", 1))
        else:
            shift = error @ mean if layer.axis == 0 else mean @ error
        _add_bias(result, layer, -shift)
    return result


def _add_bias(graph: Graph, layer: Layer, summand: np.ndarray) -> None:
    """Add to a layer's bias, which it gets if it has none."""
    node = next(node for node in graph.nodes if node.name == layer.name)
    old = graph.constants[node.input(2)].ravel() if node.input(2) else 0.0
    name = graph.add_constant(f"{layer.name}.bias", (old + summand).astype(np.float32))
    inputs = [*node.inputs[:2], name, *node.inputs[3:]]
    graph.nodes[graph.nodes.index(node)] = altered(node, inputs=inputs)
