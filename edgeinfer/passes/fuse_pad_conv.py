"""Padding folded into the convolution that reads it."""

from __future__ import annotations

import numpy as np

from edgeinfer.graph import FUSED, GraphView, Node
from edgeinfer.passes.conv_attributes import fused_conv_attributes
from edgeinfer.passes.pass_base import Rule
from edgeinfer.passes.patch import Patch
from edgeinfer.passes.patterns import is_op, only_read_by, scalar


class FusePadConv(Rule):
    """Padding with zeros, by reflection or of the edge goes into the convolution that alone reads it.

    Before: ``y = Conv(Pad(x, [0, 0, 1, 1, 0, 0, 1, 1], mode="reflect"), weight)``
    After:  ``y = edgeinfer.Conv(x, weight) {pads=[1, 1, 1, 1], pad_mode="reflect"}``

    So does padding of integers, with their zero point for zero.
    """

    anchors = frozenset({"Conv", "QConv"})

    def match(self, view: GraphView, node: Node) -> Patch | str | None:
        """Match a convolution whose input is padded for it alone."""
        pad = view.producer(node.inputs[0])
        if not is_op(pad, "Pad"):
            return None
        assert pad is not None
        if not only_read_by(view, pad.outputs[0], node):
            return "the padded value is read elsewhere"
        attributes = fused_conv_attributes(view, node)
        if isinstance(attributes, str):
            return attributes
        mode = pad.attributes.get("mode", "constant")
        own = attributes.get("pads", [0, 0, 0, 0])
        if mode == "wrap":
            return "convolutions do not wrap around"
        if any(own) and (mode != "constant" or attributes.get("pad_mode", "constant") != "constant"):
            return "the convolution pads with zeros after another kind of padding"
        if attributes.get("upsample", [1, 1]) != [1, 1]:
            return "the convolution upsamples after the padding"
        pads = view.graph.constants.get(pad.inputs[1])
        axes = view.graph.constants.get(pad.input(3)) if pad.input(3) else np.arange(4)
        if pads is None or axes is None:
            return "the padding is computed at run time"
        zero = scalar(view, node.inputs[2]) if node.op == "QConv" else 0.0
        if mode == "constant" and (scalar(view, pad.inputs[2]) if pad.input(2) else 0.0) != zero:
            return "the padding is not zero"
        pairs = {int(axis) % 4: (int(pads[i]), int(pads[i + len(axes)])) for i, axis in enumerate(axes)}
        if any(pairs.get(axis, (0, 0)) != (0, 0) for axis in (0, 1)):
            return "batch or channels are padded"
        (top, bottom), (left, right) = pairs.get(2, (0, 0)), pairs.get(3, (0, 0))
        if min(top, bottom, left, right) < 0:
            return "negative padding cuts the picture"
        attributes["pads"] = [own[0] + top, own[1] + left, own[2] + bottom, own[3] + right]
        attributes["pad_mode"] = mode
        fused = Node(node.op, [pad.inputs[0], *node.inputs[1:]], node.outputs, attributes, node.name, FUSED)
        return Patch([pad, node], [fused])
