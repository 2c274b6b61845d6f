"""Convolutions of pictures with few channels of bytes: all taps of a filter side by side, then a matrix product."""

from __future__ import annotations

import math

import numpy as np

from edgeinfer.graph import DType, Node
from edgeinfer.plan.lowering.context import LoweringContext
from edgeinfer.plan.lowering.conv_geometry import ConvGeometry

# A pixel's taps fill whole units of so many bytes.
TAPS_UNIT = 8
# Kernel rows shorter than what is copied at once are not worth it.
SHORTEST_RUN = 8
# The taps of all pixels should stay in the second-level cache.
MOST_BYTES = 512 * 1024
TASK_PIXELS = 2048


def _pixel_bytes(geometry: ConvGeometry) -> int:
    taps = geometry.kernel[0] * geometry.kernel[1] * geometry.channels
    return math.ceil(taps / TAPS_UNIT) * TAPS_UNIT


def taps_apply(geometry: ConvGeometry, y_strides: tuple[int, int, int, int]) -> bool:
    """Whether taps can be gathered, their memory is small, and outputs follow one another."""
    y_pixel, y_row, y_image, _ = y_strides
    pixels = geometry.batch * geometry.out_height * geometry.out_width
    in_one_row = y_row == geometry.out_width * y_pixel and y_image == geometry.out_height * y_row
    run = geometry.kernel[1] * geometry.channels
    return (
        geometry.groups == 1 and geometry.channels % 4 != 0 and geometry.dilations == (1, 1) and in_one_row
        and geometry.upsample == (1, 1) and run >= SHORTEST_RUN and pixels * _pixel_bytes(geometry) <= MOST_BYTES
    )  # fmt: skip


def emit_taps(node: Node, context: LoweringContext, geometry: ConvGeometry, fill: int, flips: bool) -> str:
    """Append the step that gathers taps; ``fill`` is x's zero point as a byte.

    With ``flips`` signed bytes become unsigned ones that are 128 more, or the other way round.
    """
    x, pixel_bytes = node.inputs[0], _pixel_bytes(geometry)
    pixels = geometry.batch * geometry.out_height * geometry.out_width
    y = context.temporary(f"{node.name}.taps", (pixels, pixel_bytes), DType.UINT8)
    rows = max(1, math.ceil(TASK_PIXELS / geometry.out_width))
    row_tasks = math.ceil(geometry.out_height / rows)
    values: dict[str, int | float | str] = {
        "x": x, "y": y, "height": geometry.height, "width": geometry.width, "channels": geometry.channels,
        "out_height": geometry.out_height, "out_width": geometry.out_width, "kernel_height": geometry.kernel[0],
        "kernel_width": geometry.kernel[1], "stride_y": geometry.strides[0], "stride_x": geometry.strides[1],
        "pad_top": geometry.pads[0], "pad_left": geometry.pads[1], "pad_mode": geometry.pad_mode,
        "run": geometry.kernel[1] * geometry.channels, "pixel_bytes": pixel_bytes, "fill": fill,
        "flip": 128 if flips else 0,
        "task_rows": rows, "row_tasks": row_tasks, "tiles": geometry.batch * row_tasks,
    }  # fmt: skip
    context.step(context.kernels.only("x8_taps"), node, values, (y,))
    return y


def product_of_taps(geometry: ConvGeometry, weight: np.ndarray) -> tuple[ConvGeometry, np.ndarray]:
    """The matrix product that is left to do, with weights [out_channels, taps, 1, 1], zeros behind the last tap."""
    pixels, unit, none = geometry.batch * geometry.out_height * geometry.out_width, (1, 1), (0, 0)
    taps = weight.transpose(0, 2, 3, 1).reshape(geometry.out_channels, -1)
    padded = np.zeros((geometry.out_channels, _pixel_bytes(geometry)), weight.dtype)
    padded[:, : taps.shape[1]] = taps
    product = ConvGeometry(
        1, 1, pixels, padded.shape[1], 1, pixels, geometry.out_channels, 1, unit, unit, unit, none, unit, 0,
    )  # fmt: skip
    return product, padded[:, :, None, None]
