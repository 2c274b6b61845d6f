"""Hard sigmoid spelled out becomes one operator."""

from __future__ import annotations

from edgeinfer.graph import GraphView, Node
from edgeinfer.passes.activations import activation_of
from edgeinfer.passes.pass_base import Rule
from edgeinfer.passes.patch import Patch
from edgeinfer.passes.patterns import is_close, is_real, made_by, only_read_by, scalar_operand, scaled_operand


class FuseHardSigmoid(Rule):
    """A straight line cut at 0 and 1 becomes one operator.

    Before: ``y = Clip(x + 3, 0, 6) / 6``
    After:  ``y = HardSigmoid(x)`` with ``alpha = 1/6, beta = 1/2``

    In general ``y = Clip(a x + c, 0, h) / h``, where the factor a may be missing, and the division where h is 1;
    then ``alpha = a / h, beta = c / h``.
    """

    anchors = frozenset({"Clip"})

    def match(self, view: GraphView, node: Node) -> Patch | str | None:
        """Match around the Clip."""
        line = _line(view, node)
        if line is None or not is_real(view, node.outputs[0]):
            return None
        source, slope, offset, height = line
        last = node
        if height != 1.0:
            reader = view.sole_consumer(node.outputs[0])
            scaled = scaled_operand(view, reader)
            if reader is None or scaled is None or scaled[0] != node.outputs[0]:
                return None
            if not is_close(scaled[1] * height, 1.0):
                return f"the result of the Clip to 0..{height:g} is multiplied by {scaled[1]:g}"
            last = reader
        attributes = {"alpha": slope / height, "beta": offset / height}
        fused = Node("HardSigmoid", [source], last.outputs, attributes, last.name)
        return Patch([node] if last is node else [node, last], [fused])


def _line(view: GraphView, clip: Node) -> tuple[str, float, float, float] | None:
    """``Clip(a x + c, 0, h)`` as (x, a, c, h)."""
    activation = activation_of(view, clip)
    if activation is None or activation["activation"] != "Clip":
        return None
    lowest, highest = activation["activation_parameters"]
    plus = made_by(view, clip.inputs[0], "Add")
    shifted = scalar_operand(view, plus, "Add")
    if plus is None or shifted is None or lowest != 0.0 or not 0.0 < highest < float("inf"):
        return None
    source, offset = shifted
    times = made_by(view, source, "Mul", "Div")
    scaled = scaled_operand(view, times) if times is not None and only_read_by(view, source, plus) else None
    if scaled is not None:
        return scaled[0], scaled[1], offset, highest
    return source, 1.0, offset, highest
