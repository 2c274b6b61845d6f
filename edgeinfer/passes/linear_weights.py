"""Per-channel factors and summands worked into the constant weights of a linear operator.

With ``y = W x + b``: ``scale * y + shift = (scale * W) x + (scale * b + shift)``, one scale and shift for each
output channel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeinfer.graph import FUSED, ONNX, DType, GraphView, Node

LINEAR = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclass
class Linear:
    """A linear operator with constant weights and no activation or residual behind it.

    Attributes:
        node: the operator: Conv, ConvTranspose, Gemm, or MatMul with a matrix as its second operand.
        weight: its weights.
        bias: its bias as one number for each output channel, zeros if it has none.
        channels: number of output channels.
        rank: rank of its output, None if unknown.
    """

    node: Node
    weight: np.ndarray
    bias: np.ndarray
    channels: int
    rank: int | None


def linear_operator(view: GraphView, node: Node | None) -> Linear | str | None:
    """A node as a linear operator whose weights can be changed, why it cannot be, or None if it is none."""
    if node is None or node.op not in LINEAR or node.domain not in (ONNX, FUSED):
        return None
    if node.attributes.get("activation") or node.input(3):
        return None
    weight = view.graph.constants.get(node.inputs[1])
    known = view.graph.types.get(node.outputs[0])
    if weight is None:
        return "the weights are computed at run time"
    if view.graph.types[node.inputs[1]].dtype not in (DType.FLOAT32, DType.FLOAT16):
        return "the weights are not floats"
    if node.op == "MatMul" and weight.ndim != 2:
        return "the weights are not a matrix"
    channels = _output_channels(node, weight)
    bias = view.graph.constants.get(node.input(2)) if node.input(2) else np.zeros(channels, weight.dtype)
    if bias is None:
        return "the bias is computed at run time"
    if node.op == "Gemm":
        bias = bias.reshape(-1) if bias.ndim < 2 or bias.shape[0] == 1 else bias
        if bias.ndim != 1:
            return "the bias differs from row to row"
    rank = known.rank if known is not None else None
    return Linear(node, weight, np.broadcast_to(bias, (channels,)), channels, rank)


def _output_channels(node: Node, weight: np.ndarray) -> int:
    if node.op == "Conv":
        return int(weight.shape[0])
    if node.op == "ConvTranspose":
        return int(weight.shape[1]) * int(node.attributes.get("group", 1))
    return int(weight.shape[0 if node.attributes.get("transB", 0) else 1])


def with_affine(
    linear: Linear, scale: np.ndarray, shift: np.ndarray, outputs: list[str]
) -> tuple[Node, dict[str, np.ndarray]] | str:
    """The operator that computes ``scale * y + shift``, and its new weights.

    Args:
        linear: the operator that computes y.
        scale: one factor for each output channel, float64.
        shift: one summand for each output channel, float64.
        outputs: names of the new operator's outputs.

    Returns:
        The new node and its constants by name, or why there is none.
    """
    node, dtype = linear.node, linear.weight.dtype
    factor = _along_outputs(node, linear.weight, scale)
    beta = float(node.attributes.get("beta", 1.0))
    alpha = float(node.attributes.get("alpha", 1.0))
    with np.errstate(over="ignore", invalid="ignore"):
        weight = (linear.weight.astype(np.float64) * factor).astype(dtype)
        bias = (linear.bias.astype(np.float64) * scale * beta + shift).astype(dtype)
    if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        return f"the scaled weights do not fit into {dtype}"
    attributes = dict(node.attributes)
    if node.op == "Gemm":
        attributes.update(alpha=alpha, beta=1.0)
    names = [f"{node.name}.weight", f"{node.name}.bias"]
    fused = Node(node.op, [node.inputs[0], *names], outputs, attributes, node.name, node.domain)
    if node.op == "MatMul":
        fused.domain = FUSED
    return fused, dict(zip(names, (weight, bias), strict=True))


def _along_outputs(node: Node, weight: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """One factor for each output channel in a shape that broadcasts with the weights."""
    if node.op == "Conv":
        return scale.reshape(-1, *[1] * (weight.ndim - 1))
    if node.op == "ConvTranspose":
        # [C, O / group, k…]: the input channels of group g meet the outputs g * O / group ….
        group = int(node.attributes.get("group", 1))
        per_input = scale.reshape(group, -1).repeat(weight.shape[0] // group, axis=0)
        return per_input.reshape(*per_input.shape, *[1] * (weight.ndim - 2))
    return scale.reshape(-1, 1) if node.attributes.get("transB", 0) else scale
