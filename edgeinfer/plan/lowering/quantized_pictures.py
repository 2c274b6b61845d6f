"""Pictures of bytes as kernels read them: pixels of whole quads, or with their channels several times."""

from __future__ import annotations

import math

from edgeinfer.graph import DType, Node
from edgeinfer.plan.lowering.context import LoweringContext
from edgeinfer.plan.lowering.copy import emit_copy

QUAD = 4
TASK_PIXELS = 4096


def whole_quads(channels: int) -> int:
    """Bytes of a pixel of so many channels as kernels read it."""
    return math.ceil(channels / QUAD) * QUAD


def as_quads(node: Node, context: LoweringContext, x: str, channels: int, flips: bool) -> str:
    """A tensor whose pixels are whole quads: ``x`` itself, or a copy made by a step.

    With ``flips`` signed bytes become unsigned ones that are 128 more, or the other way round.
    """
    if channels % QUAD == 0 and not flips:
        return x
    pixels, quads = math.prod(context.shape(x)) // channels, math.ceil(channels / QUAD)
    y = context.temporary(f"{node.name}.quads", (pixels, QUAD * quads), DType.UINT8)
    task_pixels = max(1, min(TASK_PIXELS, math.ceil(pixels / context.threads)))
    values: dict[str, int | float | str] = {
        "x": x, "y": y, "pixels": pixels, "channels": channels, "quads": quads,
        "flip": -0x7F7F7F80 if flips else 0, "task_pixels": task_pixels, "tiles": math.ceil(pixels / task_pixels),
    }  # fmt: skip
    context.step(context.kernels.only("x8_quads"), node, values, (y,))
    return y


def repeated(node: Node, context: LoweringContext, x: str, channels: int, times: int) -> str:
    """Pixels with their channels several times, made by as many steps."""
    pixels = math.prod(context.shape(x)) // channels
    y = context.temporary(f"{node.name}.repeated", (pixels, times * channels), context.dtype(x))
    for index in range(times):
        strides = [times * channels, 1]
        emit_copy(node, context, x, y, [pixels, channels], [channels, 1], strides, y_start=index * channels)
    return y
