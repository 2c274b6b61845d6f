"""Reductions, global pools, softmax and layer normalisation."""

from __future__ import annotations

import math

from edgeinfer.activation_codes import REDUCTION_CODES
from edgeinfer.graph import FUSED, DType, Node
from edgeinfer.plan.lowering.context import LoweringContext, NotNative, lowering


def _split(shape: tuple[int, ...], axes: list[int]) -> tuple[int, int, int]:
    """A shape as [outer, reduced, inner]; the reduced axes must be neighbours."""
    first, last = min(axes), max(axes)
    if any(shape[axis] != 1 for axis in range(first, last + 1) if axis not in axes):
        raise NotNative(f"a reduction over the separate axes {axes}")
    return math.prod(shape[:first]), math.prod(shape[first : last + 1]), math.prod(shape[last + 1 :])


def _tiles(outer: int, inner: int, lanes: int) -> int:
    return outer if inner == 1 else outer * math.ceil(inner / lanes)


def _emit_reduce(node: Node, context: LoweringContext, operator: str, axes: list[int]) -> None:
    x, y = node.inputs[0], node.outputs[0]
    kernel = context.kernels.only(f"{context.float_kernels(x)}_reduce")
    shape = context.shape(x)
    if 0 in shape:
        raise NotNative("an empty input")
    axes = [axis % len(shape) for axis in axes]
    if all(shape[axis] == 1 for axis in axes) and operator in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin"):
        context.alias(y, x)
        return
    outer, count, inner = _split(shape, axes)
    values: dict[str, int | float | str] = {
        "x": x, "y": y, "outer": outer, "count": count, "inner": inner, "operator": REDUCTION_CODES[operator],
        "tiles": _tiles(outer, inner, context.kernels.lanes_of(kernel)),
    }  # fmt: skip
    context.step(kernel, node, values, (y,))


@lowering(*REDUCTION_CODES)
def lower_reduce(node: Node, context: LoweringContext) -> None:
    """Lower an ONNX reduction over neighbouring axes."""
    rank = len(context.shape(node.inputs[0]))
    axes = context.constant(node.input(1)) if node.input(1) else None
    if axes is None or axes.size == 0:
        if node.input(1) and axes is None:
            raise NotNative("the axes are computed at run time")
        if node.attributes.get("noop_with_empty_axes", 0):
            context.alias(node.outputs[0], node.inputs[0])
            return
        chosen = list(range(rank))
    else:
        chosen = [int(axis) % rank for axis in axes]
    if not chosen:
        raise NotNative("a scalar input")
    _emit_reduce(node, context, node.op, chosen)


@lowering("GlobalAveragePool", "GlobalMaxPool", domain=FUSED)
def lower_global_pool(node: Node, context: LoweringContext) -> None:
    """A global pool in NHWC layout reduces the axes of rows and columns."""
    if node.attributes.get("layout") != "NHWC":
        raise NotNative("only channels-last pools have kernels")
    _emit_reduce(node, context, "ReduceMean" if node.op == "GlobalAveragePool" else "ReduceMax", [1, 2])


@lowering("Softmax", "LogSoftmax")
def lower_softmax(node: Node, context: LoweringContext) -> None:
    """Lower Softmax or LogSoftmax over any axis."""
    x, y = node.inputs[0], node.outputs[0]
    context.require_dtype(DType.FLOAT32, x)
    shape = context.shape(x)
    if not shape or 0 in shape:
        raise NotNative("an empty or scalar input")
    outer, count, inner = _split(shape, [node.attributes.get("axis", -1) % len(shape)])
    values: dict[str, int | float | str] = {
        "x": x, "y": y, "outer": outer, "count": count, "inner": inner, "logarithm": int(node.op == "LogSoftmax"),
        "tiles": _tiles(outer, inner, context.kernels.lanes),
    }  # fmt: skip
    context.step(context.kernels.only("f32_softmax"), node, values, (y,))


@lowering("LayerNormalization")
def lower_layer_norm(node: Node, context: LoweringContext) -> None:
    """Lower LayerNormalization with scale and bias of the normalised shape."""
    x, scale, bias, y = node.inputs[0], node.inputs[1], node.input(2), node.outputs[0]
    if any(node.outputs[1:]):
        raise NotNative("mean and deviation as outputs")
    context.require_dtype(DType.FLOAT32, x, scale, bias)
    shape = context.shape(x)
    axis = node.attributes.get("axis", -1) % len(shape)
    count = math.prod(shape[axis:])
    if math.prod(context.shape(scale)) != count or (bias and math.prod(context.shape(bias)) != count):
        raise NotNative("scale or bias that broadcast")
    outer = math.prod(shape[:axis])
    values: dict[str, int | float | str] = {
        "x": x, "scale": scale, "bias": bias, "y": y, "outer": outer, "count": count, "tiles": outer,
        "epsilon": float(node.attributes.get("epsilon", 1e-5)),
    }  # fmt: skip
    context.step(context.kernels.only("f32_layer_norm"), node, values, (y,))
