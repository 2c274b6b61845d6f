"""Softmax of 8-bit tensors."""

from __future__ import annotations

import math

import numpy as np

from edgeinfer.graph import FUSED, Node
from edgeinfer.ops.quantized_softmax import exponentials
from edgeinfer.plan.lowering.context import LoweringContext, NotNative, lowering
from edgeinfer.plan.lowering.quantization import byte_scale


@lowering("QSoftmax", domain=FUSED)
def lower_quantized_softmax(node: Node, context: LoweringContext) -> None:
    """Softmax over any axis."""
    x, y, shape = node.inputs[0], node.outputs[0], context.shape(node.inputs[0])
    of, to = byte_scale(node, context, 1, x), byte_scale(node, context, 3, y)
    if not shape or 0 in shape:
        raise NotNative("an empty or scalar input")
    axis = node.attributes.get("axis", -1) % len(shape)
    inner = math.prod(shape[axis + 1 :])
    values: dict[str, int | float | str] = {
        "x": x, "y": y, "count": shape[axis], "inner": inner, "flip": of.flip, "y_zero_point": to.zero_point,
        "table": context.new_constant(f"{node.name}.exponentials", exponentials(np.float32(of.scale))),
        "y_scale": to.scale, **to.bounds, "tiles": math.prod(shape[:axis]) * inner,
    }  # fmt: skip
    context.step(context.kernels.only("qu8_softmax"), node, values, (y,))
