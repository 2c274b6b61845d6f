"""Layer normalisation spelled out by exporters becomes one operator again."""

from __future__ import annotations

import numpy as np

from edgeinfer.graph import GraphView, Node, is_static
from edgeinfer.passes.normalization_pattern import find_normalization
from edgeinfer.passes.pass_base import Rule
from edgeinfer.passes.patch import Patch
from edgeinfer.passes.patterns import is_op, other_input


class FuseLayerNormalization(Rule):
    """Spelled-out layer normalisation (Ba et al. 2016) becomes one operator.

    Before: ``m = ReduceMean(x, -1); d = x - m; s = Sqrt(ReduceMean(d * d, -1) + eps); y = d / s * scale + bias``
    After:  ``y = LayerNormalization(x, scale, bias)``

    Mean and variance run over the last axes; scale and bias have the shape of these axes.
    """

    anchors = frozenset({"Sqrt", "Pow"})

    def match(self, view: GraphView, node: Node) -> Patch | str | None:
        """Match around the square root of the variance."""
        core = find_normalization(view, node)
        if core is None or isinstance(core, str):
            return core
        known = view.graph.types[core.x]
        rank = known.rank or 0
        axis = rank - len(core.axes)
        if known.shape is None or core.axes != list(range(axis, rank)):
            return f"the statistics are over the axes {core.axes}, not over the last ones"
        if rank > 3 and axis == 2:
            return None
        sizes = known.shape[axis:]
        if not is_static(sizes):
            return f"the sizes {list(sizes)} of the normalised axes are not known"
        if core.bias:
            return "the bias is combined with the mean"
        patch, last = Patch(list(core.nodes)), core.last
        scale, bias = core.scale, ""
        if scale and not _has_shape(view, scale, sizes):
            return f"the scale '{scale}' does not have the shape of the normalised axes"
        if not scale:
            scale, last = _following_operand(view, last, "Mul", sizes, patch)
        bias, last = _following_operand(view, last, "Add", sizes, patch)
        if not scale:
            scale = f"{node.name}.scale"
            patch.constants[scale] = np.ones([int(dim) for dim in sizes], known.dtype.numpy)
        inputs = [core.x, scale, bias] if bias else [core.x, scale]
        attributes = {"axis": axis - rank, "epsilon": core.epsilon}
        patch.insert.append(Node("LayerNormalization", inputs, [last.outputs[0]], attributes, node.name))
        return patch


def _has_shape(view: GraphView, name: str, sizes: tuple[int | str, ...]) -> bool:
    known = view.graph.types.get(name)
    return known is not None and known.shape == sizes


def _following_operand(
    view: GraphView, last: Node, operator: str, sizes: tuple[int | str, ...], patch: Patch
) -> tuple[str, Node]:
    """The operand of the Mul or Add that alone reads the result so far, and the node that is last then."""
    value = last.outputs[0]
    reader = view.sole_consumer(value)
    operand = other_input(reader, value) if reader is not None and is_op(reader, operator) else None
    if reader is None or operand is None or not _has_shape(view, operand, sizes):
        return "", last
    patch.remove.append(reader)
    return operand, reader
