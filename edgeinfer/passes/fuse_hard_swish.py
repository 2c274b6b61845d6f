"""Hard swish spelled out becomes one operator."""

from __future__ import annotations

from edgeinfer.graph import GraphView, Node
from edgeinfer.passes.activations import activation_of
from edgeinfer.passes.pass_base import Rule
from edgeinfer.passes.patch import Patch
from edgeinfer.passes.patterns import (
    is_close,
    is_real,
    made_by,
    only_read_by,
    operands,
    scalar_operand,
    scaled_operand,
)


class FuseHardSwish(Rule):
    """Hard swish (Howard et al. 2019) becomes one operator.

    Before: ``y = x * HardSigmoid(x, alpha=1/6, beta=1/2)`` or ``y = x * Clip(x + 3, 0, 6) / 6``
    After:  ``y = HardSwish(x)``
    """

    anchors = frozenset({"Mul"})

    def match(self, view: GraphView, node: Node) -> Patch | str | None:
        """Match around the product of x and the gate."""
        if len(node.inputs) != 2 or not is_real(view, node.outputs[0]):
            return None
        for x, gate in operands(node):
            found = self._with_gate(view, node, x, gate)
            if found is not None:
                return found
        return None

    def _with_gate(self, view: GraphView, node: Node, x: str, gate: str) -> Patch | str | None:
        sigmoid, clip = made_by(view, gate, "HardSigmoid"), made_by(view, gate, "Clip")
        if sigmoid is not None and sigmoid.inputs[0] == x:
            alpha, beta = (sigmoid.attributes.get(key, default) for key, default in (("alpha", 0.2), ("beta", 0.5)))
            if not (is_close(alpha, 1 / 6) and is_close(beta, 0.5)):
                return f"the gate is HardSigmoid with alpha {alpha:g} and beta {beta:g}, not 1/6 and 1/2"
            return _swish(view, x, [sigmoid, node])
        if clip is None or not _is_gate(view, clip):
            return None
        plus = made_by(view, clip.inputs[0], "Add")
        shifted = scalar_operand(view, plus, "Add")
        if shifted is None or not is_close(shifted[1], 3.0):
            return None
        if shifted[0] == x:
            reader = view.sole_consumer(node.outputs[0])
            scaled = scaled_operand(view, reader)
            if reader is None or scaled is None or not is_close(scaled[1], 1 / 6):
                return None
            return _swish(view, x, [clip, node, reader])
        sixth = made_by(view, x, "Mul", "Div")
        scaled = scaled_operand(view, sixth)
        if sixth is None or scaled is None or scaled[0] != shifted[0] or not is_close(scaled[1], 1 / 6):
            return None
        return _swish(view, scaled[0], [sixth, clip, node])


def _is_gate(view: GraphView, clip: Node) -> bool:
    """Whether a Clip bounds to 0..6."""
    activation = activation_of(view, clip)
    return activation is not None and activation["activation_parameters"] == [0.0, 6.0]


def _swish(view: GraphView, x: str, nodes: list[Node]) -> Patch | str:
    last = nodes[-1]
    if not all(only_read_by(view, node.outputs[0], *nodes) for node in nodes[:-1]):
        return "the gate is read elsewhere"
    return Patch(nodes, [Node("HardSwish", [x], last.outputs, {}, last.name)])
