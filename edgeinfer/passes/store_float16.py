"""Weights stored in half precision."""

from __future__ import annotations

import numpy as np

from edgeinfer.graph import DType, Graph, Node, TensorType
from edgeinfer.passes.pass_base import Pass, PassResult

# Smaller constants are biases, scales and the like: they cost nothing and deserve their digits.
MIN_ELEMENTS = 256
_FLOAT32_CODE = 1


class StoreWeightsAsFloat16(Pass):
    """Large float32 constants become float16 ones behind a Cast, which loading folds away.

    ``y = Conv(x, w: float32)`` ⇒ ``y = Conv(x, Cast(w: float16, to=float32))``
    """

    def run(self, graph: Graph) -> PassResult:
        """Halve every large float32 constant whose values fit into float16."""
        result = graph.copy()
        casts = []
        for name, array in graph.constants.items():
            if array.dtype != np.float32 or array.size < MIN_ELEMENTS or name in graph.outputs:
                continue
            with np.errstate(over="ignore"):
                half = array.astype(np.float16)
            if not np.isfinite(half).all():
                continue
            stored = result.fresh_name(f"{name}.float16")
            del result.constants[name]
            result.constants[stored] = half
            result.types[stored] = TensorType(DType.FLOAT16, tuple(half.shape))
            casts.append(Node("Cast", [stored], [name], {"to": _FLOAT32_CODE}, f"{name}.widen"))
        result.nodes = casts + result.nodes
        return PassResult(result if casts else graph, len(casts))
