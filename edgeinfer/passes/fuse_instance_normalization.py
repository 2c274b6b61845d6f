"""Instance normalisation spelled out by exporters becomes one operator again."""

from __future__ import annotations

import numpy as np

from edgeinfer.graph import FUSED, GraphView, Node
from edgeinfer.passes.normalization_pattern import find_normalization
from edgeinfer.passes.pass_base import Rule
from edgeinfer.passes.patch import Patch
from edgeinfer.passes.patterns import is_op, other_input


class FuseInstanceNormalization(Rule):
    """Spelled-out instance normalisation (Ulyanov et al. 2016) becomes one operator.

    Before: ``m = ReduceMean(x); d = x - m; s = Sqrt(ReduceMean(d * d) + eps); y = d / s * scale + bias``
    After:  ``y = edgeinfer.InstanceNormalization(x, scale, bias)``

    Mean and variance run over the spatial axes; scale and bias hold one value a channel, constant or computed at
    run time. ``find_normalization`` lists the spellings.
    """

    anchors = frozenset({"Sqrt", "Pow"})

    def match(self, view: GraphView, node: Node) -> Patch | str | None:
        """Match around the square root of the variance."""
        core = find_normalization(view, node)
        if core is None or isinstance(core, str):
            return core
        known = view.graph.types[core.x]
        if known.shape is None or core.axes != list(range(2, len(known.shape))):
            return f"the statistics are over the axes {core.axes}, not over all spatial ones"
        channels = known.shape[1]
        if not isinstance(channels, int):
            return "the number of channels is not known"
        patch, last, rank = Patch(list(core.nodes)), core.last, len(known.shape)
        parameters = []
        for operand, operator, default in ((core.scale, "Mul", 1), (core.bias, "Add", 0)):
            if operand and not _is_per_channel(view, operand, rank, channels):
                return f"the operand '{operand}' does not hold one value a channel"
            if not operand and not core.bias:
                operand, last = _following_operand(view, last, operator, rank, channels, patch)
            name = f"{node.name}.{operator.lower()}"
            parameters.append(name)
            if operand:
                _flatten(view, operand, name, channels, patch)
            else:
                patch.constants[name] = np.full(channels, default, known.dtype.numpy)
        fused = Node(
            "InstanceNormalization", [core.x, *parameters], [last.outputs[0]], {"epsilon": core.epsilon}, node.name,
            FUSED,
        )  # fmt: skip
        patch.insert.append(fused)
        return patch


def _is_per_channel(view: GraphView, name: str, rank: int, channels: int) -> bool:
    """Whether a value broadcasts over [N, C, …] as one value for each channel."""
    known = view.graph.types.get(name)
    if known is None or known.shape is None or len(known.shape) > rank:
        return False
    shape = (1,) * (rank - len(known.shape)) + known.shape
    return all(dim == (channels if axis == 1 else 1) for axis, dim in enumerate(shape))


def _following_operand(
    view: GraphView, last: Node, operator: str, rank: int, channels: int, patch: Patch
) -> tuple[str, Node]:
    """The per-channel operand of the Mul or Add that alone reads the result so far, and the node that is last then."""
    value = last.outputs[0]
    reader = view.sole_consumer(value)
    operand = other_input(reader, value) if reader is not None and is_op(reader, operator) else None
    if reader is None or operand is None or not _is_per_channel(view, operand, rank, channels):
        return "", last
    patch.remove.append(reader)
    return operand, reader


def _flatten(view: GraphView, operand: str, name: str, channels: int, patch: Patch) -> None:
    """Add to a patch the value ``name`` [C] with the elements of an operand such as [1, C, 1, 1]."""
    constant = view.graph.constants.get(operand)
    if constant is not None:
        patch.constants[name] = constant.reshape(-1)
        return
    patch.constants[f"{name}.shape"] = np.array([channels], np.int64)
    patch.insert.append(Node("Reshape", [operand, f"{name}.shape"], [name], {}, name))
