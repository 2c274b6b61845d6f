"""Finds normalisations that exporters spelled out: what instance and layer normalisation have in common."""

from __future__ import annotations

from dataclasses import dataclass

from edgeinfer.graph import GraphView, Node
from edgeinfer.passes.patterns import (
    axes_of,
    consumers_of,
    is_power,
    is_real,
    is_scalar,
    keeps_rank,
    made_by,
    only_read_by,
    other_input,
    scalar_operand,
)


@dataclass
class SpelledNormalization:
    """A normalisation found in a graph: ``y = (x - mean) / sqrt(variance + epsilon) [* scale] [+ bias]``.

    Attributes:
        x: the value that is normalised.
        axes: the axes over which mean and variance run, ascending.
        epsilon: the number added to the variance.
        nodes: the nodes that go.
        last: the one of them that makes y.
        scale: the factor if it is part of the pattern, else ``""``.
        bias: the summand if it is part of the pattern, else ``""``.
    """

    x: str
    axes: list[int]
    epsilon: float
    nodes: list[Node]
    last: Node
    scale: str = ""
    bias: str = ""


@dataclass
class _Statistics:
    """The part of the pattern up to ``variance + epsilon``."""

    x: str
    mean: str
    centred: str
    axes: list[int]
    epsilon: float
    nodes: list[Node]


@dataclass
class _Quotient:
    """The part of the pattern from the square root on."""

    nodes: list[Node]
    scale: str = ""
    bias: str = ""


def find_normalization(view: GraphView, root: Node) -> SpelledNormalization | str | None:
    """The normalisation around a node that takes the square root of ``variance + epsilon``.

    ``m = ReduceMean(x); d = x - m; v = ReduceMean(Pow(d, 2) | d * d); s = Sqrt(v + eps) | Pow(v + eps, 0.5)``, then

    - ``d / s`` or ``d * r`` with the reciprocal ``r = 1 / s | Reciprocal(s) | Pow(v + eps, -0.5)``,
    - ``d * (r * scale)``,
    - ``x * (r * scale) + (bias - m * (r * scale))``, the form of TensorFlow's ``batch_normalization``.

    Returns:
        The normalisation, why it is none although it begins like one, or None.
    """
    if not (_is_root(view, root) and is_real(view, root.outputs[0])):
        return None
    statistics = _statistics(view, root)
    if statistics is None or isinstance(statistics, str):
        return statistics
    quotient = _quotient(view, root, statistics)
    if quotient is None:
        return "the deviation is not divided by the standard deviation"
    nodes = [*statistics.nodes, root, *quotient.nodes]
    last = quotient.nodes[-1]
    if not all(only_read_by(view, node.outputs[0], *nodes) for node in nodes if node is not last):
        return "an intermediate value is read elsewhere"
    return SpelledNormalization(
        statistics.x, statistics.axes, statistics.epsilon, nodes, last, quotient.scale, quotient.bias
    )


def _is_root(view: GraphView, node: Node) -> bool:
    if node.op == "Pow":
        return is_power(view, node, node.inputs[0], 0.5) or is_power(view, node, node.inputs[0], -0.5)
    return node.op == "Sqrt"


def _statistics(view: GraphView, root: Node) -> _Statistics | str | None:
    plus = made_by(view, root.inputs[0], "Add")
    found = scalar_operand(view, plus, "Add")
    variance = made_by(view, found[0], "ReduceMean") if found else None
    if plus is None or found is None or variance is None:
        return None
    square = made_by(view, variance.inputs[0], "Pow", "Mul")
    minus = made_by(view, square.inputs[0], "Sub") if square is not None and _is_square(view, square) else None
    mean = made_by(view, minus.inputs[1], "ReduceMean") if minus else None
    if square is None or minus is None or mean is None or mean.inputs[0] != minus.inputs[0]:
        return None
    axes = axes_of(view, mean)
    if not axes or axes_of(view, variance) != axes:
        return "mean and variance are not over the same known axes"
    if not (mean.attributes.get("keepdims", 1) and variance.attributes.get("keepdims", 1)):
        return "the statistics do not keep their dimensions"
    nodes = [mean, minus, square, variance, plus]
    return _Statistics(minus.inputs[0], mean.outputs[0], minus.outputs[0], axes, found[1], nodes)


def _is_square(view: GraphView, node: Node) -> bool:
    if node.op == "Pow":
        return is_power(view, node, node.inputs[0], 2.0)
    return node.inputs[0] == node.inputs[1]


def _quotient(view: GraphView, root: Node, statistics: _Statistics) -> _Quotient | None:
    deviation = root.outputs[0]
    if is_power(view, root, root.inputs[0], -0.5):
        return _product(view, deviation, [], statistics)
    for division in consumers_of(view, deviation, "Div"):
        if division.inputs == [statistics.centred, deviation]:
            return _Quotient([division])
    inverses = consumers_of(view, deviation, "Reciprocal")
    inverses += [
        node
        for node in consumers_of(view, deviation, "Div")
        if is_scalar(view, node.inputs[0], 1.0) and keeps_rank(view, deviation, node.inputs[0])
    ]
    found = (_product(view, inverse.outputs[0], [inverse], statistics) for inverse in inverses)
    return next((product for product in found if product is not None), None)


def _product(view: GraphView, inverse: str, nodes: list[Node], statistics: _Statistics) -> _Quotient | None:
    """The deviation times the inverse standard deviation, or times that with the scale already in it."""
    plain = _applied(view, inverse, nodes, statistics)
    if plain is not None:
        return plain
    for scaled in consumers_of(view, inverse, "Mul"):
        scale = other_input(scaled, inverse)
        found = _applied(view, scaled.outputs[0], [*nodes, scaled], statistics)
        if found is not None and scale is not None:
            return _Quotient(found.nodes, scale, found.bias)
    return None


def _applied(view: GraphView, factor: str, nodes: list[Node], statistics: _Statistics) -> _Quotient | None:
    """``(x - m) * factor`` or ``x * factor + (bias - m * factor)``."""
    products = {other_input(node, factor): node for node in consumers_of(view, factor, "Mul")}
    if statistics.centred in products:
        return _Quotient([*nodes, products[statistics.centred]])
    direct, shift = products.get(statistics.x), products.get(statistics.mean)
    if direct is None or shift is None:
        return None
    for rest in consumers_of(view, shift.outputs[0], "Sub"):
        if rest.inputs == [direct.outputs[0], shift.outputs[0]]:
            return _Quotient([*nodes, direct, shift, rest])
        for total in consumers_of(view, rest.outputs[0], "Add"):
            if rest.inputs[1] == shift.outputs[0] and other_input(total, rest.outputs[0]) == direct.outputs[0]:
                return _Quotient([*nodes, direct, shift, rest, total], bias=rest.inputs[0])
    return None
