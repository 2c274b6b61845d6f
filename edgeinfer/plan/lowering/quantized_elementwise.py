"""Element-wise operators of 8-bit tensors."""

from __future__ import annotations

import math

import numpy as np

from edgeinfer.activation_codes import BINARY_CODES
from edgeinfer.graph import FUSED, Node
from edgeinfer.ops.quantized_products import integer_bounds
from edgeinfer.plan.lowering.context import LoweringContext, NotNative, lowering
from edgeinfer.plan.lowering.conv_geometry import activation_fields
from edgeinfer.plan.lowering.elementwise import broadcast_fields, element_tasks, operands_in_place
from edgeinfer.plan.lowering.quantization import ByteScale, byte_scale, constant_input, require_bytes
from edgeinfer.plan.step import KernelStep


@lowering("QAdd", "QMul", domain=FUSED)
def lower_quantized_binary(node: Node, context: LoweringContext) -> None:
    """Sums and products."""
    a, b, y = node.inputs[0], node.inputs[3], node.outputs[0]
    left, right, result = (
        byte_scale(node, context, 1, a), byte_scale(node, context, 4, b), byte_scale(node, context, 6, y),
    )  # fmt: skip
    fields = activation_fields(node)
    if fields["activation"]:
        raise NotNative(f"there is no kernel with {node.attributes['activation']}")
    # Bounds of numbers before division and rounding, which keep their order, are bounds of integers behind them.
    name, parameters = node.attributes.get("activation", "") or "Clip", node.attributes.get("activation_parameters", ())
    low, high = integer_bounds(name, parameters, np.float32(result.scale), result.zero_point, context.dtype(y))
    if node.op == "QAdd" and context.shape(a) == context.shape(b) == context.shape(y):
        bounds = float(low), float(high)
        if _add_to_convolution(context, a, b, y, left, right, result, bounds) or _add_to_convolution(
            context, b, a, y, right, left, result, bounds
        ):
            return
    values: dict[str, int | float | str] = {
        **broadcast_fields(node, context, a, b, y), "operator": BINARY_CODES[node.op[1:]],
        "a_flip": left.flip, "b_flip": right.flip, "a_zero_point": left.unsigned_zero_point,
        "b_zero_point": right.unsigned_zero_point, "y_zero_point": result.zero_point,
        "a_scale": left.scale, "b_scale": right.scale, "y_scale": result.scale, "low": low, "high": high,
    }  # fmt: skip
    in_place = operands_in_place(context, values, y)
    context.step(context.kernels.only("qu8_binary"), node, values, (y,), in_place=in_place)


def _add_to_convolution(
    context: LoweringContext,
    own: str,
    residual: str,
    y: str,
    own_scale: ByteScale,
    residual_scale: ByteScale,
    result: ByteScale,
    bounds: tuple[float, float],
) -> bool:
    """Let the step that makes ``own`` add the residual, if it is a convolution that can and nothing else reads it."""
    source = residual
    while source in context.aliases:
        source = context.aliases[source]
    writers = {name: [i for i, step in enumerate(context.steps) if name in step.writes] for name in (own, source)}
    index = writers[own][0] if len(writers[own]) == 1 else -1
    if context.readers.get(own) != 1 or max(writers[source], default=-1) >= index:
        return False
    step = context.steps[index]
    if not isinstance(step, KernelStep) or not step.kernel.traits.get("adds") or step.values["float_y"]:
        return False
    low, high = bounds
    values = {
        **step.values, "y": y, "residual": residual, "own_flip": own_scale.flip,
        "own_zero_point": own_scale.unsigned_zero_point, "own_scale": own_scale.scale,
        "residual_flip": residual_scale.flip, "residual_zero_point": residual_scale.unsigned_zero_point,
        "residual_scale": residual_scale.scale, "sum_zero_point": result.zero_point, "sum_scale": result.scale,
        "sum_low": low, "sum_high": high,
    }  # fmt: skip
    context.steps[index] = KernelStep(
        step.kernel, values, (y,), step.node, step.op, step.scratch_bytes, step.macs, step.in_place
    )
    return True


@lowering("QTable", domain=FUSED)
def lower_quantized_table(node: Node, context: LoweringContext) -> None:
    """A function of one byte."""
    x, table, y = *node.inputs, node.outputs[0]
    require_bytes(context, x, y)
    constant_input(node, context, 1)
    values: dict[str, int | float | str] = {
        "x": x, "table": table, "y": y, **element_tasks(context, math.prod(context.shape(x))),
    }  # fmt: skip
    context.step(context.kernels.only("x8_table"), node, values, (y,), in_place=((x, y),))
