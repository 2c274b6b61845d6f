"""Weighted sums spelled out become matrix products."""

from __future__ import annotations

import numpy as np

from edgeinfer.graph import GraphView, Node
from edgeinfer.passes.pass_base import Rule
from edgeinfer.passes.patch import Patch
from edgeinfer.passes.patterns import axes_of, is_op, only_read_by


class FuseWeightedSum(Rule):
    """A weighted sum of rows spelled out becomes a matrix product.

    Before: ``y = ReduceSum(Unsqueeze(w, 1) * rows, axes=[0])`` with w [N] and constant rows [N, C]
    After:  ``y = Reshape(MatMul(Reshape(w, [1, N]), rows), [C])``
    """

    anchors = frozenset({"ReduceSum"})

    def match(self, view: GraphView, node: Node) -> Patch | str | None:
        """Match a sum over the first axis of a product with a column."""
        product = view.producer(node.inputs[0])
        if axes_of(view, node) != [0] or node.attributes.get("keepdims", 1) or not is_op(product, "Mul"):
            return None
        assert product is not None
        if not only_read_by(view, product.outputs[0], node):
            return None
        for column, rows in (product.inputs, product.inputs[::-1]):
            table, known = view.graph.constants.get(rows), view.graph.types.get(column)
            if table is None or table.ndim != 2 or known is None or known.shape != (table.shape[0], 1):
                continue
            stem, (count, channels) = node.name, table.shape
            shapes = {f"{stem}.row": np.array([1, count], np.int64), f"{stem}.flat": np.array([channels], np.int64)}
            nodes = [
                Node("Reshape", [column, f"{stem}.row"], [f"{stem}.weights"], {}, f"{stem}.weights"),
                Node("MatMul", [f"{stem}.weights", rows], [f"{stem}.product"], {}, f"{stem}.product"),
                Node("Reshape", [f"{stem}.product", f"{stem}.flat"], list(node.outputs), {}, stem),
            ]
            return Patch([product, node], nodes, shapes)
        return None
