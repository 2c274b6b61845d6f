"""Pooling over windows, channels last."""

from __future__ import annotations

from edgeinfer.graph import FUSED, DType, Node
from edgeinfer.ops.spatial import make_window
from edgeinfer.plan.lowering.context import LoweringContext, NotNative, lowering
from edgeinfer.plan.lowering.quantization import BYTES, ByteScale


@lowering("MaxPool", "AveragePool", domain=FUSED)
def lower_pool(node: Node, context: LoweringContext) -> None:
    """Lower a two-dimensional pool in NHWC layout."""
    x, y = node.inputs[0], node.outputs[0]
    if node.op == "MaxPool" and context.dtype(x) in BYTES:
        # The largest byte is found whatever it stands for.
        unit = ByteScale(1.0, -128 if context.dtype(x) is DType.INT8 else 0, context.dtype(x) is DType.INT8)
        emit_byte_pool(node, context, unit, unit)
        return
    context.step(context.kernels.only(f"{context.float_kernels(x)}_pool"), node, _pool_fields(node, context), (y,))


def emit_byte_pool(node: Node, context: LoweringContext, of: ByteScale, to: ByteScale) -> None:
    """Append a pool of 8-bit pictures.

    Args:
        node: a pool; one with "Average" in its operator's name averages.
        context: the plan under construction.
        of: scale and zero point of the input; bytes less their zero point are never negative where it takes maxima.
        to: scale and zero point of the output.
    """
    values = {
        **_pool_fields(node, context), "flip": of.flip, "x_zero_point": of.unsigned_zero_point,
        "y_zero_point": to.zero_point, "x_scale": of.scale, "y_scale": to.scale, **to.bounds,
    }  # fmt: skip
    context.step(context.kernels.only("qu8_pool"), node, values, (node.outputs[0],))


def _pool_fields(node: Node, context: LoweringContext) -> dict[str, int | float | str]:
    x, y, attributes = node.inputs[0], node.outputs[0], node.attributes
    if attributes.get("layout") != "NHWC" or any(node.outputs[1:]):
        raise NotNative("only channels-last pools without indices have kernels")
    batch, height, width, channels = context.shape(x)
    _, out_height, out_width, _ = context.shape(y)
    window = make_window(
        attributes["kernel_shape"], attributes.get("strides"), attributes.get("dilations"), attributes.get("pads"),
        attributes.get("auto_pad", "NOTSET"), (height, width),
    )  # fmt: skip
    (pad_top, pad_bottom), (pad_left, pad_right) = window.pads
    return {
        "x": x, "y": y, "height": height, "width": width, "channels": channels,
        "out_height": out_height, "out_width": out_width,
        "kernel_height": window.kernel[0], "kernel_width": window.kernel[1],
        "stride_y": window.strides[0], "stride_x": window.strides[1],
        "dilation_y": window.dilations[0], "dilation_x": window.dilations[1],
        "pad_top": pad_top, "pad_left": pad_left, "pad_bottom": pad_bottom, "pad_right": pad_right,
        "count_include_pad": attributes.get("count_include_pad", 0), "average": int("Average" in node.op), "flip": 0,
        "tiles": batch * out_height,
    }  # fmt: skip
