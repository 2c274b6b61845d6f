"""GELU spelled out becomes one operator."""

from __future__ import annotations

import math

from edgeinfer.graph import GraphView, Node
from edgeinfer.passes.pass_base import Rule
from edgeinfer.passes.patch import Patch
from edgeinfer.passes.patterns import (
    is_close,
    is_op,
    is_power,
    is_real,
    made_by,
    only_read_by,
    operands,
    other_input,
    scalar_operand,
    scaled_operand,
)


class FuseGelu(Rule):
    """GELU (Hendrycks, Gimpel 2016) becomes one operator, exact or by the tanh formula.

    Before: ``y = 0.5 * x * (1 + Erf(x / sqrt(2)))`` or ``y = 0.5 * x * (1 + Tanh(sqrt(2 / pi) * (x + 0.044715 x³)))``
    After:  ``y = Gelu(x)`` or ``y = Gelu(x, approximate="tanh")``

    The factors may come in any order.
    """

    anchors = frozenset({"Erf", "Tanh"})

    def match(self, view: GraphView, node: Node) -> Patch | str | None:
        """Match around Erf or Tanh."""
        if node.domain or not is_real(view, node.outputs[0]):
            return None
        found = _erf_argument(view, node) if node.op == "Erf" else _tanh_argument(view, node)
        if found is None:
            return None
        x, inner = found
        plus = view.sole_consumer(node.outputs[0])
        one = scalar_operand(view, plus, "Add")
        outer = _product(view, plus, x) if plus is not None and one is not None and one[1] == 1.0 else None
        if plus is None or outer is None:
            return None
        nodes = [*inner, node, plus, *outer]
        if not all(only_read_by(view, item.outputs[0], *nodes) for item in nodes[:-1]):
            return "an intermediate value is read elsewhere"
        attributes = {"approximate": "none" if node.op == "Erf" else "tanh"}
        return Patch(nodes, [Node("Gelu", [x], nodes[-1].outputs, attributes, nodes[-1].name)])


def _erf_argument(view: GraphView, erf: Node) -> tuple[str, list[Node]] | None:
    """x and the node of ``x / sqrt(2)``."""
    scale = made_by(view, erf.inputs[0], "Mul", "Div")
    scaled = scaled_operand(view, scale)
    if scale is None or scaled is None or not is_close(scaled[1], math.sqrt(0.5)):
        return None
    return scaled[0], [scale]


def _tanh_argument(view: GraphView, tanh: Node) -> tuple[str, list[Node]] | None:
    """x and the nodes of ``sqrt(2 / pi) * (x + 0.044715 x³)``."""
    scale = made_by(view, tanh.inputs[0], "Mul")
    scaled = scaled_operand(view, scale)
    total = made_by(view, scaled[0], "Add") if scaled and is_close(scaled[1], math.sqrt(2 / math.pi)) else None
    if scale is None or total is None:
        return None
    for x, cubic in operands(total):
        term = made_by(view, cubic, "Mul")
        factor = scaled_operand(view, term)
        cube = _cube(view, factor[0], x) if factor and is_close(factor[1], 0.044715) else None
        if term is not None and cube is not None:
            return x, [*cube, term, total, scale]
    return None


def _cube(view: GraphView, name: str, x: str) -> list[Node] | None:
    """The nodes of ``x³``: ``Pow(x, 3)`` or ``x * x * x``."""
    node = made_by(view, name, "Pow", "Mul")
    if node is None:
        return None
    if node.op == "Pow":
        return [node] if is_power(view, node, x, 3.0) else None
    other = other_input(node, x)
    square = made_by(view, other, "Mul", "Pow") if other else None
    if square is None or square.inputs[0] != x:
        return None
    is_square = is_power(view, square, x, 2.0) if square.op == "Pow" else square.inputs[1] == x
    return [square, node] if is_square else None


def _product(view: GraphView, plus: Node, x: str) -> list[Node] | None:
    """The nodes that multiply the sum by x and by one half, in any order; the last one makes the result."""
    first = view.sole_consumer(plus.outputs[0])
    factor = other_input(first, plus.outputs[0]) if is_op(first, "Mul") and first is not None else None
    if first is None or factor is None:
        return None
    half = made_by(view, factor, "Mul", "Div")
    if scaled_operand(view, half) == (x, 0.5) and half is not None:
        return [half, first]
    second = view.sole_consumer(first.outputs[0])
    if second is None:
        return None
    if factor == x and scaled_operand(view, second) == (first.outputs[0], 0.5):
        return [first, second]
    is_half = scalar_operand(view, first, "Mul") == (plus.outputs[0], 0.5) and is_op(second, "Mul")
    return [first, second] if is_half and other_input(second, first.outputs[0]) == x else None
