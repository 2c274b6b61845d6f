"""Removal of nodes that change nothing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgeinfer.graph import ONNX, GraphView, Node
from edgeinfer.ops.unary import CAST_CODES
from edgeinfer.passes.pass_base import Rule
from edgeinfer.passes.patch import Patch
from edgeinfer.passes.patterns import is_scalar
from edgeinfer.records import altered


class RemoveIdentity(Rule):
    """Nodes that hand on their input unchanged go.

    Before: ``t = Identity | Dropout | Cast | Transpose | Reshape | Pad | Slice | x * 1 | x + 0 (x); y = f(t)``
    After:  ``y = f(x)``
    """

    def match(self, view: GraphView, node: Node) -> Patch | str | None:
        """Match nodes of the ONNX domain that change nothing."""
        source = self._source(view, node)
        if source is None or any(view.consumers.get(name) or view.is_output(name) for name in node.outputs[1:]):
            return None
        target = node.outputs[0]
        if not view.is_output(target):
            return Patch([node], renames={target: source})
        return self._rename_producer(view, node, source, target)

    def _source(self, view: GraphView, node: Node) -> str | None:
        """The input that a node hands on, None if it does not."""
        if node.domain != ONNX:
            return None
        if node.op in _NEUTRAL:
            return _neutral_operand(view, node)
        return node.inputs[0] if _CHECKS[node.op](view, node) else None

    def _rename_producer(self, view: GraphView, node: Node, source: str, target: str) -> Patch | None:
        """The value before the node takes the name of the graph's output; it has to have no other reader."""
        producer = view.producer(source)
        if producer is None or view.is_output(source) or len(view.consumers[source]) > 1:
            return None
        outputs = [target if name == source else name for name in producer.outputs]
        return Patch([producer, node], [altered(producer, outputs=outputs)])


def _always(view: GraphView, node: Node) -> bool:
    return True


def _is_only_input(view: GraphView, node: Node) -> bool:
    return len(node.inputs) == 1


def _is_inference(view: GraphView, node: Node) -> bool:
    """A Dropout that is not in training mode."""
    if not node.input(2):
        return True
    training = view.graph.constants.get(node.input(2))
    return training is not None and not training.any()


def _keeps_dtype(view: GraphView, node: Node) -> bool:
    known = view.graph.types.get(node.inputs[0])
    return known is not None and CAST_CODES.get(node.attributes["to"]) is known.dtype


def _keeps_order(view: GraphView, node: Node) -> bool:
    perm = node.attributes.get("perm")
    return perm is not None and list(perm) == sorted(perm)


def _keeps_shape(view: GraphView, node: Node) -> bool:
    before, after = view.graph.types.get(node.inputs[0]), view.graph.types.get(node.outputs[0])
    return before is not None and after is not None and before.shape is not None and before.shape == after.shape


def _pads_nothing(view: GraphView, node: Node) -> bool:
    pads = view.graph.constants.get(node.inputs[1])
    return pads is not None and not np.any(pads)


def _takes_everything(view: GraphView, node: Node) -> bool:
    """A Slice from 0 to beyond any size in steps of 1."""
    starts, ends = (view.graph.constants.get(node.inputs[index]) for index in (1, 2))
    steps = view.graph.constants.get(node.input(4)) if node.input(4) else np.ones(1)
    if starts is None or ends is None or steps is None:
        return False
    return not starts.any() and bool((ends >= 2**31 - 1).all()) and bool((steps == 1).all())


_Check = Callable[[GraphView, Node], bool]
_CHECKS: dict[str, _Check] = {
    "Identity": _always,
    "Dropout": _is_inference,
    "Cast": _keeps_dtype,
    "Transpose": _keeps_order,
    "Reshape": _keeps_shape,
    "Flatten": _keeps_shape,
    "Squeeze": _keeps_shape,
    "Unsqueeze": _keeps_shape,
    "Expand": _keeps_shape,
    "Pad": _pads_nothing,
    "Slice": _takes_everything,
    "Clip": _is_only_input,
    "Concat": _is_only_input,
    "Sum": _is_only_input,
    "Max": _is_only_input,
    "Min": _is_only_input,
    "Mean": _is_only_input,
}

# Binary operators with the operand that changes nothing, and whether it may stand first.
_NEUTRAL = {"Mul": (1.0, True), "Add": (0.0, True), "Sub": (0.0, False), "Div": (1.0, False), "Pow": (1.0, False)}

RemoveIdentity.anchors = frozenset({*_CHECKS, *_NEUTRAL})


def _neutral_operand(view: GraphView, node: Node) -> str | None:
    """The operand that a product with 1 or a sum with 0 hands on."""
    value, commutes = _NEUTRAL[node.op]
    result = view.graph.types.get(node.outputs[0])
    for source, other in (node.inputs, node.inputs[::-1] if commutes else ("", "")):
        known, array = view.graph.types.get(source), view.graph.constants.get(other)
        if array is None or known is None or known.rank is None or result is None:
            continue
        if is_scalar(view, other, value) and array.item() == value and array.ndim <= known.rank:
            return source
    return None
