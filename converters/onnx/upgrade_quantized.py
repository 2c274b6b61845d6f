"""Operators on integers with scales of their own (QLinearConv, ORT's QLinearAdd, …), spelled out with QuantizeLinear.

Before: ``y = QLinearConv(x, xs, xz, w, ws, wz, ys, yz, b)``
After:  ``y = QuantizeLinear(Conv(DequantizeLinear(x), DequantizeLinear(w), DequantizeLinear(b)), ys, yz)``

That is how quantized models of the other form look, and the passes compute both on integers. ORT's operators are those
of the domain ``com.microsoft`` that ONNX Runtime's quantizer writes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from converters.onnx.scope import Scope
from converters.onnx.upgrade import ALWAYS, CannotUpgradeError, upgrade
from edgeinfer.graph import DType, Node


class _Spelling:
    """The nodes that take one operator's place, in order."""

    def __init__(self, scope: Scope, node: Node) -> None:
        self.scope, self.node = scope, node
        self.nodes: list[Node] = []

    def dequantized(self, first: int, axis: int = 1) -> str:
        """The numbers that the integers of input ``first`` stand for; scale and zero point follow it."""
        names = [self.node.input(first + offset) for offset in range(3)]
        return self._append("DequantizeLinear", names, {"axis": axis}, f"{names[0]}.numbers")

    def dequantized_bias(self, place: int, x_scale: int, w_scale: int) -> list[str]:
        """The numbers of an int32 bias in units of x_scale * w_scale, none if there is no bias."""
        bias = self.node.input(place)
        if not bias:
            return []
        scales = [self.scope.constant(self.node.input(index)) for index in (x_scale, w_scale)]
        if scales[0] is None or scales[1] is None:
            raise CannotUpgradeError("scales in front of a bias must be constant")
        scale = (scales[0].reshape(()) * scales[1]).astype(np.float32)
        unit = self.scope.add_constant(f"{self.node.name}.bias_scale", scale)
        zero = self.scope.add_constant(f"{self.node.name}.bias_zero_point", np.zeros(scale.shape, np.int32))
        return [self._append("DequantizeLinear", [bias, unit, zero], {"axis": 0}, f"{bias}.numbers")]

    def compute(self, op: str, inputs: Sequence[str], skipped: Sequence[str] = ()) -> str:
        """The operator on numbers, with the attributes of the one it replaces."""
        own = {key: value for key, value in self.node.attributes.items() if key not in skipped}
        return self._append(op, inputs, own, f"{self.node.name}.result", self.node.name)

    def quantized(self, value: str, scale: int) -> list[Node]:
        """All nodes, the last of which gives the output; without a scale the numbers are the output."""
        if not self.node.input(scale):
            self.nodes[-1].outputs = list(self.node.outputs)
            return self.nodes
        inputs = [value, self.node.input(scale), self.node.input(scale + 1)]
        name = f"{self.node.name}.quantize"
        return [*self.nodes, Node("QuantizeLinear", inputs, list(self.node.outputs), {}, name)]

    def _append(self, op: str, inputs: Sequence[str], attributes: dict, stem: str, name: str = "") -> str:
        output = self.scope.names.fresh(stem)
        self.nodes.append(Node(op, list(inputs), [output], attributes, name or output))
        return output


@upgrade(ALWAYS, "QLinearConv")
def spell_out_conv(scope: Scope, node: Node) -> list[Node]:
    """QLinearConv(x, xs, xz, w, ws, wz, ys, yz, b)."""
    spelling = _Spelling(scope, node)
    inputs = [spelling.dequantized(0), spelling.dequantized(3, axis=0), *spelling.dequantized_bias(8, 1, 4)]
    return spelling.quantized(spelling.compute("Conv", inputs), 6)


@upgrade(ALWAYS, "QLinearMatMul")
def spell_out_matmul(scope: Scope, node: Node) -> list[Node]:
    """QLinearMatMul(a, as, az, b, bs, bz, ys, yz); b may have scales of columns."""
    spelling = _Spelling(scope, node)
    return spelling.quantized(spelling.compute("MatMul", [spelling.dequantized(0), spelling.dequantized(3)]), 6)


@upgrade(ALWAYS, "QGemm")
def spell_out_gemm(scope: Scope, node: Node) -> list[Node]:
    """ORT's QGemm(a, as, az, b, bs, bz, c, ys, yz)."""
    spelling = _Spelling(scope, node)
    columns = 0 if node.attributes.get("transB", 0) else 1
    inputs = [spelling.dequantized(0), spelling.dequantized(3, columns), *spelling.dequantized_bias(6, 1, 4)]
    return spelling.quantized(spelling.compute("Gemm", inputs), 7)


@upgrade(ALWAYS, "QLinearAdd", "QLinearMul")
def spell_out_binary(scope: Scope, node: Node) -> list[Node]:
    """ORT's QLinearAdd and QLinearMul(a, as, az, b, bs, bz, ys, yz)."""
    spelling = _Spelling(scope, node)
    operands = [spelling.dequantized(0), spelling.dequantized(3)]
    return spelling.quantized(spelling.compute(node.op.removeprefix("QLinear"), operands), 6)


@upgrade(ALWAYS, "QLinearSigmoid", "QLinearLeakyRelu", "QLinearAveragePool", "QLinearGlobalAveragePool")
def spell_out_unary(scope: Scope, node: Node) -> list[Node]:
    """ORT's operators of one tensor (x, xs, xz, ys, yz)."""
    if node.attributes.get("channels_last"):
        raise CannotUpgradeError("channels_last=1 is written by ONNX Runtime's own optimiser: use the model before it")
    spelling = _Spelling(scope, node)
    value = spelling.compute(node.op.removeprefix("QLinear"), [spelling.dequantized(0)], ["channels_last"])
    return spelling.quantized(value, 3)


@upgrade(ALWAYS, "QLinearConcat")
def spell_out_concat(scope: Scope, node: Node) -> list[Node]:
    """ORT's QLinearConcat(ys, yz, x, xs, xz, …)."""
    spelling = _Spelling(scope, node)
    parts = [spelling.dequantized(first) for first in range(2, len(node.inputs), 3)]
    return spelling.quantized(spelling.compute("Concat", parts), 0)


@upgrade(ALWAYS, "MatMulNBits")
def spell_out_packed_weights(scope: Scope, node: Node) -> list[Node]:
    """ORT's MatMulNBits(a, b, scales, zero_points, group, bias): b holds columns of weights in blocks of few bits.

    After: ``y = Add(MatMul(a, Transpose(DequantizeLinear(b, scales, zero_points) {block_size})), bias)`` with b as
    integers [columns, rows].
    """
    columns, rows, bits, block_size = (int(node.attributes[name]) for name in ("N", "K", "bits", "block_size"))
    arrays = [scope.constant(node.input(index)) if node.input(index) else None for index in (1, 2, 3)]
    packed, scales, zero_points = arrays
    if packed is None or scales is None or bits not in (4, 8) or node.input(4):
        raise CannotUpgradeError("weights of 4 or 8 bits must be constant and in their order, without group indices")
    blocks = -(-rows // block_size)
    weights = _unpacked(packed.reshape(columns, -1), bits)[:, :rows]
    if zero_points is None:
        zeros = np.full((columns, blocks), 1 << (bits - 1), np.uint8)
    elif zero_points.dtype == np.uint8:
        zeros = _unpacked(zero_points.reshape(columns, -1), bits)[:, :blocks]
    else:
        raise CannotUpgradeError("zero points must be integers")
    dtype = DType.UINT4 if bits == 4 else DType.UINT8
    name = node.name or node.outputs[0]
    b = scope.add_constant(f"{name}.weights", np.ascontiguousarray(weights), dtype)
    zero = scope.add_constant(f"{name}.zero_points", np.ascontiguousarray(zeros), dtype)
    scale = scope.add_constant(f"{name}.scales", scales.reshape(columns, blocks))
    numbers, turned = (scope.names.fresh(f"{name}.{stem}") for stem in ("numbers", "turned"))
    bias = node.input(5)
    product = scope.names.fresh(f"{name}.product") if bias else node.outputs[0]
    nodes = [
        Node("DequantizeLinear", [b, scale, zero], [numbers], {"axis": 1, "block_size": block_size}, numbers),
        Node("Transpose", [numbers], [turned], {"perm": [1, 0]}, turned),
        Node("MatMul", [node.inputs[0], turned], [product], {}, name),
    ]
    return [*nodes, Node("Add", [product, bias], list(node.outputs), {}, f"{name}.bias")] if bias else nodes


def _unpacked(packed: np.ndarray, bits: int) -> np.ndarray:
    """Unsigned integers along the last axis, two of 4 bits in a byte with the lower half first, or one of 8."""
    if bits == 8:
        return packed
    return np.stack([packed & 15, packed >> 4], axis=-1).reshape(*packed.shape[:-1], -1)
