"""Convolutions and matrix products between DequantizeLinear and QuantizeLinear, computed on integers."""

from __future__ import annotations

import numpy as np

from edgeinfer.graph import FUSED, GraphView, Node
from edgeinfer.passes.conv_attributes import fused_conv_attributes, fused_transpose_attributes
from edgeinfer.passes.pass_base import Rule
from edgeinfer.passes.patch import Patch
from edgeinfer.passes.quantization_patterns import (
    Integers,
    dequantized,
    dequantized_bytes,
    fused_activation,
    quantizer,
)

_DEFAULTS = {"group": 1, "strides": [1, 1], "dilations": [1, 1], "pads": [0, 0, 0, 0], "output_padding": [0, 0]}


class FuseQuantizedConv(Rule):
    """A convolution of integers takes the place of one of the numbers that they stand for.

    Before: ``y = QuantizeLinear(Relu(Conv(DequantizeLinear(x), DequantizeLinear(w), DequantizeLinear(b))))``
    After:  ``y = edgeinfer.QConv(x, xs, xz, w, ws, wz, ys, yz, b) {activation="Relu"}``

    Without a QuantizeLinear behind it the convolution gives float32.
    """

    anchors = frozenset({"Conv"})

    def match(self, view: GraphView, node: Node) -> Patch | str | None:
        """Match a convolution of dequantized bytes with constant weights."""
        x, weight = dequantized_bytes(view, node.inputs[0]), dequantized(view, node.inputs[1])
        if x is None or weight is None:
            return None
        if isinstance(x, str) or isinstance(weight, str):
            return x if isinstance(x, str) else str(weight)
        if node.input(3):
            return "a residual is added before rounding"
        array, scale = view.graph.constants.get(weight.name), view.graph.constants[weight.scale]
        if array is None or array.dtype.itemsize != 1:
            return "the weights are no constant bytes"
        if scale.size != 1 and (weight.axis % array.ndim != 0 or scale.size != array.shape[0]):
            return "the weights' scales do not belong to output channels"
        attributes = fused_conv_attributes(view, node)
        if isinstance(attributes, str):
            return attributes
        attributes = {key: value for key, value in attributes.items() if _DEFAULTS.get(key) != value}
        return _fuse(view, node, "QConv", attributes, x, weight, node.input(2), {})


class FuseQuantizedConvTranspose(Rule):
    """A transposed convolution of integers takes the place of one of the numbers that they stand for.

    Before: ``y = QuantizeLinear(Relu(ConvTranspose(DequantizeLinear(x), DequantizeLinear(w), DequantizeLinear(b))))``
    After:  ``y = edgeinfer.QConvTranspose(x, xs, xz, w, ws, wz, ys, yz, b) {activation="Relu"}``

    Without a QuantizeLinear behind it the convolution gives float32.
    """

    anchors = frozenset({"ConvTranspose"})

    def match(self, view: GraphView, node: Node) -> Patch | str | None:
        """Match a transposed convolution of dequantized bytes with constant weights."""
        x, weight = dequantized_bytes(view, node.inputs[0]), dequantized(view, node.inputs[1])
        if x is None or weight is None:
            return None
        if isinstance(x, str) or isinstance(weight, str):
            return x if isinstance(x, str) else str(weight)
        array, scale = view.graph.constants.get(weight.name), view.graph.constants[weight.scale]
        if array is None or array.dtype.itemsize != 1:
            return "the weights are no constant bytes"
        whole = node.attributes.get("group", 1) == 1
        if scale.size != 1 and (not whole or weight.axis % array.ndim != 1 or scale.size != array.shape[1]):
            return "the weights' scales do not belong to output channels"
        attributes = fused_transpose_attributes(view, node)
        if isinstance(attributes, str):
            return attributes
        attributes = {key: value for key, value in attributes.items() if _DEFAULTS.get(key) != value}
        return _fuse(view, node, "QConvTranspose", attributes, x, weight, node.input(2), {})


class FuseQuantizedMatMul(Rule):
    """A product of integer matrices takes the place of one of the numbers that they stand for.

    Before: ``y = QuantizeLinear(Gemm(DequantizeLinear(a), DequantizeLinear(b), DequantizeLinear(c)) {transB=1})``
    After:  ``y = edgeinfer.QMatMul(a, as, az, transposed b, bs, bz, ys, yz, c)``
    """

    anchors = frozenset({"MatMul", "Gemm"})

    def match(self, view: GraphView, node: Node) -> Patch | str | None:
        """Match a product of dequantized bytes with a constant matrix."""
        a, b = dequantized_bytes(view, node.inputs[0]), dequantized(view, node.inputs[1])
        if a is None or b is None:
            return None
        if isinstance(a, str) or isinstance(b, str):
            return a if isinstance(a, str) else str(b)
        attributes = node.attributes
        if attributes.get("transA") or attributes.get("alpha", 1.0) != 1.0 or attributes.get("beta", 1.0) != 1.0:
            return "the first factor is transposed, or alpha or beta are not 1"
        array, scale = view.graph.constants.get(b.name), view.graph.constants[b.scale]
        if array is None or array.ndim != 2 or array.dtype.itemsize != 1:
            return "the second factor is no constant matrix of bytes"
        transposed = bool(attributes.get("transB"))
        columns_axis = 0 if transposed else 1
        if scale.size != 1 and (b.axis % 2 != columns_axis or scale.size != array.shape[columns_axis]):
            return "the second factor's scales do not belong to columns"
        constants = {}
        if transposed:
            constants[f"{b.name}.transposed"] = np.ascontiguousarray(array.T)
            b = Integers(f"{b.name}.transposed", b.scale, b.zero_point, 1)
        own = {key: attributes[key] for key in ("activation", "activation_parameters") if key in attributes}
        return _fuse(view, node, "QMatMul", own, a, b, node.input(2), constants)


def _fuse(
    view: GraphView, node: Node, op: str, attributes: dict, x: Integers, weight: Integers, bias: str,
    constants: dict[str, np.ndarray],
) -> Patch | str:  # fmt: skip
    inputs = [*x.inputs, *weight.inputs]
    bias_name = ""
    if bias:
        integers = _integer_bias(view, bias, x, weight)
        if isinstance(integers, str):
            return integers
        bias_name = f"{node.name}.bias"
        constants[bias_name] = integers
    removed, output = [node], node.outputs[0]
    if not attributes.get("activation"):
        output, activation, parameters, nodes = fused_activation(view, output)
        removed += nodes
        if activation:
            attributes = {**attributes, "activation": activation, "activation_parameters": parameters}
    last = quantizer(view, output)
    if last is not None:
        inputs += last.inputs[1:3]
        removed.append(last)
        output = last.outputs[0]
    elif bias_name:
        inputs += ["", ""]
    inputs += [bias_name] if bias_name else []
    return Patch(removed, [Node(op, inputs, [output], attributes, node.name, FUSED)], constants)


def _integer_bias(view: GraphView, bias: str, x: Integers, weight: Integers) -> np.ndarray | str:
    """The bias as int32 in units of x_scale * w_scale, or why it is none."""
    constants = view.graph.constants
    unit = constants[x.scale].reshape(()).astype(np.float64) * constants[weight.scale].ravel().astype(np.float64)
    found = dequantized(view, bias)
    if isinstance(found, Integers):
        array, scale = constants.get(found.name), constants[found.scale].ravel()
        if array is None or constants[found.zero_point].any():
            return "the bias is no constant with zero point 0"
        if array.dtype == np.int32 and np.allclose(scale, unit, rtol=1e-5, atol=0):
            return array.ravel()
        values = array.astype(np.float64).ravel() * scale
    elif bias in constants:
        values = constants[bias].astype(np.float64).ravel()
    else:
        return "the bias is computed at run time"
    with np.errstate(divide="ignore", invalid="ignore"):
        integers = np.rint(values / unit)
    if not (np.abs(integers) < 2**31).all():
        return "the bias does not fit into 32 bits"
    return integers.astype(np.int32)
