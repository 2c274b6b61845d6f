"""Depthwise convolutions."""

from __future__ import annotations

import math

import numpy as np

from edgeinfer.plan.border import BORDER_INPUT
from edgeinfer.plan.kernel_set import KernelRow
from edgeinfer.plan.lowering.context import LoweringContext
from edgeinfer.plan.lowering.conv_geometry import ConvGeometry, FusedConv
from edgeinfer.plan.memory import align
from edgeinfer.records import NamedTuple

# Rows of a task: each takes some kilobytes of offsets.
MAX_ROWS = 16
TASK_MACS = 150_000
TASKS_PER_THREAD = 4


def depthwise_applies(geometry: ConvGeometry, lanes: int) -> bool:
    """Whether each channel has one filter of its own; the kernels read the picture as it is."""
    filters = geometry.channels == 1 and geometry.groups == geometry.out_channels >= lanes
    return filters and geometry.upsample == (1, 1)


def depthwise_family(geometry: ConvGeometry, numbers: str = "f32") -> str:
    """The kernels for this size of filters and number format."""
    height, width = geometry.kernel
    usual = geometry.dilations == (1, 1) and geometry.strides in ((1, 1), (2, 2))
    usual = usual and (height, width) in ((3, 3), (5, 5))
    return f"{numbers}_dwconv{height}x{width}" if usual else f"{numbers}_dwconv"


class DepthwiseTasks(NamedTuple):
    """How the output is cut, as params fields, and the bytes of scratch memory."""

    fields: dict[str, int | float | str]
    scratch_bytes: int


def cut_depthwise(geometry: ConvGeometry, kernel: KernelRow, threads: int, element_bytes: int) -> DepthwiseTasks:
    """Cut the output into rows; scratch memory holds one pixel of the border and offsets of pixels."""
    channels, tile_rows = geometry.out_channels, kernel.traits["rows"]
    tiled_columns = math.ceil(geometry.out_width / tile_rows) * tile_rows
    patch_columns = (tiled_columns - 1) * geometry.strides[1] + (geometry.kernel[1] - 1) * geometry.dilations[1] + 1
    reach = (geometry.kernel[0] - 1) * geometry.dilations[0] + 1
    wanted = max(1, min(TASKS_PER_THREAD * threads, geometry.macs // TASK_MACS))
    task_rows = min(MAX_ROWS, math.ceil(geometry.out_height / math.ceil(wanted / geometry.batch)))
    # Kernels make two rows at a time.
    task_rows += task_rows % 2
    row_tasks = math.ceil(geometry.out_height / task_rows)
    offset_bytes = 8 * ((task_rows - 1) * geometry.strides[0] + reach) * patch_columns
    fields: dict[str, int | float | str] = {
        "channels": channels, "x_channels": channels,
        "task_rows": task_rows, "task_columns": geometry.out_width, "row_tasks": row_tasks, "column_tasks": 1,
        "tiles": geometry.batch * row_tasks,
    }  # fmt: skip
    return DepthwiseTasks(fields, align(element_bytes * channels) + align(offset_bytes))


def pack_depthwise(weight: np.ndarray, lanes: int, dtype: np.dtype) -> np.ndarray:
    """Pack [channels, 1, kh, kw] as [vector of channels, tap, lanes]; the last ends with the channels."""
    channels = weight.shape[0]
    flat, whole = weight.reshape(channels, -1), channels // lanes
    packed = np.empty((math.ceil(channels / lanes), flat.shape[1], lanes), dtype)
    packed[:whole] = flat[: whole * lanes].reshape(whole, lanes, -1).swapaxes(1, 2)
    packed[-1] = flat[-lanes:].T
    return packed


def emit_depthwise(conv: FusedConv, context: LoweringContext, kernel: KernelRow) -> None:
    """Append a depthwise convolution."""
    geometry = conv.geometry
    tasks, dtype = cut_depthwise(geometry, kernel, context.threads, kernel.element_bytes), kernel.float_dtype
    zeros, lanes = np.zeros(geometry.out_channels, dtype), context.kernels.lanes_of(kernel)
    border, bias = conv.node.input(BORDER_INPUT), conv.bias
    if bias:
        bias = context.packed(bias, f"bias.{dtype.str}", lambda values: values.astype(dtype))
    values = {
        **tasks.fields,
        "bias": bias or context.new_constant(f"{conv.node.name}.bias", zeros),
        "w": context.packed(conv.weight, f"depthwise.{dtype.str}", lambda a: pack_depthwise(a, lanes, dtype)),
        "border": context.packed(border, f"border.{dtype.str}", lambda a: a.astype(dtype)) if border else "",
    }  # fmt: skip
    # Overlapping vectors of channels would add a residual twice if it lay in the output's place.
    whole = geometry.out_channels % lanes == 0
    conv.append(context, kernel, values, tasks.scratch_bytes, in_place=whole)
