"""Operators that pick elements along axes: Pad, Tile, Gather with known indices."""

from __future__ import annotations

import math

import numpy as np

from edgeinfer.graph import DType, Node
from edgeinfer.plan.lowering.context import LoweringContext, NotNative, lowering
from edgeinfer.plan.lowering.copy import copy_family, element_strides

AXES = 5
TASK_ELEMENTS = 4096


def emit_index(
    node: Node, context: LoweringContext, x: str, y: str, tables: list[np.ndarray | None], value: float = 0.0
) -> None:
    """Append a step that picks ``x[tables[0][i0], tables[1][i1], …]``.

    Args:
        node: the node that it stands for.
        context: the plan under construction.
        x: source tensor, elements of four bytes, two or one.
        y: result.
        tables: for each axis of x the source index of every output index, -1 for ``value``; None keeps the axis.
        value: fills places where a table says -1; of two bytes the integer of their bits.
    """
    shape = context.shape(x)
    if 0 in context.shape(y):
        return
    strides = element_strides(shape)
    axes: list[tuple[np.ndarray | None, int, int]] = []
    for axis, table in enumerate(tables):
        if table is None and axes and axes[-1][0] is None:
            axes[-1] = (None, axes[-1][1] * shape[axis], strides[axis])
        else:
            axes.append((table, shape[axis], strides[axis]))
    run = axes.pop()[1] if axes[-1][0] is None else 1
    if len(axes) > AXES:
        raise NotNative(f"picking along {len(axes)} separate axes; kernels take {AXES}")
    axes = [(None, 1, 0)] * (AXES - len(axes)) + axes
    full = [np.arange(size) if table is None else table for table, size, _ in axes]
    rows = math.prod(len(table) for table in full[:-1])
    task_rows = max(1, TASK_ELEMENTS // max(1, len(full[-1]) * run))
    values: dict[str, int | float | str] = {
        "x": x, "y": y, "run": run, "rows": rows, "task_rows": task_rows, "tiles": math.ceil(rows / task_rows),
        "value": value,
    }  # fmt: skip
    for index, (table, (_, _, stride)) in enumerate(zip(full, axes, strict=True)):
        values[f"table_{index}"] = context.new_constant(f"{node.name}.table", table.astype(np.int32))
        values[f"size_{index}"] = len(table)
        values[f"x_{index}"] = stride
    family = {"x32_index": "f32_index"}.get(name := copy_family(context, "index", x, y), name)
    context.step(context.kernels.only(family), node, values, (y,))


@lowering("Pad")
def lower_pad(node: Node, context: LoweringContext) -> None:
    """Lower Pad with known pads: each axis is a table of source indices."""
    x, y = node.inputs[0], node.outputs[0]
    shape = context.shape(x)
    pads = context.constant(node.inputs[1])
    axes = context.constant(node.input(3)) if node.input(3) else np.arange(len(shape))
    fill = context.constant(node.input(2)) if node.input(2) else np.zeros(1, np.float32)
    if pads is None or axes is None or fill is None:
        raise NotNative("pads, axes or value are computed at run time")
    if context.dtype(x).itemsize > 1 and fill.dtype not in (np.float32, np.float16) and fill.ravel()[0] != 0:
        raise NotNative("padding integers with a value")
    mode = node.attributes.get("mode", "constant")
    tables: list[np.ndarray | None] = [None] * len(shape)
    for index, axis in enumerate(int(value) % len(shape) for value in axes):
        before, after = int(pads[index]), int(pads[index + len(axes)])
        if before or after:
            tables[axis] = _pad_table(shape[axis], before, after, mode)
    value = float(fill.ravel()[0])
    if context.dtype(x) is DType.FLOAT16:
        value = float(np.float16(value).view(np.uint16))
    # Bytes are unsigned for the kernel.
    emit_index(node, context, x, y, tables, value % 256 if context.dtype(x).itemsize == 1 else value)


def _pad_table(size: int, before: int, after: int, mode: str) -> np.ndarray:
    """Source index of every position of a padded axis, -1 for the constant."""
    inner = np.arange(max(-before, 0), size - max(-after, 0))
    grow = (max(before, 0), max(after, 0))
    if mode == "constant":
        return np.pad(inner, grow, constant_values=-1)
    return np.pad(inner, grow, mode={"reflect": "reflect", "edge": "edge", "wrap": "wrap"}[mode])  # type: ignore[call-overload]


@lowering("Tile")
def lower_tile(node: Node, context: LoweringContext) -> None:
    """Lower Tile with known repeats."""
    x, y = node.inputs[0], node.outputs[0]
    repeats = context.constant(node.inputs[1])
    if repeats is None:
        raise NotNative("the repeats are computed at run time")
    shape = context.shape(x)
    tables = [
        None if count == 1 else np.tile(np.arange(size), int(count)) for size, count in zip(shape, repeats, strict=True)
    ]
    emit_index(node, context, x, y, tables)


@lowering("Gather")
def lower_gather(node: Node, context: LoweringContext) -> None:
    """Lower Gather along an axis with known indices."""
    x, y = node.inputs[0], node.outputs[0]
    indices = context.constant(node.inputs[1])
    if indices is None:
        raise NotNative("the indices are computed at run time")
    shape = context.shape(x)
    axis = node.attributes.get("axis", 0) % len(shape)
    tables: list[np.ndarray | None] = [None] * len(shape)
    tables[axis] = np.where(indices < 0, indices + shape[axis], indices).ravel()
    emit_index(node, context, x, y, tables)
