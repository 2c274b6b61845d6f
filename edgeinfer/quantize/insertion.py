"""QuantizeLinear and DequantizeLinear around the nodes that shall run on integers, and what the rules make of them."""

from __future__ import annotations

from collections.abc import Mapping, Set

import numpy as np

from edgeinfer.activation_codes import CLAMPS
from edgeinfer.graph import FUSED, DType, Graph, GraphView, Node, TensorType
from edgeinfer.passes import QUANTIZED_PASSES, run_passes
from edgeinfer.quantize.layers import MOVING, Layer, data_inputs
from edgeinfer.quantize.scales import Scale, along, dequantized_weight, quantized_weight, scales_for_bias, weight_scales
from edgeinfer.records import altered


def spelled_out(graph: Graph) -> Graph:
    """The graph in which no residual is fused into convolutions, and no Relu or Clip into sums and products.

    Before: ``y = edgeinfer.Conv(x, w, b, r) {activation="Relu"}``
    After:  ``t = edgeinfer.Conv(x, w, b); s = Add(t, r); y = Relu(s)``

    Results are rounded to integers between these. Where another activation is fused behind a residual, it stays.
    """
    result = graph.copy()
    result.nodes = []
    for node in graph.nodes:
        activation = node.attributes.get("activation", "")
        plain = node.domain == FUSED and (not activation or activation in CLAMPS)
        if plain and node.op == "Conv" and node.input(3):
            own = {key: value for key, value in node.attributes.items() if not key.startswith("activation")}
            product = result.fresh_name(f"{node.outputs[0]}.product")
            inputs = node.inputs[:3] if node.input(2) else node.inputs[:2]
            result.nodes.append(altered(node, inputs=inputs, outputs=[product], attributes=own))
            result.types[product] = result.types[node.outputs[0]]
            _append_sum(result, "Add", [product, node.inputs[3]], node, f"{node.name}.residual")
        elif plain and node.op in ("Add", "Mul"):
            _append_sum(result, node.op, node.inputs, node, node.name)
        else:
            result.nodes.append(node)
    return result


def _append_sum(graph: Graph, op: str, inputs: list[str], of: Node, name: str) -> None:
    """Append an ONNX sum or product, and the activation of the node ``of`` whose outputs it gives."""
    activation, parameters = of.attributes.get("activation", ""), of.attributes.get("activation_parameters", ())
    if not activation:
        graph.nodes.append(Node(op, list(inputs), list(of.outputs), {}, name))
        return
    before = graph.fresh_name(f"{of.outputs[0]}.sum")
    graph.types[before] = graph.types[of.outputs[0]]
    bounds = [
        graph.add_constant(f"{name}.{end}", np.array(value, np.float32))
        for end, value in zip(("low", "high"), parameters, strict=False)
    ]
    graph.nodes += [
        Node(op, list(inputs), [before], {}, name),
        Node(activation, [before, *bounds], list(of.outputs), {}, f"{name}.activation"),
    ]


def insert_quantization(
    graph: Graph,
    layers: Mapping[str, Layer],
    weights: Mapping[str, np.ndarray],
    chosen: set[str],
    scales: Mapping[str, Scale],
    exact: Set[str] = frozenset(),
) -> Graph:
    """The graph with QuantizeLinear and DequantizeLinear on the inputs of chosen nodes and on weights.

    Before: ``y = Conv(x, w, b)``
    After:  ``y = Conv(DequantizeLinear(QuantizeLinear(x)), DequantizeLinear(w8), b)``

    Args:
        graph: the float graph with types.
        layers: the layers that shall run on integers, by name.
        weights: their weights as int8, by name of the layer.
        chosen: names of the nodes that shall run on integers.
        scales: scale and zero point of every value that is quantized, by name.
        exact: names of other nodes that read values before they are rounded.
    """
    result = graph.copy()
    view = GraphView(graph)
    result.nodes = []
    dequantized: dict[str, str] = {}
    integers = quantized_values(graph, chosen)
    for name in graph.inputs:
        if name in integers:
            append_pair(result, name, scales[name], dequantized)
    for node in graph.nodes:
        # A sum that stays float is there to add what was not rounded.
        made_of_integers = {
            name
            for name in node.inputs
            if name in dequantized and _is_chosen(view.producer(name), chosen) and node.name not in exact
        }
        wanted = set(data_inputs(node)) if node.name in chosen else made_of_integers
        inputs = [dequantized.get(name, name) if name in wanted else name for name in node.inputs]
        if node.name in chosen and node.name in layers:
            bias = result.constants[node.input(2)].ravel() if node.input(2) else None
            layer, input_scale = layers[node.name], float(scales[node.inputs[0]].scale)
            inputs[1] = _append_weight(result, layer, weights[node.name], bias, input_scale)
        result.nodes.append(altered(node, inputs=inputs))
        for name in node.outputs:
            if name in integers:
                append_pair(result, name, scales[name], dequantized)
    return result


def _is_chosen(node: Node | None, chosen: set[str]) -> bool:
    return node is not None and node.name in chosen


def quantized_values(graph: Graph, chosen: set[str]) -> set[str]:
    """Names of the values that are rounded to integers: what chosen nodes read.

    Not so where a sum or product is only read by its Relu or Clip: both round once, together. A normalisation reads
    numbers of nodes that do not run on integers as they are.
    """
    view = GraphView(graph)
    names = set()
    for node in graph.nodes:
        if node.name in chosen:
            made_of_integers = {name for name in data_inputs(node) if _is_chosen(view.producer(name), chosen)}
            names |= made_of_integers if node.op == "InstanceNormalization" else set(data_inputs(node))
    return {name for name in names if not _is_absorbed(view, name)}


def _is_absorbed(view: GraphView, name: str) -> bool:
    producer, reader = view.producer(name), view.sole_consumer(name)
    return (
        producer is not None and producer.op in ("Add", "Mul") and reader is not None
        and reader.op in CLAMPS and reader.inputs[0] == name
    )  # fmt: skip


def append_pair(graph: Graph, name: str, scale: Scale, dequantized: dict[str, str]) -> None:
    """Append a QuantizeLinear and a DequantizeLinear of a value, and enter the name of the result."""
    scale_name = graph.add_constant(f"{name}.scale", scale.scale)
    zero_point = graph.add_constant(f"{name}.zero_point", scale.zero_point)
    integers, numbers = graph.fresh_name(f"{name}.integers"), graph.fresh_name(f"{name}.numbers")
    graph.nodes += [
        Node("QuantizeLinear", [name, scale_name, zero_point], [integers], {}, f"{name}.quantize"),
        Node("DequantizeLinear", [integers, scale_name, zero_point], [numbers], {}, f"{name}.dequantize"),
    ]
    known = graph.types.get(name)
    shape = known.shape if known is not None else None
    graph.types[integers] = TensorType(DType.of(scale.zero_point), shape)
    graph.types[numbers] = TensorType(DType.FLOAT32, shape)
    dequantized[name] = numbers


def _append_weight(graph: Graph, layer: Layer, weight: np.ndarray, bias: np.ndarray | None, input_scale: float) -> str:
    scale = weight_scales(graph.constants[layer.weight], layer.axis)
    if bias is not None:
        # Such channels are nearly constant: their weights may be coarser.
        wide = np.maximum(scale, scales_for_bias(bias, input_scale, weight.size // scale.size)).astype(np.float32)
        weight = quantized_weight(dequantized_weight(weight, scale, layer.axis), wide, layer.axis)
        scale = wide
    integers = graph.add_constant(f"{layer.name}.weight", weight)
    scale_name = graph.add_constant(f"{layer.name}.weight_scale", scale)
    zero_point = graph.add_constant(f"{layer.name}.weight_zero_point", np.zeros(scale.shape, np.int8))
    numbers = graph.fresh_name(f"{layer.name}.weight_numbers")
    graph.nodes.append(
        Node("DequantizeLinear", [integers, scale_name, zero_point], [numbers], {"axis": layer.axis}, numbers)
    )
    graph.types[numbers] = TensorType(DType.FLOAT32, tuple(weight.shape))
    return numbers


def fused(graph: Graph) -> Graph:
    """What the rules on quantized models make of a graph with QuantizeLinear and DequantizeLinear."""
    return run_passes(graph, QUANTIZED_PASSES)[0]


def dequantized_value(view: GraphView, name: str, array: np.ndarray) -> np.ndarray:
    """What the contents of a value stand for: numbers where a reader knows scale and zero point of integers."""
    found = _scale_of(view, name) if array.dtype in (np.int8, np.uint8) else None
    if found is None:
        return array
    scale, zero_point = (view.graph.constants[parameter].astype(np.float64) for parameter in found)
    if scale.size > 1 and array.ndim > 1:
        scale, zero_point = (along(parameter.ravel(), 1, array.ndim) for parameter in (scale, zero_point))
    return (array.astype(np.float64) - zero_point) * scale


def _scale_of(view: GraphView, name: str) -> tuple[str, str] | None:
    """The constants behind an integer value among the inputs of its readers, or of those of what only moves it."""
    for reader in view.consumers.get(name, []):
        if reader.op == "DequantizeLinear" or (reader.domain == FUSED and reader.op.startswith("Q")):
            place = reader.inputs.index(name)
            scale, zero_point = reader.input(place + 1), reader.input(place + 2)
            if scale in view.graph.constants and zero_point in view.graph.constants:
                return scale, zero_point
        elif reader.op in MOVING:
            found = _scale_of(view, reader.outputs[0])
            if found is not None:
                return found
    return None
