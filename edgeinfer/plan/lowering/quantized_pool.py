"""Average pooling of 8-bit pictures, channels last."""

from __future__ import annotations

import math

import numpy as np

from edgeinfer.graph import FUSED, Node
from edgeinfer.plan.lowering.context import LoweringContext, NotNative, lowering
from edgeinfer.plan.lowering.pool import emit_byte_pool
from edgeinfer.plan.lowering.quantization import byte_scale

# The kernel adds up 2**12 blocks of 2**16 pixels exactly.
MAX_PIXELS = 1 << 28


@lowering("QAveragePool", domain=FUSED)
def lower_quantized_average_pool(node: Node, context: LoweringContext) -> None:
    """Averages over windows."""
    x, y = node.inputs[0], node.outputs[0]
    emit_byte_pool(node, context, byte_scale(node, context, 1, x), byte_scale(node, context, 3, y))


@lowering("QGlobalAveragePool", domain=FUSED)
def lower_quantized_global_average_pool(node: Node, context: LoweringContext) -> None:
    """Averages over all pixels of a picture."""
    x, y = node.inputs[0], node.outputs[0]
    if node.attributes.get("layout") != "NHWC":
        raise NotNative("only channels-last pictures have kernels")
    of, to = byte_scale(node, context, 1, x), byte_scale(node, context, 3, y)
    batch, *spatial, channels = context.shape(x)
    pixels = math.prod(spatial)
    if pixels > MAX_PIXELS:
        raise NotNative(f"{pixels} pixels; the sum is exact up to {MAX_PIXELS}")
    factor = np.float32(of.scale) / (np.float32(to.scale) * np.float32(pixels))
    values: dict[str, int | float | str] = {
        "x": x, "y": y, "pixels": pixels, "channels": channels, "flip": of.flip,
        "x_zero_point": of.unsigned_zero_point, "y_zero_point": to.zero_point, "factor": float(factor), **to.bounds,
        "tiles": batch * math.ceil(channels / context.kernels.lanes),
    }  # fmt: skip
    context.step(context.kernels.only("qu8_global_average_pool"), node, values, (y,))
