"""A bias after a matrix product becomes part of it."""

from __future__ import annotations

import numpy as np

from edgeinfer.graph import FUSED, ONNX, GraphView, Node
from edgeinfer.passes.pass_base import Rule
from edgeinfer.passes.patch import Patch
from edgeinfer.passes.patterns import is_real, only_read_by, operands
from edgeinfer.records import altered


class FuseMatMulBias(Rule):
    """An addition of one constant a column goes into the matrix product.

    Before: ``y = MatMul(a, b) + bias`` with a constant bias [N], [1, N], …
    After:  ``y = edgeinfer.MatMul(a, b, bias)``
    """

    anchors = frozenset({"Add"})

    def match(self, view: GraphView, node: Node) -> Patch | str | None:
        """Match the addition."""
        if node.domain != ONNX or len(node.inputs) != 2:
            return None
        for own, constant in operands(node):
            product = view.producer(own)
            bias = view.graph.constants.get(constant)
            if product is None or product.op != "MatMul" or bias is None or not is_real(view, own):
                continue
            if product.attributes.get("activation") or product.input(2):
                continue
            if not only_read_by(view, own, node):
                return "the product is read elsewhere"
            known = view.graph.types[own]
            columns = known.shape[-1] if known.shape else None
            if bias.shape != (1,) * (bias.ndim - 1) + (columns,) or bias.ndim > (known.rank or 0):
                return "the summand does not hold one value a column"
            name = f"{product.name}.bias"
            fused = altered(product, inputs=[*product.inputs[:2], name], outputs=node.outputs, domain=FUSED)
            return Patch([product, node], [fused], {name: np.ascontiguousarray(bias.reshape(-1))})
        return None
