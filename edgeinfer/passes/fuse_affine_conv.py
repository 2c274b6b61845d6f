"""Per-channel factors and summands folded into the weights of the convolution that reads them."""

from __future__ import annotations

import numpy as np

from edgeinfer.graph import GraphView, Node
from edgeinfer.passes.conv_attributes import is_conv
from edgeinfer.passes.pass_base import Rule
from edgeinfer.passes.patch import Patch
from edgeinfer.passes.patterns import is_real, made_by, only_read_by, per_channel


class FuseAffineConv(Rule):
    """Factors for each channel of a convolution's input go into its weights, summands into its bias.

    Before: ``y = Conv(x * s, weight, bias)``, ``y = Conv(x + t, weight, bias)``
    After:  ``y = Conv(x, s * weight, bias)``, ``y = Conv(x, weight, bias + sum(weight * t))``

    Padding with zeros comes between a summand and the weights; there ``x * s + t`` becomes ``x + t / s`` and s goes.
    """

    anchors = frozenset({"Conv"})

    def match(self, view: GraphView, node: Node) -> Patch | str | None:
        """Match a convolution with constant weights that alone reads a product or sum with a constant."""
        arithmetic = made_by(view, node.inputs[0], "Mul", "Add")
        found = _constant_operand(view, arithmetic) if arithmetic is not None and is_conv(node) else None
        if arithmetic is None or found is None:
            return None
        weight = view.graph.constants.get(node.inputs[1])
        if weight is None or not is_real(view, node.inputs[1]):
            return "the weights are computed at run time"
        if not only_read_by(view, arithmetic.outputs[0], node):
            return "the value before the convolution is read elsewhere"
        source, constant = found
        channels = weight.shape[1] * node.attributes.get("group", 1)
        values = per_channel(view, constant, weight.ndim, channels)
        if values is None or not _keeps_shape(view, arithmetic, source):
            return "the constant does not hold one value a channel"
        if arithmetic.op == "Mul":
            return _fold_scale(node, arithmetic, source, weight, values)
        if _pads_zeros(node):
            return self._scale_before_shift(view, node, arithmetic, source, weight, values)
        return _fold_shift(view, node, arithmetic, source, weight, values)

    def _scale_before_shift(
        self, view: GraphView, node: Node, add: Node, source: str, weight: np.ndarray, shift: np.ndarray
    ) -> Patch | str:
        mul = made_by(view, source, "Mul")
        found = _constant_operand(view, mul) if mul is not None else None
        if mul is None or found is None or not only_read_by(view, source, add):
            return "the convolution pads with zeros after the addition"
        scale = per_channel(view, found[1], weight.ndim, shift.size)
        if scale is None or not scale.all() or not _keeps_shape(view, mul, found[0]):
            return "the factor before the addition cannot be moved behind it"
        name = f"{add.name}.shift"
        quotient = (shift.astype(np.float64) / scale).astype(shift.dtype)
        shape = (-1, *[1] * (weight.ndim - 2))
        shifted = Node("Add", [found[0], name], [f"{add.name}.sum"], {}, add.name)
        patch = _fold_scale(node, mul, f"{add.name}.sum", weight, scale)
        if isinstance(patch, str):
            return patch
        patch.remove.append(add)
        patch.insert.insert(0, shifted)
        patch.constants[name] = quotient.reshape(shape)
        return patch if np.isfinite(quotient).all() else "the summand overflows when divided by the factor"


def _constant_operand(view: GraphView, node: Node) -> tuple[str, str] | None:
    """The operands of a binary node as (computed, constant)."""
    if len(node.inputs) != 2:
        return None
    for source, constant in (node.inputs, node.inputs[::-1]):
        if constant in view.graph.constants and source not in view.graph.constants:
            return source, constant
    return None


def _keeps_shape(view: GraphView, node: Node, source: str) -> bool:
    before, after = view.graph.types.get(source), view.graph.types.get(node.outputs[0])
    return before is not None and after is not None and before.shape is not None and before.shape == after.shape


def _pads_zeros(node: Node) -> bool:
    if node.attributes.get("pad_mode", "constant") != "constant":
        return False
    return node.attributes.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID") or any(node.attributes.get("pads", ()))


def _grouped(node: Node, weight: np.ndarray, values: np.ndarray) -> np.ndarray:
    """One value for each input channel in a shape that broadcasts with the weights [O, C / group, k…]."""
    group = int(node.attributes.get("group", 1))
    per_output = values.astype(np.float64).reshape(group, -1).repeat(weight.shape[0] // group, axis=0)
    return per_output.reshape(*per_output.shape, *[1] * (weight.ndim - 2))


def _fold_scale(node: Node, mul: Node, source: str, weight: np.ndarray, scale: np.ndarray) -> Patch | str:
    name = f"{node.name}.weight"
    scaled = (weight * _grouped(node, weight, scale)).astype(weight.dtype)
    if not np.isfinite(scaled).all():
        return f"the scaled weights do not fit into {weight.dtype}"
    fused = Node(node.op, [source, name, *node.inputs[2:]], node.outputs, node.attributes, node.name, node.domain)
    return Patch([mul, node], [fused], {name: scaled})


def _fold_shift(
    view: GraphView, node: Node, add: Node, source: str, weight: np.ndarray, shift: np.ndarray
) -> Patch | str:
    bias = view.graph.constants.get(node.input(2)) if node.input(2) else np.zeros(weight.shape[0], weight.dtype)
    if bias is None:
        return "the bias is computed at run time"
    total = (weight * _grouped(node, weight, shift)).sum(axis=tuple(range(1, weight.ndim)))
    name = f"{node.name}.bias"
    inputs = [source, node.inputs[1], name, *node.inputs[3:]]
    fused = Node(node.op, inputs, node.outputs, node.attributes, node.name, node.domain)
    return Patch([add, node], [fused], {name: (bias + total).astype(weight.dtype)})
