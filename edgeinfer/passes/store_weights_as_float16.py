"""Weights stored in half the bytes."""

from __future__ import annotations

import numpy as np

from edgeinfer.graph import DType, Graph, Node, TensorType
from edgeinfer.passes.pass_base import Pass, PassResult, Refusal

# Smaller constants are not worth a node, and often hold parameters that want all their digits.
SMALLEST_ELEMENTS = 1024
# The code of float32 in ONNX Cast.
WIDENED = 1


class StoreWeightsAsFloat16(Pass):
    """Large float32 constants become float16 constants, widened again when the model is loaded.

    Before: ``y = Conv(x, w)`` with a constant w of float32
    After:  ``w = Cast(w16, to=float32); y = Conv(x, w)`` with a constant w16 of float16

    Computation stays in float32. Run it last: FoldConstants would undo it.
    """

    def run(self, graph: Graph) -> PassResult:
        """Store every large constant that fits into the range of float16."""
        largest = float(np.finfo(np.float16).max)
        result = graph.copy()
        casts, refusals = [], []
        for name, array in graph.constants.items():
            if array.dtype != np.float32 or array.size < SMALLEST_ELEMENTS or name in graph.outputs:
                continue
            if not (np.abs(array) <= largest).all():
                reason = f"a value is beyond the range of float16, ±{largest:g}"
                refusals.append(Refusal(self.name, name, reason))
                continue
            del result.constants[name]
            stored = result.add_constant(f"{name}.float16", array.astype(np.float16))
            casts.append(Node("Cast", [stored], [name], {"to": WIDENED}, f"{name}.widened"))
            result.types[name] = TensorType(DType.FLOAT32, tuple(array.shape))
        if not casts:
            return PassResult(graph, 0, refusals)
        result.nodes = [*casts, *result.nodes]
        result.metadata["weights"] = "float16"
        return PassResult(result, len(casts), refusals)
