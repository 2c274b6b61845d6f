"""Dynamic quantization becomes arithmetic on whole numbers in float32, which every kernel set has."""

from __future__ import annotations

import numpy as np

from edgeinfer.graph import Graph, GraphView, Node
from edgeinfer.passes.pass_base import Pass, PassResult, Refusal

_PRODUCTS = {"MatMulInteger": "MatMul", "ConvInteger": "Conv"}
_LARGEST = 255.0
# A tensor of zeros has this scale instead of 0.
_SMALLEST_SCALE = np.finfo(np.float32).tiny
_FLOAT = 1


class ReplaceDynamicQuantization(Pass):
    """Products of dynamically quantized tensors become float products of the same whole numbers.

    Before: ``q, s, z = DynamicQuantizeLinear(x); y = Cast(ConvInteger(q, w, z, v)) {to=float32}``
    After:  ``s = (max(x, 0) - min(x, 0)) / 255; z = round(-min(x, 0) / s);
    y = Conv(clip(round(x / s) + z, 0, 255) - z, float(w - v))``

    The results are the same: float32 holds whole numbers exactly, and their sums up to 2^24 too.
    """

    def run(self, graph: Graph) -> PassResult:
        """Replace every DynamicQuantizeLinear that only such products read."""
        view, refusals = GraphView(graph), []
        replaced: dict[str, list[Node]] = {}
        for node in graph.nodes:
            if node.op == "DynamicQuantizeLinear":
                reason = _hindrance(view, node)
                if reason:
                    refusals.append(Refusal(self.name, node.name, reason))
                else:
                    replaced[node.name] = view.consumers[node.outputs[0]]
        if not replaced:
            return PassResult(graph, 0, refusals)
        result = graph.copy()
        result.nodes = []
        names = {product.name: name for name, products in replaced.items() for product in products}
        for node in graph.nodes:
            maker = view.producer(node.inputs[0]) if node.inputs else None
            if node.name in replaced:
                _append_centred(result, node)
            elif node.name in names:
                result.nodes.append(_float_product(view, result, node, f"{names[node.name]}.centred"))
            elif maker is None or maker.name not in names:
                result.nodes.append(node)
        return PassResult(result, len(replaced), refusals)


def _hindrance(view: GraphView, node: Node) -> str:
    """Why a DynamicQuantizeLinear cannot be replaced; empty if it can."""
    integers, _, zero_point = node.outputs
    products = view.consumers.get(integers, [])
    if not products or view.is_output(integers) or view.is_output(zero_point):
        return "its integers are not read by products alone"
    for reader in [*products, *view.consumers.get(zero_point, [])]:
        if reader.op not in _PRODUCTS or reader.inputs[0] != integers or reader.input(2) != zero_point:
            return f"{reader} reads its integers or zero point"
        cast = view.sole_consumer(reader.outputs[0])
        if any(name and name not in view.graph.constants for name in (reader.inputs[1], reader.input(3))):
            return f"the weights of {reader} are computed at run time"
        if cast is None or cast.op != "Cast" or cast.attributes["to"] != _FLOAT:
            return f"the sums of {reader} are not read as float32 alone"
    return ""


def _float_product(view: GraphView, graph: Graph, node: Node, centred: str) -> Node:
    """A product of integers and the Cast behind it as a float product."""
    weight = graph.constants[node.inputs[1]].astype(np.float32)
    shift = graph.constants[node.inputs[3]].astype(np.float32) if node.input(3) else np.float32(0)
    if node.op == "ConvInteger" and shift.ndim:
        shift = shift.reshape(-1, *[1] * (weight.ndim - 1))
    (cast,) = view.consumers[node.outputs[0]]
    inputs = [centred, graph.add_constant(f"{node.name}.weight", weight - shift)]
    return Node(_PRODUCTS[node.op], inputs, list(cast.outputs), dict(node.attributes), node.name)


def _append_centred(graph: Graph, node: Node) -> None:
    """Append the nodes that make the scale, and the integers without their zero point as ``NAME.centred``."""
    own = node.name
    known = {"x": node.inputs[0], "scale": node.outputs[1]}
    for name, value in (("zero", 0.0), ("most", _LARGEST), ("tiny", _SMALLEST_SCALE)):
        known[name] = graph.add_constant(f"{own}.{name}", np.array(value, np.float32))
    for op, name, *inputs in (
        ("ReduceMin", "least", "x"),
        ("ReduceMax", "greatest", "x"),
        ("Min", "low", "least", "zero"),
        ("Max", "high", "greatest", "zero"),
        ("Sub", "range", "high", "low"),
        ("Div", "step", "range", "most"),
        ("Max", "scale", "step", "tiny"),
        ("Sub", "below", "zero", "low"),
        ("Div", "steps_below", "below", "scale"),
        ("Round", "zero_point", "steps_below"),
        ("Div", "steps", "x", "scale"),
        ("Round", "rounded", "steps"),
        ("Add", "shifted", "rounded", "zero_point"),
        ("Clip", "clipped", "shifted", "zero", "most"),
        ("Sub", "centred", "clipped", "zero_point"),
    ):
        output = known.setdefault(name, f"{own}.{name}")
        attributes = {"keepdims": 0} if op.startswith("Reduce") else {}
        graph.nodes.append(Node(op, [known[x] for x in inputs], [output], attributes, f"{own}.{name}"))
