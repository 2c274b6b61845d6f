"""Gemm becomes the fused matrix product."""

from __future__ import annotations

import numpy as np

from edgeinfer.graph import FUSED, ONNX, GraphView, Node
from edgeinfer.passes.pass_base import Rule
from edgeinfer.passes.patch import Patch
from edgeinfer.passes.patterns import is_real


class ReplaceGemm(Rule):
    """Gemm with constant weights becomes a matrix product with its factors and its transposition worked in.

    Before: ``y = Gemm(a, b, c, alpha, beta, transB=1)``
    After:  ``y = edgeinfer.MatMul(a, alpha * b^T, beta * c)``
    """

    anchors = frozenset({"Gemm"})

    def match(self, view: GraphView, node: Node) -> Patch | str | None:
        """Match a Gemm."""
        if node.domain != ONNX or not is_real(view, node.inputs[0]):
            return None
        attributes = node.attributes
        if attributes.get("transA", 0):
            return "the first operand is transposed"
        weight = view.graph.constants.get(node.inputs[1])
        bias = view.graph.constants.get(node.input(2)) if node.input(2) else None
        if weight is None or (node.input(2) and bias is None):
            return "the weights are computed at run time"
        alpha, beta = float(attributes.get("alpha", 1.0)), float(attributes.get("beta", 1.0))
        matrix = weight.T if attributes.get("transB", 0) else weight
        inputs, constants = [node.inputs[0], node.inputs[1]], {}
        if alpha != 1.0 or matrix is not weight:
            inputs[1] = f"{node.name}.weight"
            constants[inputs[1]] = np.ascontiguousarray(matrix * matrix.dtype.type(alpha))
        if bias is not None:
            if bias.ndim > 1 and bias.shape[0] != 1:
                return "the bias differs from row to row"
            inputs.append(f"{node.name}.bias")
            row = np.broadcast_to(bias.reshape(-1), (matrix.shape[1],))
            constants[inputs[2]] = (row * row.dtype.type(beta)).copy()
        return Patch([node], [Node("MatMul", inputs, node.outputs, {}, node.name, FUSED)], constants)
