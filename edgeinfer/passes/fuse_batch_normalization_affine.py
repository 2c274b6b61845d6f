"""Per-channel factors and summands folded into the batch normalisation before them."""

from __future__ import annotations

import numpy as np

from edgeinfer.graph import ONNX, GraphView, Node
from edgeinfer.passes.pass_base import Rule
from edgeinfer.passes.patch import Patch
from edgeinfer.passes.patterns import is_real, only_read_by, operands, per_channel
from edgeinfer.records import altered


class FuseBatchNormalizationAffine(Rule):
    """A batch normalisation that stands alone takes up the arithmetic after it, as Caffe's Scale layers leave it.

    Before: ``y = BatchNormalization(x, gamma, beta, mean, var) * s + t`` with constants s and t such as [C, 1, 1]
    After:  ``y = BatchNormalization(x, s * gamma, s * beta + t, mean, var)``
    """

    anchors = frozenset({"Mul", "Add"})

    def match(self, view: GraphView, node: Node) -> Patch | str | None:
        """Match a product or sum of a normalisation's result with a constant."""
        if node.domain != ONNX or len(node.inputs) != 2:
            return None
        for own, constant in operands(node):
            norm = view.producer(own)
            if norm is None or norm.key != (ONNX, "BatchNormalization") or constant not in view.graph.constants:
                continue
            gamma, beta = (view.graph.constants.get(name) for name in norm.inputs[1:3])
            known = view.graph.types.get(own)
            if gamma is None or beta is None or known is None or known.rank is None or not is_real(view, own):
                return "the parameters are computed at run time"
            if not only_read_by(view, own, node):
                return "the normalised value is read elsewhere"
            values = per_channel(view, constant, known.rank, gamma.size)
            if values is None:
                return "the constant does not hold one value a channel"
            names = [f"{norm.name}.scale", f"{norm.name}.shift"]
            scaled = (gamma * values, beta * values) if node.op == "Mul" else (gamma, beta + values)
            constants: dict[str, np.ndarray] = dict(zip(names, scaled, strict=True))
            fused = altered(norm, inputs=[norm.inputs[0], *names, *norm.inputs[3:]], outputs=node.outputs)
            return Patch([norm, node], [fused], constants)
        return None
