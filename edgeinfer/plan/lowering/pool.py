"""Pooling over windows, channels last."""

from __future__ import annotations

from edgeinfer.graph import FUSED, DType, Node
from edgeinfer.ops.spatial import make_window
from edgeinfer.plan.lowering.context import LoweringContext, NotNative, lowering


@lowering("MaxPool", "AveragePool", domain=FUSED)
def lower_pool(node: Node, context: LoweringContext) -> None:
    """Lower a two-dimensional pool in NHWC layout."""
    x, y, attributes = node.inputs[0], node.outputs[0], node.attributes
    if attributes.get("layout") != "NHWC" or any(node.outputs[1:]):
        raise NotNative("only channels-last pools without indices have kernels")
    context.require_dtype(DType.FLOAT32, x)
    batch, height, width, channels = context.shape(x)
    _, out_height, out_width, _ = context.shape(y)
    window = make_window(
        attributes["kernel_shape"], attributes.get("strides"), attributes.get("dilations"), attributes.get("pads"),
        attributes.get("auto_pad", "NOTSET"), (height, width),
    )  # fmt: skip
    (pad_top, pad_bottom), (pad_left, pad_right) = window.pads
    values: dict[str, int | float | str] = {
        "x": x, "y": y, "height": height, "width": width, "channels": channels,
        "out_height": out_height, "out_width": out_width,
        "kernel_height": window.kernel[0], "kernel_width": window.kernel[1],
        "stride_y": window.strides[0], "stride_x": window.strides[1],
        "dilation_y": window.dilations[0], "dilation_x": window.dilations[1],
        "pad_top": pad_top, "pad_left": pad_left, "pad_bottom": pad_bottom, "pad_right": pad_right,
        "count_include_pad": attributes.get("count_include_pad", 0), "average": int(node.op == "AveragePool"),
        "tiles": batch * out_height,
    }  # fmt: skip
    context.step(context.kernels.only("f32_pool"), node, values, (y,))
