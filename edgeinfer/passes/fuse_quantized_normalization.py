"""Normalisations whose result is quantized."""

from __future__ import annotations

from edgeinfer.graph import FUSED, ONNX, GraphView, Node
from edgeinfer.passes.pass_base import Rule
from edgeinfer.passes.patch import Patch
from edgeinfer.passes.quantization_patterns import Integers, dequantized_bytes, quantizer


class FuseQuantizedNormalization(Rule):
    """A normalisation reads integers, where its input is made of them, and writes integers.

    Before: ``y = QuantizeLinear(InstanceNormalization(DequantizeLinear(x), scale, bias, DequantizeLinear(r)))``
    After:  ``y = edgeinfer.QInstanceNormalization(x, xs, xz, scale, bias, ys, yz, r, rs, rz)``
    """

    anchors = frozenset({"InstanceNormalization"})

    def match(self, view: GraphView, node: Node) -> Patch | str | None:
        """Match an InstanceNormalization, plain or fused, that is quantized to 8 bits."""
        last = quantizer(view, node.outputs[0])
        if last is None or node.domain not in (ONNX, FUSED):
            return None
        found = dequantized_bytes(view, node.inputs[0])
        x = found.inputs if isinstance(found, Integers) else [node.inputs[0], "", ""]
        inputs = [*x, *node.inputs[1:3], *last.inputs[1:3]]
        if node.input(3):
            residual = dequantized_bytes(view, node.input(3))
            inputs += residual.inputs if isinstance(residual, Integers) else [node.input(3)]
        fused = Node("QInstanceNormalization", inputs, last.outputs, dict(node.attributes), node.name, FUSED)
        return Patch([node, last], [fused])
