"""Constant folding."""

from __future__ import annotations

import math

import numpy as np

from edgeinfer.graph import DType, Graph, Node, TensorType, is_static, subgraphs
from edgeinfer.ops import evaluate_node
from edgeinfer.ops.infer import NEVER_FOLDED
from edgeinfer.passes.pass_base import Pass, PassResult, inferred_types

# A folded value may be this large, or as large as what it is computed from, so that files do not grow.
GROWTH_BYTES = 4 << 20
# Integers with scales are weights stored small: they stay so, but for short ones such as biases.
DEQUANTIZED_BYTES = 16 << 10


class FoldConstants(Pass):
    """Values that do not depend on the inputs become constants.

    Before: ``w' = Transpose(w); s = Concat(Shape(x)[2:], 4)`` with a constant w and a static x
    After:  constants ``w'`` and ``s``
    """

    def run(self, graph: Graph) -> PassResult:
        """Fold small values as type inference knows them, and whatever is computed from constants alone."""
        types, known = inferred_types(graph)
        result = graph.copy()
        result.types = types
        kept: list[Node] = []
        for node in result.nodes:
            folded = _folded(node, known) or _evaluated(node, result)
            if folded is None:
                kept.append(node)
                continue
            for name, array in folded.items():
                result.constants[name] = array
                result.types[name] = TensorType(DType.of(array), tuple(array.shape))
        count = len(result.nodes) - len(kept)
        result.nodes = kept
        return PassResult(result if count else graph, count)


def _folded(node: Node, known: dict[str, np.ndarray]) -> dict[str, np.ndarray] | None:
    """The outputs of a node if inference knows them all."""
    names = [name for name in node.outputs if name]
    return {name: known[name] for name in names} if names and all(name in known for name in names) else None


def _evaluated(node: Node, graph: Graph) -> dict[str, np.ndarray] | None:
    """The outputs of a node computed from constants, unless they would be much larger."""
    names = [name for name in node.inputs if name]
    if node.op in NEVER_FOLDED or any(subgraphs(node)) or not names:
        return None
    if any(name not in graph.constants for name in names):
        return None
    arrays = [graph.constants[name] if name else None for name in node.inputs]
    growth = DEQUANTIZED_BYTES if node.op == "DequantizeLinear" else GROWTH_BYTES
    limit = max(growth, sum(array.nbytes for array in arrays if array is not None))
    if _result_bytes(node, graph) > limit:
        return None
    outputs = evaluate_node(node, arrays)
    if any(isinstance(item, list) for item in outputs):
        return None
    return {name: array for name, array in zip(node.outputs, outputs, strict=False) if name}


def _result_bytes(node: Node, graph: Graph) -> float:
    """Bytes of a node's outputs, infinite where their shapes are not known."""
    total = 0.0
    for name in filter(None, node.outputs):
        known = graph.types.get(name)
        if known is None or known.shape is None or not is_static(known.shape):
            return math.inf
        total += math.prod(int(dim) for dim in known.shape) * known.dtype.itemsize
    return total
