"""Depthwise convolutions."""

from __future__ import annotations

import math

import numpy as np

from edgeinfer.graph import Node
from edgeinfer.plan.kernel_set import KernelRow
from edgeinfer.plan.lowering.context import LoweringContext
from edgeinfer.plan.lowering.conv_geometry import PAD_MODES, ConvGeometry, conv_values

TASK_MACS = 200_000
TASKS_PER_THREAD = 4


def depthwise_applies(geometry: ConvGeometry, lanes: int) -> bool:
    """Whether each channel has one filter of its own and the padding is zero."""
    zero_padding = geometry.pad_mode == PAD_MODES["constant"]
    return (
        geometry.channels == 1 and geometry.groups == geometry.out_channels >= lanes
        and zero_padding and geometry.upsample == (1, 1)
    )  # fmt: skip


def emit_depthwise(
    node: Node,
    context: LoweringContext,
    geometry: ConvGeometry,
    tensors: tuple[str, str, str, str, str],
    y_strides: tuple[int, int, int, int],
    kernel: KernelRow,
) -> None:
    """Append a depthwise convolution; arguments as for ``emit_direct_conv``."""
    x, weight, bias, residual, y = tensors
    channels = geometry.out_channels
    wanted = max(1, min(TASKS_PER_THREAD * context.threads, geometry.macs // TASK_MACS))
    row_tasks = min(geometry.out_height, math.ceil(wanted / geometry.batch))
    task_rows = math.ceil(geometry.out_height / row_tasks)
    row_tasks = math.ceil(geometry.out_height / task_rows)
    zeros = np.zeros(channels, np.float32)
    values = {
        **conv_values(node, geometry, y_strides),
        "x": x, "bias": bias or context.new_constant(f"{node.name}.bias", zeros), "residual": residual, "y": y,
        "w": context.packed(weight, "depthwise", lambda a: a.reshape(channels, -1).T),
        "task_rows": task_rows, "task_columns": geometry.out_width, "row_tasks": row_tasks, "column_tasks": 1,
        "tiles": geometry.batch * row_tasks,
    }  # fmt: skip
    # Overlapping vectors of channels would add a residual twice if it lay in the output's place.
    whole = channels % context.kernels.lanes == 0
    context.step(
        kernel, node, values, (y,), macs=geometry.macs, in_place=((residual, y),) if residual and whole else ()
    )
