"""What surrounds a convolution is folded into it: padding, upsampling, activation, residual addition."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeinfer.errors import EdgeInferError
from edgeinfer.graph import FUSED, ONNX, GraphView, Node
from edgeinfer.ops.resize import axis_table, sampling_of
from edgeinfer.ops.spatial import make_window
from edgeinfer.passes.pass_base import Patch, Rule
from edgeinfer.passes.patterns import is_op, only_read_by, scalar

# ONNX activations that fused operators take, with their attributes that become parameters.
_ACTIVATIONS: dict[str, tuple[tuple[str, float], ...]] = {
    "Relu": (),
    "LeakyRelu": (("alpha", 0.01),),
    "HardSigmoid": (("alpha", 0.2), ("beta", 0.5)),
    "HardSwish": (),
    "Sigmoid": (),
    "Tanh": (),
    "Elu": (("alpha", 1.0),),
}


def activation_of(view: GraphView, node: Node) -> dict[str, Any] | None:
    """The attributes ``activation`` and ``activation_parameters`` that stand for a node, None if it is none."""
    if is_op(node, "Clip"):
        bounds = []
        for index, default in ((1, -np.inf), (2, np.inf)):
            value = scalar(view, node.input(index)) if node.input(index) else default
            if value is None:
                return None
            bounds.append(float(value))
        return {"activation": "Clip", "activation_parameters": bounds}
    if is_op(node, "Gelu") and node.attributes.get("approximate", "none") == "none":
        return {"activation": "Gelu"}
    if is_op(node, "Swish") and node.attributes.get("alpha", 1.0) == 1.0:
        return {"activation": "Silu"}
    if node.domain != ONNX or node.op not in _ACTIVATIONS:
        return None
    parameters = [float(node.attributes.get(name, default)) for name, default in _ACTIVATIONS[node.op]]
    result: dict[str, Any] = {"activation": node.op}
    if parameters:
        result["activation_parameters"] = parameters
    return result


def fused_conv_attributes(view: GraphView, node: Node) -> dict[str, Any] | str:
    """The attributes of a two-dimensional Conv as a fused one, or why it cannot become one."""
    weight = view.graph.types.get(node.inputs[1])
    if weight is None or weight.rank != 4:
        return "only two-dimensional convolutions are fused"
    attributes = {key: value for key, value in node.attributes.items() if key not in ("auto_pad", "kernel_shape")}
    if node.domain == FUSED:
        return attributes
    auto_pad = node.attributes.get("auto_pad", "NOTSET")
    if auto_pad != "NOTSET":
        known = view.graph.types.get(node.inputs[0])
        if known is None or known.shape is None or weight.shape is None:
            return "the shapes are not known"
        kernel = [int(dim) for dim in weight.shape[2:]]
        try:
            window = make_window(
                kernel, attributes.get("strides"), attributes.get("dilations"), None, auto_pad, known.shape[2:]
            )
        except (ValueError, EdgeInferError) as error:
            return str(error)
        attributes["pads"] = [before for before, _ in window.pads] + [after for _, after in window.pads]
    return attributes


def _is_conv(node: Node | None) -> bool:
    return node is not None and node.op == "Conv" and node.domain in (ONNX, FUSED)


class FusePadConv(Rule):
    """``Pad(x) → Conv`` ⇒ ``edgeinfer.Conv`` with ``pads`` and ``pad_mode``."""

    anchors = frozenset({"Conv"})

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
        if mode == "constant" and pad.input(2) and scalar(view, pad.inputs[2]) != 0.0:
            return "the padding is not zero"
        pairs = {int(axis) % 4: (int(pads[i]), int(pads[i + len(axes)])) for i, axis in enumerate(axes)}
        if any(pairs.get(axis, (0, 0)) != (0, 0) for axis in (0, 1)):
            return "batch or channels are padded"
        (top, bottom), (left, right) = pairs.get(2, (0, 0)), pairs.get(3, (0, 0))
        if min(top, bottom, left, right) < 0:
            return "negative padding cuts the picture"
        attributes["pads"] = [own[0] + top, own[1] + left, own[2] + bottom, own[3] + right]
        attributes["pad_mode"] = mode
        fused = Node("Conv", [pad.inputs[0], *node.inputs[1:]], node.outputs, attributes, node.name, FUSED)
        return Patch([pad, node], [fused])


class FuseUpsampleConv(Rule):
    """``Resize(x, nearest, whole factors) → Conv`` ⇒ ``edgeinfer.Conv`` with ``upsample``."""

    anchors = frozenset({"Conv"})

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
        fused = Node("Conv", [resize.inputs[0], *node.inputs[1:]], node.outputs, attributes, node.name, FUSED)
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
        if not np.array_equal(table.indices[:, 0], np.arange(probe * factor) // factor):
            return f"{sampling.coordinates} with {sampling.nearest_mode} does not repeat pixels"
    return factors


class FuseActivation(Rule):
    """``Conv | ConvTranspose | InstanceNormalization | MatMul | Add → activation`` ⇒ one fused operator."""

    anchors = frozenset({"Conv", "ConvTranspose", "InstanceNormalization", "MatMul", "Add"})

    def match(self, view: GraphView, node: Node) -> Patch | str | None:
        """Match an operator without activation whose only reader is one."""
        if node.domain not in (ONNX, FUSED) or node.attributes.get("activation"):
            return None
        reader = view.sole_consumer(node.outputs[0])
        if reader is None or reader.inputs[0] != node.outputs[0]:
            return None
        activation = activation_of(view, reader)
        if activation is None:
            return None
        attributes: dict[str, Any] | str = dict(node.attributes)
        if node.op == "Conv":
            attributes = fused_conv_attributes(view, node)
        if node.op == "ConvTranspose":
            attributes = fused_transpose_attributes(view, node)
        if isinstance(attributes, str):
            return attributes
        if node.op == "Add" and node.domain == ONNX:
            known = view.graph.types.get(node.outputs[0])
            if known is None or not known.dtype.is_float:
                return None
        fused = Node(node.op, node.inputs, reader.outputs, {**attributes, **activation}, node.name, FUSED)
        return Patch([node, reader], [fused])


def fused_transpose_attributes(view: GraphView, node: Node) -> dict[str, Any] | str:
    """The attributes of a two-dimensional ConvTranspose as a fused one, or why it cannot become one."""
    weight = view.graph.types.get(node.inputs[1])
    if weight is None or weight.rank != 4:
        return "only two-dimensional convolutions are fused"
    if node.attributes.get("auto_pad", "NOTSET") != "NOTSET" or node.attributes.get("output_shape"):
        return "the padding follows from an output shape"
    return {key: value for key, value in node.attributes.items() if key not in ("auto_pad", "kernel_shape")}


class FuseResidual(Rule):
    """``Conv | InstanceNormalization → Add(other)`` ⇒ one fused operator with ``other`` as its residual."""

    anchors = frozenset({"Add"})

    def match(self, view: GraphView, node: Node) -> Patch | str | None:
        """Match an addition of equal shapes, one operand made by an operator for it alone."""
        if node.domain != ONNX:
            return None
        reason = None
        for own, other in (node.inputs, node.inputs[::-1]):
            producer = view.producer(own)
            if producer is None or not self._takes_residual(producer) or own == other:
                continue
            reason = self._refusal(view, producer, own, other, node)
            if reason:
                continue
            attributes: dict[str, Any] | str = dict(producer.attributes)
            if producer.op == "Conv":
                attributes = fused_conv_attributes(view, producer)
            if isinstance(attributes, str):
                reason = attributes
                continue
            inputs = [producer.input(index) for index in range(3)]
            fused = Node(producer.op, [*inputs, other], node.outputs, attributes, producer.name, FUSED)
            return Patch([producer, node], [fused])
        return reason

    def _takes_residual(self, producer: Node) -> bool:
        fits = _is_conv(producer) or (producer.op == "InstanceNormalization" and producer.domain in (ONNX, FUSED))
        return fits and not producer.attributes.get("activation") and len(producer.inputs) < 4

    def _refusal(self, view: GraphView, producer: Node, own: str, other: str, node: Node) -> str | None:
        if not only_read_by(view, own, node):
            return "the value before the addition is read elsewhere"
        left, right = view.graph.types.get(own), view.graph.types.get(other)
        if left is None or right is None or left.shape != right.shape or left.shape is None:
            return "the operands of the addition do not have the same shape"
        return None
