"""Group normalisation spelled by instance normalisation becomes one operator again."""

from __future__ import annotations

import numpy as np

from edgeinfer.graph import GraphView, Node
from edgeinfer.passes.pass_base import Rule
from edgeinfer.passes.patch import Patch
from edgeinfer.passes.patterns import is_op, is_real, made_by, only_read_by, other_input, per_channel


class FuseGroupNormalization(Rule):
    """Group normalisation (Wu, He 2018) as PyTorch exports it becomes one operator.

    Before: ``n = Reshape(InstanceNormalization(Reshape(x, [N, G, -1]), ones, zeros), Shape(x)); y = n * scale + bias``
    After:  ``y = GroupNormalization(x, scale, bias, num_groups=G)``
    """

    anchors = frozenset({"InstanceNormalization"})

    def match(self, view: GraphView, node: Node) -> Patch | str | None:
        """Match around an instance normalisation between two Reshapes."""
        split = made_by(view, node.inputs[0], "Reshape")
        back = view.sole_consumer(node.outputs[0])
        if node.domain or split is None or back is None or not is_op(back, "Reshape"):
            return None
        x = split.inputs[0]
        known, grouped = view.graph.types.get(x), view.graph.types.get(split.outputs[0])
        if known is None or grouped is None or known.shape is None or grouped.shape is None or not is_real(view, x):
            return "the shapes are not known"
        rank, channels, groups = len(known.shape), known.shape[1], grouped.shape[1]
        if len(grouped.shape) != 3 or not isinstance(channels, int) or not isinstance(groups, int):
            return "the numbers of channels and groups are not known"
        if grouped.shape[0] != known.shape[0] or channels % groups or not _restores(view, back, x):
            return "the Reshapes do not split and join channels"
        if not only_read_by(view, split.outputs[0], node):
            return "the reshaped value is read elsewhere"
        own = [view.graph.constants.get(name) for name in node.inputs[1:3]]
        if any(array is None for array in own):
            return "scale and bias of the groups are computed at run time"
        scale, bias = (np.repeat(np.asarray(array, np.float64), channels // groups) for array in own)
        nodes, last = [split, node, back], back
        for operator in ("Mul", "Add"):
            reader = view.sole_consumer(last.outputs[0])
            operand = other_input(reader, last.outputs[0]) if reader is not None and is_op(reader, operator) else None
            values = per_channel(view, operand, rank, channels) if operand else None
            if reader is None or values is None:
                continue
            nodes.append(reader)
            last = reader
            scale, bias = (scale * values, bias * values) if operator == "Mul" else (scale, bias + values)
        dtype = known.dtype.numpy
        names = [f"{node.name}.scale", f"{node.name}.bias"]
        attributes = {"num_groups": groups, "epsilon": node.attributes.get("epsilon", 1e-5)}
        fused = Node("GroupNormalization", [x, *names], last.outputs, attributes, node.name)
        return Patch(nodes, [fused], {names[0]: scale.astype(dtype), names[1]: bias.astype(dtype)})


def _restores(view: GraphView, back: Node, x: str) -> bool:
    """Whether a Reshape gives its input the shape of x."""
    shape = made_by(view, back.inputs[1], "Shape")
    if shape is not None and shape.inputs[0] == x and not {"start", "end"} & shape.attributes.keys():
        return True
    before, after = view.graph.types.get(x), view.graph.types.get(back.outputs[0])
    return before is not None and after is not None and before.shape == after.shape
