"""Convolutions of ONNX as fused ones."""

from __future__ import annotations

from typing import Any

from edgeinfer.errors import EdgeInferError
from edgeinfer.graph import FUSED, ONNX, GraphView, Node
from edgeinfer.ops.spatial import make_window


def is_conv(node: Node | None) -> bool:
    """Whether a node is a convolution, plain or fused."""
    return node is not None and node.op == "Conv" and node.domain in (ONNX, FUSED)


def weight_of(node: Node) -> str:
    """Name of the weights of a Conv or QConv."""
    return node.inputs[3] if node.op == "QConv" else node.inputs[1]


def fused_conv_attributes(view: GraphView, node: Node) -> dict[str, Any] | str:
    """The attributes of a two-dimensional Conv or QConv as a fused one, or why it cannot become one."""
    weight = view.graph.types.get(weight_of(node))
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


def fused_transpose_attributes(view: GraphView, node: Node) -> dict[str, Any] | str:
    """The attributes of a two-dimensional ConvTranspose as a fused one, or why it cannot become one."""
    weight = view.graph.types.get(node.inputs[1])
    if weight is None or weight.rank != 4:
        return "only two-dimensional convolutions are fused"
    if node.attributes.get("auto_pad", "NOTSET") != "NOTSET" or node.attributes.get("output_shape"):
        return "the padding follows from an output shape"
    return {key: value for key, value in node.attributes.items() if key not in ("auto_pad", "kernel_shape")}
