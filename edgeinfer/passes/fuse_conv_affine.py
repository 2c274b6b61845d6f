"""Per-channel factors and summands folded into the weights of the convolution or matrix product before them."""

from __future__ import annotations

import numpy as np

from edgeinfer.graph import ONNX, GraphView, Node
from edgeinfer.passes.linear_weights import Linear, linear_operator, with_affine
from edgeinfer.passes.pass_base import Rule
from edgeinfer.passes.patch import Patch
from edgeinfer.passes.patterns import only_read_by, per_channel


class FuseConvAffine(Rule):
    """Arithmetic with constants, one value a channel, goes into the weights and the bias.

    Before: ``y = Conv | ConvTranspose (x, weight, bias) * s + t`` with constants s and t such as [C, 1, 1]
    After:  ``y = Conv | ConvTranspose (x, s * weight, s * bias + t)``

    Also ``- t``, ``t - …`` and ``/ s``.
    """

    anchors = frozenset({"Mul", "Add", "Sub", "Div"})

    def match(self, view: GraphView, node: Node) -> Patch | str | None:
        """Match arithmetic of a convolution's result with a constant."""
        if node.domain != ONNX or len(node.inputs) != 2:
            return None
        position = next((i for i, name in enumerate(node.inputs) if name not in view.graph.constants), None)
        constant = node.inputs[1 - position] if position is not None else ""
        if position is None or constant not in view.graph.constants:
            return None
        own = node.inputs[position]
        producer = view.producer(own)
        if producer is None or producer.op not in ("Conv", "ConvTranspose"):
            return None
        linear = linear_operator(view, producer)
        if linear is None or isinstance(linear, str):
            return linear
        if not only_read_by(view, own, node):
            return "the result of the convolution is read elsewhere"
        factors = _scale_and_shift(view, node, linear, constant, position)
        if isinstance(factors, str):
            return factors
        fused = with_affine(linear, *factors, node.outputs)
        return fused if isinstance(fused, str) else Patch([producer, node], [fused[0]], fused[1])


def _scale_and_shift(
    view: GraphView, node: Node, linear: Linear, constant: str, position: int
) -> tuple[np.ndarray, np.ndarray] | str:
    """What the node does as one factor and one summand for each channel, or why it cannot be said so."""
    values = per_channel(view, constant, linear.rank, linear.channels) if linear.rank is not None else None
    if values is None:
        return "the constant does not hold one value a channel"
    values, ones = values.astype(np.float64), np.ones(linear.channels)
    if node.op == "Mul":
        return values, 0 * ones
    if node.op == "Add":
        return ones, values
    if node.op == "Sub":
        return (ones, -values) if position == 0 else (-ones, values)
    if position == 1:
        return "the convolution's result is the divisor"
    return (1 / values, 0 * ones) if values.all() else "the constant divides by zero"
