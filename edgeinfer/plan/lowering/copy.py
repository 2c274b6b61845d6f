"""Operators that only move elements: Transpose, Slice, Concat, Split, Expand, DepthToSpace, SpaceToDepth."""

from __future__ import annotations

import math

from edgeinfer.graph import FUSED, Node
from edgeinfer.plan.lowering.context import LoweringContext, NotNative, lowering

TASKS_PER_THREAD = 4
# As in edgeinfer.kernels.copy: matrices with no more columns are cut by their rows.
FEW = 4
TASK_ELEMENTS = 16 * 1024
DIMS = 6


def element_strides(shape: tuple[int, ...]) -> list[int]:
    """Elements from one index to the next along each dimension of a row-major tensor."""
    strides = [1] * len(shape)
    for axis in range(len(shape) - 2, -1, -1):
        strides[axis] = strides[axis + 1] * shape[axis + 1]
    return strides


def copy_family(context: LoweringContext, operation: str, *names: str) -> str:
    """The family ``x32_…``, ``x16_…`` or ``x8_…`` for the elements of the named tensors; NotNative for other sizes."""
    sizes = {context.dtype(name).itemsize for name in names}
    for name in names:
        size = context.dtype(name).itemsize
        if len(sizes) > 1 or size not in (1, 2, 4) or (size == 2 and not context.kernels.family(f"x16_{operation}")):
            raise NotNative(
                f"'{name}' is {context.dtype(name).value}; copies are native for 4-byte and 1-byte elements"
            )
    return f"x{8 * sizes.pop()}_{operation}"


def emit_copy(
    node: Node,
    context: LoweringContext,
    x: str,
    y: str,
    sizes: list[int],
    x_strides: list[int],
    y_strides: list[int],
    x_start: int = 0,
    y_start: int = 0,
    family: str = "",
) -> None:
    """Append a strided copy of a box of ``sizes``; neighbouring dimensions that run on are merged first.

    With a ``family`` named, sizes and strides count its elements whatever the dtype is.
    """
    merged: list[tuple[int, int, int]] = []
    for size, x_stride, y_stride in zip(sizes, x_strides, y_strides, strict=True):
        if size == 1:
            continue
        if merged and merged[-1][1] == size * x_stride and merged[-1][2] == size * y_stride:
            merged[-1] = (merged[-1][0] * size, x_stride, y_stride)
        else:
            merged.append((size, x_stride, y_stride))
    if 0 in sizes:
        return
    if len(merged) > DIMS:
        raise NotNative(f"a copy of {len(merged)} dimensions; kernels take {DIMS}")
    box = [(1, 0, 0)] * (DIMS - len(merged)) + merged
    rows = math.prod(size for size, _, _ in box[:-1])
    wanted = TASKS_PER_THREAD * context.threads
    task_rows = max(1, min(math.ceil(rows / wanted), math.ceil(TASK_ELEMENTS / box[-1][0])))
    values: dict[str, int | float | str] = {
        "x": x, "y": y, "x_start": x_start, "y_start": y_start,
        "task_rows": task_rows, "rows": rows, "tiles": math.ceil(rows / task_rows),
    }  # fmt: skip
    for axis, (size, x_stride, y_stride) in enumerate(box):
        values |= {f"size_{axis}": size, f"x_{axis}": x_stride, f"y_{axis}": y_stride}
    family = family or copy_family(context, "copy", x, y)
    context.step(context.kernels.only(family), node, values, (y,))


def _take_part(node: Node, context: LoweringContext, x: str, y: str, x_strides: list[int], x_start: int) -> None:
    """Make ``y``, a box of ``x``: as a part of its memory where its elements are neighbours, else as a copy."""
    shape = context.shape(y)
    y_strides = element_strides(shape)
    runs_on = all(size == 1 or one == other for size, one, other in zip(shape, x_strides, y_strides, strict=True))
    # Values of float16 exist twice, by the operator that reads them.
    if runs_on and context.constant(x) is None and context.precision != "float16":
        context.view(y, x, x_start * context.dtype(x).itemsize)
    else:
        emit_copy(node, context, x, y, list(shape), x_strides, y_strides, x_start)


@lowering("Identity")
def lower_identity(node: Node, context: LoweringContext) -> None:
    """Copy a tensor whole; the planner asks for this only where an output needs memory of its own."""
    x, y = node.inputs[0], node.outputs[0]
    size = math.prod(context.shape(x)) * context.dtype(x).itemsize
    family, count = ("x8_copy", size) if size % 4 else ("x32_copy", size // 4)
    emit_copy(node, context, x, y, [count], [1], [1], family=family)


@lowering("Transpose")
def lower_transpose(node: Node, context: LoweringContext) -> None:
    """Swaps of two neighbouring groups of axes are matrix transposes; all others strided copies."""
    x, y = node.inputs[0], node.outputs[0]
    shape = context.shape(x)
    perm = list(node.attributes.get("perm") or range(len(shape))[::-1])
    moving = [axis for axis in perm if shape[axis] != 1]
    if moving == sorted(moving):
        context.alias(y, x)
        return
    start = next(index for index, axis in enumerate(moving) if axis != sorted(moving)[index])
    rest = moving[start:]
    first = rest.index(min(rest))
    if rest[first:] + rest[:first] == sorted(rest):
        batch = math.prod(shape[axis] for axis in moving[:start])
        rows = math.prod(shape[axis] for axis in rest[first:])
        columns = math.prod(shape[axis] for axis in rest[:first])
        if min(rows, columns) <= 64 or batch > 1 or rows * columns >= 1024:
            _emit_matrix_transpose(node, context, x, y, batch, rows, columns)
            return
    strides = element_strides(shape)
    emit_copy(
        node, context, x, y, [shape[axis] for axis in perm], [strides[axis] for axis in perm],
        element_strides(context.shape(y)),
    )  # fmt: skip


def _emit_matrix_transpose(
    node: Node, context: LoweringContext, x: str, y: str, batch: int, rows: int, columns: int
) -> None:
    wanted = math.ceil(TASKS_PER_THREAD * context.threads / batch)
    cut, across = (rows, columns) if columns <= FEW < rows else (columns, rows)
    task_run = math.ceil(max(cut / wanted, TASK_ELEMENTS / 16 / across) / 16) * 16
    run_tasks = math.ceil(cut / task_run)
    values: dict[str, int | float | str] = {
        "x": x, "y": y, "batch": batch, "rows": rows, "columns": columns,
        "task_run": task_run, "run_tasks": run_tasks, "tiles": batch * run_tasks,
    }  # fmt: skip
    context.step(context.kernels.only(copy_family(context, "transpose", x, y)), node, values, (y,))


@lowering("Slice")
def lower_slice(node: Node, context: LoweringContext) -> None:
    """A slice with known starts and steps is a part of the input, or a copy with scaled strides."""
    x, y = node.inputs[0], node.outputs[0]
    shape = context.shape(x)
    parameters = [context.constant(name) if name else None for name in node.inputs[1:]]
    if any(name and array is None for name, array in zip(node.inputs[1:], parameters, strict=True)):
        raise NotNative("starts, ends or steps are computed at run time")
    starts = [int(value) for value in parameters[0].ravel()]  # type: ignore[union-attr]
    axes = range(len(starts)) if len(parameters) < 3 or parameters[2] is None else [int(a) for a in parameters[2]]
    steps = [1] * len(starts) if len(parameters) < 4 or parameters[3] is None else [int(s) for s in parameters[3]]
    strides = element_strides(shape)
    x_start, x_strides = 0, list(strides)
    for start, raw_axis, step in zip(starts, axes, steps, strict=True):
        axis = raw_axis % len(shape)
        size = shape[axis]
        begin = start + size if start < 0 else start
        begin = min(max(begin, 0), size if step > 0 else size - 1)
        x_start += begin * strides[axis]
        x_strides[axis] = step * strides[axis]
    _take_part(node, context, x, y, x_strides, x_start)


@lowering("Concat")
def lower_concat(node: Node, context: LoweringContext) -> None:
    """Each input is copied to its place, one that repeats the pixels of another picture from there."""
    y = node.outputs[0]
    y_strides = element_strides(context.shape(y))
    axis = node.attributes["axis"] % len(y_strides)
    offset = 0
    for x in node.inputs:
        shape, place = context.shape(x), offset * y_strides[axis]
        repeated = context.repeated.get(x)
        if repeated and context.dtype(x).itemsize == 4:
            dims = repeated.dims(shape)
            batch, rows, _, columns, _, channels = dims
            n, h, w, c = element_strides((batch, rows, columns, channels))
            y_n, y_h, y_w, y_c = y_strides
            into = [y_n, y_h * repeated.rows, y_h, y_w * repeated.columns, y_w, y_c]
            emit_copy(node, context, repeated.source, y, list(dims), [n, h, 0, w, 0, c], into, 0, place)
        else:
            emit_copy(node, context, x, y, list(shape), element_strides(shape), y_strides, 0, place)
        offset += shape[axis]


@lowering("Split")
def lower_split(node: Node, context: LoweringContext) -> None:
    """Each output is a part of the input, or a copy of one."""
    x = node.inputs[0]
    strides = element_strides(context.shape(x))
    axis = node.attributes.get("axis", 0) % len(strides)
    offset = 0
    for y in node.outputs:
        if not y:
            raise NotNative("an output left out")
        shape = context.shape(y)
        _take_part(node, context, x, y, strides, offset * strides[axis])
        offset += shape[axis]


@lowering("Expand")
def lower_expand(node: Node, context: LoweringContext) -> None:
    """Broadcast dimensions are read with stride 0."""
    x, y = node.inputs[0], node.outputs[0]
    y_shape = context.shape(y)
    shape = (1,) * (len(y_shape) - len(context.shape(x))) + context.shape(x)
    strides = [0 if size == 1 else stride for size, stride in zip(shape, element_strides(shape), strict=True)]
    emit_copy(node, context, x, y, list(y_shape), strides, element_strides(y_shape))


@lowering("DepthToSpace", "SpaceToDepth", domain=FUSED)
def lower_depth_space(node: Node, context: LoweringContext) -> None:
    """Blocks of pixels and groups of channels change places: one six-dimensional transpose."""
    x, y = node.inputs[0], node.outputs[0]
    if node.attributes.get("layout") != "NHWC":
        raise NotNative("only channels-last pixel shuffles have kernels")
    block = node.attributes["blocksize"]
    to_space = node.op == "DepthToSpace"
    batch, height, width, channels = context.shape(x if to_space else y)
    inner = channels // (block * block)
    columns_first = to_space and node.attributes.get("mode", "DCR") == "CRD"
    deep = (batch, height, width, inner, block, block) if columns_first else (batch, height, width, block, block, inner)
    n, h, w, *depth = element_strides(deep)
    by, bx, c = (depth[1], depth[2], depth[0]) if columns_first else (depth[0], depth[1], depth[2])
    wide = element_strides((batch, height, block, width, block, inner))
    sizes = [batch, height, block, width, block, inner]
    deep_strides = [n, h, by, w, bx, c]
    pair = (deep_strides, wide) if to_space else (wide, deep_strides)
    emit_copy(node, context, x, y, sizes, *pair)
