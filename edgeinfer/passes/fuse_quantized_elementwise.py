"""Sums, products, pools and softmax of integers."""

from __future__ import annotations

from edgeinfer.graph import FUSED, GraphView, Node
from edgeinfer.passes.pass_base import Rule
from edgeinfer.passes.patch import Patch
from edgeinfer.passes.patterns import axes_of
from edgeinfer.passes.quantization_patterns import Integers, dequantized_bytes, fused_activation, quantizer


class FuseQuantizedBinary(Rule):
    """A sum or product of integers takes the place of one of the numbers that they stand for.

    Before: ``y = QuantizeLinear(Relu(Add(DequantizeLinear(a), DequantizeLinear(b))))``
    After:  ``y = edgeinfer.QAdd(a, as, az, b, bs, bz, ys, yz) {activation="Relu"}``
    """

    anchors = frozenset({"Add", "Mul"})

    def match(self, view: GraphView, node: Node) -> Patch | str | None:
        """Match a sum or product of dequantized bytes that is quantized."""
        a, b = dequantized_bytes(view, node.inputs[0]), dequantized_bytes(view, node.inputs[1])
        if a is None or b is None:
            return None
        if isinstance(a, str) or isinstance(b, str):
            return a if isinstance(a, str) else str(b)
        if any(node.attributes.get(name) for name in ("activation", "layout")):
            return "an activation is fused already"
        output, activation, parameters, nodes = fused_activation(view, node.outputs[0])
        last = quantizer(view, output)
        if last is None:
            return "the result is not quantized to 8 bits with one scale"
        attributes = {"activation": activation, "activation_parameters": parameters} if activation else {}
        inputs = [*a.inputs, *b.inputs, *last.inputs[1:3]]
        fused = Node(f"Q{node.op}", inputs, last.outputs, attributes, node.name, FUSED)
        return Patch([node, *nodes, last], [fused])


class FuseQuantizedAveragePool(Rule):
    """An average of integers takes the place of one of the numbers that they stand for.

    Before: ``y = QuantizeLinear(GlobalAveragePool(DequantizeLinear(x)))``; also AveragePool and ReduceMean
    After:  ``y = edgeinfer.QGlobalAveragePool(x, xs, xz, ys, yz)``
    """

    anchors = frozenset({"AveragePool", "GlobalAveragePool", "ReduceMean"})

    def match(self, view: GraphView, node: Node) -> Patch | str | None:
        """Match a pool of dequantized bytes that is quantized."""
        x = dequantized_bytes(view, node.inputs[0])
        if not isinstance(x, Integers):
            return x
        op = "GlobalAveragePool" if node.op == "ReduceMean" else node.op
        if node.op == "ReduceMean":
            rank = view.graph.types[x.name].rank
            if rank != 4 or axes_of(view, node) != [2, 3] or not node.attributes.get("keepdims", 1):
                return "the mean is not one over the rows and columns of pictures"
        last = quantizer(view, node.outputs[0])
        if last is None:
            return "the result is not quantized to 8 bits with one scale"
        attributes = dict(node.attributes) if node.op == "AveragePool" else {}
        fused = Node(f"Q{op}", [*x.inputs, *last.inputs[1:3]], last.outputs, attributes, node.name, FUSED)
        return Patch([node, last], [fused])


class FuseQuantizedSoftmax(Rule):
    """A softmax of integers takes the place of one of the numbers that they stand for.

    Before: ``y = QuantizeLinear(Softmax(DequantizeLinear(x)) {axis=1})``
    After:  ``y = edgeinfer.QSoftmax(x, xs, xz, ys, yz) {axis=1}``
    """

    anchors = frozenset({"Softmax"})

    def match(self, view: GraphView, node: Node) -> Patch | str | None:
        """Match a softmax of dequantized bytes that is quantized."""
        x = dequantized_bytes(view, node.inputs[0])
        if not isinstance(x, Integers):
            return x
        last = quantizer(view, node.outputs[0])
        if last is None:
            return "the result is not quantized to 8 bits with one scale"
        inputs = [*x.inputs, *last.inputs[1:3]]
        fused = Node("QSoftmax", inputs, last.outputs, dict(node.attributes), node.name, FUSED)
        return Patch([node, last], [fused])
