"""Merging of operators that only give a tensor another shape."""

from __future__ import annotations

import numpy as np

from edgeinfer.graph import GraphView, Node
from edgeinfer.passes.pass_base import Rule
from edgeinfer.passes.patch import Patch
from edgeinfer.passes.patterns import is_op

_RESHAPING = ("Reshape", "Flatten", "Squeeze", "Unsqueeze")


class MergeReshapes(Rule):
    """Of two operators in a row that only change the shape, the first is passed over.

    Before: ``y = Reshape | Flatten | Squeeze | Unsqueeze (Reshape | Flatten | Squeeze | Unsqueeze (x))``
    After:  ``y = Reshape(x, shape of y)``
    """

    anchors = frozenset(_RESHAPING)

    def match(self, view: GraphView, node: Node) -> Patch | str | None:
        """Match the second one; the first stays for its other readers."""
        first = view.producer(node.inputs[0])
        if first is None or not (is_op(node, *_RESHAPING) and is_op(first, *_RESHAPING)):
            return None
        target = _target(view, node)
        if isinstance(target, str):
            return target
        shape = f"{node.name}.shape"
        merged = Node("Reshape", [first.inputs[0], shape], node.outputs, {}, node.name)
        return Patch([node], [merged], {shape: np.array(target, np.int64)})


def _target(view: GraphView, node: Node) -> list[int] | str:
    """The shape to give to a Reshape with another input, or why there is none."""
    constant = view.graph.constants.get(node.input(1)) if node.op == "Reshape" else None
    if constant is not None and (constant != 0).all():
        return [int(dim) for dim in constant]
    known = view.graph.types.get(node.outputs[0])
    if known is None or known.shape is None:
        return "the shape of the result is not known"
    dims = [dim if isinstance(dim, int) else -1 for dim in known.shape]
    if dims.count(-1) > 1:
        return "more than one dimension of the result is symbolic"
    return "the result is empty" if 0 in dims else dims
