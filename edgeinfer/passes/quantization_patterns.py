"""What the rules on quantized models ask of a graph: where integers come from and where they go."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeinfer.graph import ONNX, DType, GraphView, Node
from edgeinfer.passes.patterns import is_op, made_by, only_read_by

BYTES = (DType.INT8, DType.UINT8)


@dataclass(frozen=True)
class Integers:
    """A quantized value.

    Attributes:
        name: the integers.
        scale: constant with the scale.
        zero_point: constant with the zero point.
        axis: axis along which scale and zero point vary, if they hold more than one value.
    """

    name: str
    scale: str
    zero_point: str
    axis: int

    @property
    def inputs(self) -> list[str]:
        """Integers, scale, zero point: the order in which quantized operators take them."""
        return [self.name, self.scale, self.zero_point]


def dequantized(view: GraphView, name: str) -> Integers | str | None:
    """The integers that a value is made of by DequantizeLinear, or why they do not count, or None."""
    node = made_by(view, name, "DequantizeLinear")
    if node is None:
        return None
    if node.attributes.get("block_size", 0):
        return "blocks of a row have scales of their own"
    if not node.input(2):
        return "the zero point is left out"
    if any(parameter not in view.graph.constants for parameter in node.inputs[1:3]):
        return "scale or zero point are computed at run time"
    if view.graph.types[node.inputs[1]].dtype is not DType.FLOAT32:
        return "the scale is no float32"
    if not np.isfinite(view.graph.constants[node.inputs[1]]).all():
        return "a scale is infinite or no number"
    return Integers(node.inputs[0], node.inputs[1], node.inputs[2], int(node.attributes.get("axis", 1)))


def dequantized_bytes(view: GraphView, name: str) -> Integers | str | None:
    """As ``dequantized``, for 8-bit integers with one scale and one zero point."""
    found = dequantized(view, name)
    if isinstance(found, Integers):
        known = view.graph.types.get(found.name)
        if known is None or known.dtype not in BYTES:
            return "the integers are not 8 bits wide"
        if view.graph.constants[found.scale].size != 1:
            return "channels of the input have scales of their own"
    return found


def quantizer(view: GraphView, name: str) -> Node | None:
    """The QuantizeLinear to 8 bits with one scale that alone reads a value."""
    readers = view.consumers.get(name, [])
    if len(readers) != 1 or not is_op(readers[0], "QuantizeLinear") or not only_read_by(view, name, readers[0]):
        return None
    node = readers[0]
    scale, zero_point = view.graph.constants.get(node.inputs[1]), view.graph.constants.get(node.input(2))
    if scale is None or zero_point is None or scale.size != 1 or zero_point.size != 1:
        return None
    if scale.dtype != np.float32 or not np.isfinite(scale).all() or not scale.all():
        return None
    return node if DType.of(zero_point) in BYTES else None


def fused_activation(view: GraphView, name: str) -> tuple[str, str, list[float], list[Node]]:
    """The value behind a Relu or Clip that alone reads a value: (its name, activation, parameters, nodes)."""
    readers = view.consumers.get(name, [])
    node = readers[0] if len(readers) == 1 and only_read_by(view, name, readers[0]) else None
    if node is None or node.domain != ONNX or node.inputs[0] != name:
        return name, "", [], []
    if node.op == "Relu":
        return node.outputs[0], "Relu", [], [node]
    if node.op == "Clip":
        bounds = [view.graph.constants.get(node.input(index)) if node.input(index) else None for index in (1, 2)]
        if all(node.input(index) == "" or bounds[index - 1] is not None for index in (1, 2)):
            low, high = (
                default if bound is None else float(bound.reshape(()))
                for bound, default in zip(bounds, (-np.inf, np.inf), strict=True)
            )
            return node.outputs[0], "Clip", [low, high], [node]
    return name, "", [], []


def same_quantization(view: GraphView, left: tuple[str, str], right: tuple[str, str]) -> bool:
    """Whether two pairs of constants (scale, zero point) hold the same values."""
    constants = view.graph.constants
    return all(
        constants[a].dtype == constants[b].dtype and np.array_equal(constants[a].ravel(), constants[b].ravel())
        for a, b in zip(left, right, strict=True)
    )
