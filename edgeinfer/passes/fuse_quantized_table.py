"""Functions of one byte, computed once for all 256."""

from __future__ import annotations

import numpy as np

from edgeinfer.graph import FUSED, DType, GraphView, Node
from edgeinfer.ops.evaluate import evaluate_node
from edgeinfer.ops.quantized_elementwise import dequantized, quantized_as
from edgeinfer.passes.pass_base import Rule
from edgeinfer.passes.patch import Patch
from edgeinfer.passes.quantization_patterns import Integers, dequantized_bytes, quantizer, same_quantization

_FUNCTIONS = frozenset({
    "Abs", "Neg", "Exp", "Log", "Sqrt", "Reciprocal", "Floor", "Ceil", "Round", "Sin", "Cos", "Erf", "Tanh", "Sigmoid",
    "Relu", "Softplus", "Softsign", "HardSwish", "Mish", "LeakyRelu", "Elu", "Celu", "Selu", "HardSigmoid", "Swish",
    "ThresholdedRelu", "Gelu", "Clip",
})  # fmt: skip

_PORT = "integers are an input or output: a table would not tell their scale"


class FuseQuantizedFunction(Rule):
    """A function of one number becomes a table of bytes; so does a change of scale.

    Before: ``y = QuantizeLinear(Sigmoid(DequantizeLinear(x)))``
    After:  ``y = edgeinfer.QTable(x, table)`` with a constant table of 256 bytes
    """

    anchors = _FUNCTIONS

    def match(self, view: GraphView, node: Node) -> Patch | str | None:
        """Match a function of dequantized bytes that is quantized."""
        x = dequantized_bytes(view, node.inputs[0])
        if not isinstance(x, Integers):
            return x
        last = quantizer(view, node.outputs[0])
        if last is None:
            return "the result is not quantized to 8 bits with one scale"
        if _is_port(view, x.name, last.outputs[0]):
            return _PORT
        parameters = [view.graph.constants.get(name) if name else None for name in node.inputs[1:]]
        if any(name and array is None for name, array in zip(node.inputs[1:], parameters, strict=True)):
            return "a parameter is computed at run time"
        constants = view.graph.constants
        values = evaluate_node(node, [_numbers(view, x), *parameters])[0]
        table = quantized_as(values, constants[last.inputs[1]], constants[last.inputs[2]])
        name = f"{node.name}.table"
        return Patch([node, last], [Node("QTable", [x.name, name], last.outputs, {}, node.name, FUSED)], {name: table})


class FuseRequantization(Rule):
    """Integers brought to another scale become a table of bytes.

    Before: ``y = QuantizeLinear(DequantizeLinear(x, xs, xz), ys, yz)``
    After:  ``y = edgeinfer.QTable(x, table)``
    """

    anchors = frozenset({"QuantizeLinear"})

    def match(self, view: GraphView, node: Node) -> Patch | str | None:
        """Match a QuantizeLinear of dequantized bytes, be they read elsewhere too."""
        x = dequantized_bytes(view, node.inputs[0])
        if not isinstance(x, Integers) or x.name in view.graph.constants:
            return None
        scale, zero_point = (view.graph.constants.get(node.input(index)) for index in (1, 2))
        if scale is None or zero_point is None or scale.size != 1 or DType.of(zero_point).itemsize != 1:
            return "the result is not quantized to 8 bits with one scale"
        if _is_port(view, x.name, node.outputs[0]):
            return _PORT
        name = f"{node.name}.table"
        table = quantized_as(_numbers(view, x), scale, zero_point)
        return Patch([node], [Node("QTable", [x.name, name], node.outputs, {}, node.name, FUSED)], {name: table})


class FuseQuantizedConcat(Rule):
    """Integers are brought to one scale by tables, where theirs differ, and joined.

    Before: ``y = QuantizeLinear(Concat(DequantizeLinear(a), DequantizeLinear(b)))``
    After:  ``y = Concat(a, edgeinfer.QTable(b, table))``
    """

    anchors = frozenset({"Concat"})

    def match(self, view: GraphView, node: Node) -> Patch | str | None:
        """Match a concatenation of dequantized bytes that is quantized."""
        parts = [dequantized_bytes(view, name) for name in node.inputs]
        last = quantizer(view, node.outputs[0])
        if last is None or not any(isinstance(part, Integers) for part in parts):
            return None
        scale, zero_point = last.inputs[1:3]
        names, tables, constants = [], [], {}
        for index, part in enumerate(parts):
            if not isinstance(part, Integers):
                return "not all parts are 8 bits wide with one scale"
            name = part.name
            if not same_quantization(view, (part.scale, part.zero_point), (scale, zero_point)):
                table, name = f"{node.name}.table{index}", f"{node.name}.part{index}"
                values = _numbers(view, part)
                constants[table] = quantized_as(values, view.graph.constants[scale], view.graph.constants[zero_point])
                tables.append(Node("QTable", [part.name, table], [name], {}, name, FUSED))
            names.append(name)
        joined = Node("Concat", names, last.outputs, dict(node.attributes), node.name)
        return Patch([node, last], [*tables, joined], constants)


def _is_port(view: GraphView, source: str, result: str) -> bool:
    return source in view.graph.inputs or view.is_output(result)


def _numbers(view: GraphView, x: Integers) -> np.ndarray:
    """What the 256 bytes stand for, in the order of the unsigned bytes."""
    octets = np.arange(256, dtype=np.uint8).view(view.graph.constants[x.zero_point].dtype)
    return dequantized(octets, view.graph.constants[x.scale], view.graph.constants[x.zero_point])
