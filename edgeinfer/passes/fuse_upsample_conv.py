"""Nearest upsampling folded into the convolution that reads it."""

from __future__ import annotations

from edgeinfer.graph import FUSED, GraphView, Node
from edgeinfer.ops.resize import axis_table, repeats, sampling_of
from edgeinfer.passes.conv_attributes import fused_conv_attributes
from edgeinfer.passes.pass_base import Rule
from edgeinfer.passes.patch import Patch
from edgeinfer.passes.patterns import is_op, only_read_by


class FuseUpsampleConv(Rule):
    """Repetition of pixels goes into the convolution that alone reads it.

    Before: ``y = Conv(Resize(x, scales=[1, 1, 2, 2], mode="nearest"), weight)``
    After:  ``y = edgeinfer.Conv(x, weight) {upsample=[2, 2]}``

    The convolution may pad what was repeated.
    """

    anchors = frozenset({"Conv", "QConv"})

    def match(self, view: GraphView, node: Node) -> Patch | str | None:
        """Match a convolution whose input is upsampled for it alone."""
        resize = view.producer(node.inputs[0])
        if not is_op(resize, "Resize"):
            return None
        assert resize is not None
        if not only_read_by(view, resize.outputs[0], node):
            return "the upsampled value is read elsewhere"
        attributes = fused_conv_attributes(view, node)
        if isinstance(attributes, str):
            return attributes
        if attributes.get("upsample", [1, 1]) != [1, 1]:
            return "the convolution upsamples already"
        factors = repeat_factors(view, resize)
        if isinstance(factors, str):
            return factors
        attributes["upsample"] = factors
        fused = Node(node.op, [resize.inputs[0], *node.inputs[1:]], node.outputs, attributes, node.name, FUSED)
        return Patch([resize, node], [fused])


def repeat_factors(view: GraphView, resize: Node) -> list[int] | str:
    """The whole factors by which a nearest Resize repeats rows and columns, or why it is not such a Resize."""
    attributes = resize.attributes
    if attributes.get("mode", "nearest") != "nearest" or attributes.get("axes"):
        return "only nearest upsampling is folded in"
    scales = view.graph.constants.get(resize.input(2)) if resize.input(2) else None
    if scales is None or scales.size != 4:
        return "the scales are computed at run time"
    if scales[0] != 1 or scales[1] != 1 or any(scale != int(scale) or scale < 1 for scale in scales[2:]):
        return f"the scales {[float(scale) for scale in scales]} are not whole factors of rows and columns"
    factors = [int(scale) for scale in scales[2:]]
    sampling = sampling_of(attributes)
    probe = 7
    for factor in factors:
        table = axis_table(probe, probe * factor, float(factor), sampling)
        if not repeats(table.indices[:, 0], factor):
            return f"{sampling.coordinates} with {sampling.nearest_mode} does not repeat pixels"
    return factors
