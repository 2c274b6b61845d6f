"""Resizing pictures, channels last."""

from __future__ import annotations

from functools import partial

import numpy as np

from edgeinfer.graph import FUSED, Node
from edgeinfer.ops.resize import axis_table, repeats, sampling_of
from edgeinfer.plan.lowering.context import LoweringContext, NotNative, RepeatedPicture, lowering
from edgeinfer.plan.lowering.index import emit_index

# A table of this many taps and more means heavy downscaling with antialiasing.
MAX_TAPS = 64


@lowering("Resize", domain=FUSED)
def lower_resize(node: Node, context: LoweringContext) -> None:
    """Lower a Resize of rows and columns in NHWC layout with known scales or sizes."""
    x, y, attributes = node.inputs[0], node.outputs[0], node.attributes
    if attributes.get("layout") != "NHWC":
        raise NotNative("only channels-last pictures have kernels")
    if attributes.get("coordinate_transformation_mode") == "tf_crop_and_resize":
        raise NotNative("cropping while resizing")
    if attributes.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise NotNative("sizes that keep the aspect ratio")
    whole = context.dtype(x).itemsize == 1 and attributes.get("mode", "nearest") == "nearest"
    numbers = "" if whole else context.float_kernels(x)
    batch, height, width, channels = context.shape(x)
    out_batch, out_height, out_width, out_channels = context.shape(y)
    if (batch, channels) != (out_batch, out_channels):
        raise NotNative("batch or channels are resized")
    axes = [axis % 4 for axis in attributes.get("axes") or range(4)]
    scales = context.constant(node.input(2)) if node.input(2) else None
    sampling = sampling_of(attributes)
    tensors: dict[str, int | float | str] = {}
    picks: list[np.ndarray | None] = [None] * 4
    for name, axis, size, out in (("row", 2, height, out_height), ("column", 3, width, out_width)):
        scale = out / size
        if scales is not None and scales.size and axis in axes:
            scale = float(scales[axes.index(axis)])
        key = "axis table", size, out, scale, sampling
        table = context.once(key, partial(axis_table, size, out, scale, sampling))
        if table.weights.shape[1] > MAX_TAPS:
            raise NotNative(f"{table.weights.shape[1]} source pixels for one")
        picks[axis - 1] = table.indices[:, 0]
        tensors[f"{name}_indices"] = context.new_constant(f"{node.name}.{name}_indices", table.indices.astype(np.int32))
        tensors[f"{name}_weights"] = context.new_constant(
            f"{node.name}.{name}_weights", table.weights.astype(np.float32)
        )
        tensors[f"{name}_taps"] = table.weights.shape[1]
    if attributes.get("mode", "nearest") == "nearest":
        _note_repetition(context, x, y, picks)
    if whole:
        emit_index(node, context, x, y, picks)
        return
    values = {
        "x": x, "y": y, **tensors, "height": height, "width": width, "channels": channels,
        "out_height": out_height, "out_width": out_width, "tiles": batch * out_height,
    }  # fmt: skip
    context.step(context.kernels.only(f"{numbers}_resize"), node, values, (y,))


def _note_repetition(context: LoweringContext, x: str, y: str, picks: list[np.ndarray | None]) -> None:
    """Tell the readers of y if its pixels are those of x, repeated; picks are the rows and columns that it takes."""
    sizes, outs = context.shape(x)[1:3], context.shape(y)[1:3]
    rows, columns = (out // size for size, out in zip(sizes, outs, strict=True))
    for size, out, factor, pick in zip(sizes, outs, (rows, columns), picks[1:3], strict=True):
        if out != size * factor or pick is None or not repeats(pick, factor):
            return
    context.repeated[y] = RepeatedPicture(x, rows, columns)
