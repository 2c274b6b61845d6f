"""Batch normalisation folded into the weights of the operator before it."""

from __future__ import annotations

import numpy as np

from edgeinfer.graph import ONNX, GraphView, Node
from edgeinfer.passes.linear_weights import linear_operator, with_affine
from edgeinfer.passes.pass_base import Rule
from edgeinfer.passes.patch import Patch
from edgeinfer.passes.patterns import is_real, only_read_by


class FuseBatchNormalization(Rule):
    """Batch normalisation of inference (Ioffe, Szegedy 2015) is a factor and a summand for each channel.

    Before: ``y = BatchNormalization(Conv | ConvTranspose | Gemm | MatMul (x, weight, bias), gamma, beta, mean, var)``
    After:  ``y = Conv | … (x, s * weight, s * bias + t)`` with ``s = gamma / sqrt(var + eps), t = beta - mean * s``

    Behind any other operator, a normalisation of what is no picture becomes ``y = x * s + t``; one of a picture
    [N, C, H, W] stays, for it has a kernel of its own.
    """

    anchors = frozenset({"BatchNormalization"})

    def match(self, view: GraphView, node: Node) -> Patch | str | None:
        """Match a normalisation with constant parameters."""
        x = node.inputs[0]
        if node.domain != ONNX or any(node.outputs[1:]) or not is_real(view, x):
            return None
        if node.attributes.get("training_mode", 0):
            return "the normalisation is in training mode"
        parameters = [view.graph.constants.get(name) for name in node.inputs[1:5]]
        if any(array is None for array in parameters):
            return "the parameters are computed at run time"
        gamma, beta, mean, variance = (np.asarray(array, np.float64) for array in parameters)
        scale = gamma / np.sqrt(variance + node.attributes.get("epsilon", 1e-5))
        shift = beta - mean * scale
        linear = linear_operator(view, view.producer(x))
        if linear is None or isinstance(linear, str):
            return self._standalone(view, node, scale, shift) or linear
        if not only_read_by(view, x, node):
            return self._standalone(view, node, scale, shift) or "the value before the normalisation is read elsewhere"
        if linear.channels != scale.size or (linear.rank != 2 and linear.node.op in ("Gemm", "MatMul")):
            return self._standalone(view, node, scale, shift) or "the channels are not those of the weights"
        fused = with_affine(linear, scale, shift, node.outputs)
        if isinstance(fused, str):
            return fused
        return Patch([linear.node, node], [fused[0]], fused[1])

    def _standalone(self, view: GraphView, node: Node, scale: np.ndarray, shift: np.ndarray) -> Patch | None:
        known = view.graph.types[node.inputs[0]]
        if known.rank is None or known.rank == 4:
            return None
        shape = (-1, *[1] * (known.rank - 2))
        names = [f"{node.name}.{part}" for part in ("scale", "shift", "scaled")]
        constants = {
            name: array.reshape(shape).astype(known.dtype.numpy)
            for name, array in zip(names, (scale, shift), strict=False)
        }
        product = Node("Mul", [node.inputs[0], names[0]], [names[2]], {}, names[2])
        return Patch([node], [product, Node("Add", [names[2], names[1]], node.outputs, {}, node.name)], constants)
