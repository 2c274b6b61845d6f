"""Instance normalisation spelled out by exporters becomes one operator again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeinfer.graph import FUSED, GraphView, Node
from edgeinfer.passes.pass_base import Rule
from edgeinfer.passes.patch import Patch
from edgeinfer.passes.patterns import axes_of, consumers_of, is_op, is_scalar, only_read_by, other_input, scalar


@dataclass
class _Core:
    """The part from x to the normalised value: its nodes, x, epsilon, and the node that makes the result."""

    nodes: list[Node]
    x: str
    epsilon: float
    last: Node


class FuseInstanceNormalization(Rule):
    """Spelled-out instance normalisation → ``edgeinfer.InstanceNormalization``.

    ``m = ReduceMean(x); d = Sub(x, m); v = ReduceMean(Pow(d, 2) | Mul(d, d)); s = Sqrt(v + eps);``
    ``n = Div(d, s) | Mul(d, Div(1, s)) | Mul(d, Reciprocal(s)); y = n * scale + bias``

    ⇒ ``y = edgeinfer.InstanceNormalization(x, scale, bias)``; scale and bias may be computed at run time.
    """

    anchors = frozenset({"Sqrt"})

    def match(self, view: GraphView, node: Node) -> Patch | str | None:
        """Match around the square root of the variance."""
        core = self._core(view, node)
        if core is None or isinstance(core, str):
            return core
        known = view.graph.types.get(core.x)
        if known is None or known.shape is None or not isinstance(known.shape[1], int):
            return "the number of channels is not known"
        channels, rank = known.shape[1], len(known.shape)
        patch = Patch(list(core.nodes))
        scale, last = self._factor(view, core.last, "Mul", patch, rank, channels)
        bias, last = self._factor(view, last, "Add", patch, rank, channels)
        stem = node.name
        if not scale:
            scale = f"{stem}.scale"
            patch.constants[scale] = np.ones(channels, np.float32)
        if not bias:
            bias = f"{stem}.bias"
            patch.constants[bias] = np.zeros(channels, np.float32)
        attributes = {"epsilon": core.epsilon}
        fused = Node("InstanceNormalization", [core.x, scale, bias], [last.outputs[0]], attributes, stem, FUSED)
        patch.insert.append(fused)
        return patch

    def _core(self, view: GraphView, root: Node) -> _Core | str | None:
        plus = view.producer(root.inputs[0])
        if not is_op(plus, "Add"):
            return None
        assert plus is not None
        epsilon = next((value for name in plus.inputs if (value := scalar(view, name)) is not None), None)
        variance = next((p for name in plus.inputs if is_op(p := view.producer(name), "ReduceMean")), None)
        if epsilon is None or variance is None:
            return None
        square = view.producer(variance.inputs[0])
        if is_op(square, "Pow") and square is not None and is_scalar(view, square.inputs[1], 2.0):
            centred = square.inputs[0]
        elif is_op(square, "Mul") and square is not None and square.inputs[0] == square.inputs[1]:
            centred = square.inputs[0]
        else:
            return None
        assert square is not None
        minus = view.producer(centred)
        mean = view.producer(minus.inputs[1]) if is_op(minus, "Sub") and minus is not None else None
        if minus is None or not is_op(mean, "ReduceMean") or mean is None or mean.inputs[0] != minus.inputs[0]:
            return None
        x = minus.inputs[0]
        known = view.graph.types.get(x)
        if known is None or known.rank is None:
            return "the rank of the input is not known"
        spatial = list(range(2, known.rank))
        if axes_of(view, mean) != spatial or axes_of(view, variance) != spatial:
            return f"the statistics are not over the spatial axes {spatial}"
        if not (mean.attributes.get("keepdims", 1) and variance.attributes.get("keepdims", 1)):
            return "the statistics do not keep their dimensions"
        tail = self._quotient(view, root, centred)
        if tail is None:
            return "the deviation is not divided by the standard deviation"
        nodes = [mean, minus, square, variance, plus, root, *tail]
        inner = [mean.outputs[0], centred, square.outputs[0], variance.outputs[0], plus.outputs[0], root.outputs[0]]
        if not all(only_read_by(view, name, *nodes) for name in [*inner, *(t.outputs[0] for t in tail[:-1])]):
            return "an intermediate value is read elsewhere"
        return _Core(nodes, x, epsilon, tail[-1])

    def _quotient(self, view: GraphView, root: Node, centred: str) -> list[Node] | None:
        """The nodes that divide the deviation by the root."""
        deviation = root.outputs[0]
        for division in consumers_of(view, deviation, "Div"):
            if division.inputs == [centred, deviation]:
                return [division]
        inverses = consumers_of(view, deviation, "Reciprocal")
        inverses += [d for d in consumers_of(view, deviation, "Div") if is_scalar(view, d.inputs[0], 1.0)]
        for inverse in inverses:
            for product in consumers_of(view, inverse.outputs[0], "Mul"):
                if other_input(product, inverse.outputs[0]) == centred:
                    return [inverse, product]
        return None

    def _factor(
        self, view: GraphView, last: Node, operator: str, patch: Patch, rank: int, channels: int
    ) -> tuple[str, Node]:
        """The per-channel operand of a following Mul or Add as a value [C], and the node that is last then."""
        value = last.outputs[0]
        reader = view.sole_consumer(value)
        if not is_op(reader, operator) or reader is None:
            return "", last
        operand = other_input(reader, value)
        if operand is None:
            return "", last
        known = view.graph.types.get(operand)
        if known is None or known.shape is None:
            return "", last
        shape = (1,) * (rank - len(known.shape)) + known.shape
        if len(shape) != rank or any(dim != 1 for axis, dim in enumerate(shape) if axis != 1) or shape[1] != channels:
            return "", last
        flat = f"{reader.name}.{operator.lower()}"
        constant = view.graph.constants.get(operand)
        if constant is not None:
            patch.constants[flat] = constant.reshape(-1)
        else:
            patch.constants[f"{flat}.shape"] = np.array([channels], np.int64)
            patch.insert.append(Node("Reshape", [operand, f"{flat}.shape"], [flat], {}, flat))
        patch.remove.append(reader)
        return flat, reader
