"""QuantizeLinear and DequantizeLinear of 8-bit tensors with one scale."""

from __future__ import annotations

import math

from edgeinfer.graph import DType, Node
from edgeinfer.plan.lowering.context import LoweringContext, lowering
from edgeinfer.plan.lowering.elementwise import element_tasks
from edgeinfer.plan.lowering.quantization import byte_scale


@lowering("QuantizeLinear")
def lower_quantize(node: Node, context: LoweringContext) -> None:
    """float32 to bytes."""
    x, y = node.inputs[0], node.outputs[0]
    context.require_dtype(DType.FLOAT32, x)
    to = byte_scale(node, context, 1, y)
    values: dict[str, int | float | str] = {
        "x": x, "y": y, **element_tasks(context, math.prod(context.shape(x))), "flip": 0,
        "zero_point": to.zero_point, "scale": to.scale, **to.bounds,
    }  # fmt: skip
    context.step(context.kernels.only("f32_quantize"), node, values, (y,))


@lowering("DequantizeLinear")
def lower_dequantize(node: Node, context: LoweringContext) -> None:
    """Bytes to float32."""
    x, y = node.inputs[0], node.outputs[0]
    context.require_dtype(DType.FLOAT32, y)
    of = byte_scale(node, context, 1, x)
    values: dict[str, int | float | str] = {
        "x": x, "y": y, **element_tasks(context, math.prod(context.shape(x))), "flip": of.flip,
        "zero_point": of.unsigned_zero_point, "scale": of.scale, "low": 0.0, "high": 0.0,
    }  # fmt: skip
    context.step(context.kernels.only("f32_dequantize"), node, values, (y,))
