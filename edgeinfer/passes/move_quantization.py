"""Operators that only move or choose elements, run on integers."""

from __future__ import annotations

import numpy as np

from edgeinfer.graph import DType, GraphView, Node
from edgeinfer.ops.quantize import quantized
from edgeinfer.passes.pass_base import Rule
from edgeinfer.passes.patch import Patch
from edgeinfer.passes.patterns import made_by, scalar
from edgeinfer.passes.quantization_patterns import Integers, dequantized_bytes, quantizer, same_quantization
from edgeinfer.records import altered

_RESHAPING = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Identity"}
_MOVING = _RESHAPING | {"MaxPool", "Slice", "Gather", "DepthToSpace", "SpaceToDepth", "Expand", "Tile", "Resize", "Pad"}


class MoveQuantizeUp(Rule):
    """QuantizeLinear goes before an operator that only gives elements another place.

    Before: ``y = QuantizeLinear(Reshape(x, shape), ys, yz)``
    After:  ``y = Reshape(QuantizeLinear(x, ys, yz), shape)``
    """

    anchors = frozenset({"QuantizeLinear"})

    def match(self, view: GraphView, node: Node) -> Patch | str | None:
        """Match a QuantizeLinear with one scale behind such an operator, unless that reads dequantized integers."""
        before = made_by(view, node.inputs[0], *_RESHAPING)
        if before is None or quantizer(view, node.inputs[0]) is None or before.inputs[0] in view.graph.constants:
            return None
        if made_by(view, before.inputs[0], "DequantizeLinear") is not None:
            return None
        name = f"{before.inputs[0]}.quantized"
        first = altered(node, inputs=[before.inputs[0], *node.inputs[1:]], outputs=[name])
        second = altered(before, inputs=[name, *before.inputs[1:]], outputs=node.outputs)
        return Patch([before, node], [first, second])


class MoveIntegers(Rule):
    """An operator that only moves or chooses elements works on the integers where scales before and behind are equal.

    Before: ``y = QuantizeLinear(MaxPool(DequantizeLinear(x, s, z)), s, z)``
    After:  ``y = MaxPool(x)``
    """

    anchors = frozenset(_MOVING)

    def match(self, view: GraphView, node: Node) -> Patch | str | None:
        """Match an operator between DequantizeLinear and QuantizeLinear."""
        x = dequantized_bytes(view, node.inputs[0])
        if not isinstance(x, Integers):
            return x
        if any(node.outputs[1:]):
            return "the second output is read"
        last = quantizer(view, node.outputs[0])
        if last is None:
            return "the result is not quantized to 8 bits with one scale"
        if not same_quantization(view, (x.scale, x.zero_point), (last.inputs[1], last.inputs[2])):
            return "the scales before and behind differ"
        if node.op == "Resize" and node.attributes.get("mode", "nearest") != "nearest":
            return "interpolation makes new numbers"
        inputs, constants = [x.name, *node.inputs[1:]], {}
        if node.op == "Pad" and node.attributes.get("mode", "constant") == "constant":
            value = scalar(view, node.inputs[2]) if node.input(2) else 0.0
            if value is None:
                return "the padding's value is computed at run time"
            zero_point = view.graph.constants[x.zero_point].reshape(())
            name = f"{node.name}.value"
            constants[name] = quantized(
                np.asarray(value, np.float32), view.graph.constants[x.scale].reshape(()), int(zero_point),
                DType.of(zero_point),
            )  # fmt: skip
            inputs = [inputs[0], inputs[1], name, *inputs[3:]]
        return Patch([node, last], [altered(node, inputs=inputs, outputs=last.outputs)], constants)


class RemoveQuantizePair(Rule):
    """Integers that were only turned to numbers and back stay as they are.

    Before: ``y = QuantizeLinear(DequantizeLinear(x, s, z), s, z)``
    After:  ``y = x``
    """

    anchors = frozenset({"QuantizeLinear"})

    def match(self, view: GraphView, node: Node) -> Patch | str | None:
        """Match a QuantizeLinear of integers with the same scale."""
        x = dequantized_bytes(view, node.inputs[0])
        if not isinstance(x, Integers) or x.name in view.graph.constants or not node.input(2):
            return None
        if any(name not in view.graph.constants for name in node.inputs[1:3]):
            return None
        if not same_quantization(view, (x.scale, x.zero_point), (node.inputs[1], node.inputs[2])):
            return None
        if view.is_output(node.outputs[0]):
            return "the integers are an output"
        return Patch([node], renames={node.outputs[0]: x.name})
