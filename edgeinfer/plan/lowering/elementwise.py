"""Element-wise operators of one and two operands, and casts."""

from __future__ import annotations

import math
from collections.abc import Mapping

from edgeinfer.activation_codes import BINARY_CODES, UNARY_CODES
from edgeinfer.graph import FUSED, DType, Node
from edgeinfer.plan.lowering.context import LoweringContext, NotNative, lowering
from edgeinfer.plan.lowering.conv_geometry import activation_fields
from edgeinfer.plan.lowering.copy import emit_copy

TASKS_PER_THREAD = 4
TASK_ELEMENTS = 4096
OUTER_DIMS = 4
# An operand of few channels is repeated until about this many of its elements stand side by side.
REPEATED_ELEMENTS = 512

# Defaults of ONNX attributes that become parameters, in the order in which the kernel takes them.
_ATTRIBUTES = {
    "LeakyRelu": (("alpha", 0.01),),
    "HardSigmoid": (("alpha", 0.2), ("beta", 0.5)),
    "Elu": (("alpha", 1.0),),
}
_NAMES = {"Swish": "Silu"}
_UNARY = [name for name in UNARY_CODES if name not in ("Silu", "Clip")]


def _emit_unary(node: Node, context: LoweringContext, operator: str, parameters: list[float]) -> None:
    x, y = node.inputs[0], node.outputs[0]
    numbers = context.float_kernels(x)
    parameters = [*parameters, 0.0, 0.0]
    values: dict[str, int | float | str] = {
        "x": x, "y": y, **element_tasks(context, math.prod(context.shape(x))),
        "operator": UNARY_CODES[operator], "parameter_0": parameters[0], "parameter_1": parameters[1],
    }  # fmt: skip
    context.step(context.kernels.only(f"{numbers}_unary"), node, values, (y,), in_place=((x, y),))


@lowering(*_UNARY, "Swish")
def lower_unary(node: Node, context: LoweringContext) -> None:
    """Lower an ONNX operator of one operand."""
    operator = _NAMES.get(node.op, node.op)
    attributes = node.attributes
    if node.op == "Gelu" and attributes.get("approximate", "none") != "none":
        raise NotNative("Gelu by the tanh formula")
    if node.op == "Swish" and attributes.get("alpha", 1.0) != 1.0:
        raise NotNative("Swish with alpha")
    parameters = [float(attributes.get(name, default)) for name, default in _ATTRIBUTES.get(node.op, ())]
    _emit_unary(node, context, operator, parameters)


@lowering("Clip")
def lower_clip(node: Node, context: LoweringContext) -> None:
    """Lower ONNX Clip with known bounds."""
    bounds = [-math.inf, math.inf]
    for index in (1, 2):
        name = node.input(index)
        if name:
            array = context.constant(name)
            if array is None:
                raise NotNative("the bounds are computed at run time")
            bounds[index - 1] = float(array.ravel()[0])
    _emit_unary(node, context, "Clip", bounds)


def _collapse(shapes: list[tuple[int, ...]], result: tuple[int, ...]) -> list[tuple[int, list[bool]]]:
    """Dimensions of the result as (size, runs along it for each operand), equal neighbours merged."""
    rank = len(result)
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    merged: list[tuple[int, list[bool]]] = []
    for axis, size in enumerate(result):
        if size == 1:
            continue
        runs = [shape[axis] != 1 for shape in padded]
        if merged and merged[-1][1] == runs:
            merged[-1] = (merged[-1][0] * size, runs)
        else:
            merged.append((size, runs))
    return merged or [(1, [True] * len(shapes))]


def _strides(dims: list[tuple[int, list[bool]]], operand: int) -> list[int]:
    strides, step = [], 1
    for size, runs in reversed(dims):
        strides.append(step if runs[operand] else 0)
        step *= size if runs[operand] else 1
    return strides[::-1]


def _repeat_narrow(
    node: Node, context: LoweringContext, names: list[str], dims: list[tuple[int, list[bool]]]
) -> list[tuple[int, list[bool]]]:
    """Let rows that are shorter than a few vectors be worked on several at a time.

    Where one operand stands still along rows of few elements (a picture plus a number for each of 3 channels), its row
    is repeated, and several rows become one: ``[rows, 3] + [3]`` is computed as ``[rows / r, 3 r] + [3 r]``.

    Args:
        node: the operator.
        context: the plan under construction.
        names: the operands; the narrow one is replaced.
        dims: as ``_collapse`` gives them.

    Returns:
        The new dims.
    """
    if len(dims) < 2 or not all(dims[-1][1]) or all(dims[-2][1]):
        return dims
    (rows, runs), (channels, _) = dims[-2:]
    if channels >= _whole_row(context, names[0]):
        return dims
    count = max(r for r in range(1, max(1, REPEATED_ELEMENTS // channels) + 1) if rows % r == 0)
    if count == 1:
        return dims
    narrow = runs.index(False)
    name = names[narrow]
    outer = math.prod(context.shape(name)) // channels
    if context.constant(name) is not None:
        names[narrow] = context.packed(
            name, f"repeated_{count}_{channels}", lambda array: array.reshape(outer, channels).repeat(count, 0)
        )
    else:
        names[narrow] = context.temporary(f"{name}.repeated", (outer, count, channels), context.dtype(name))
        strides = [count * channels, channels, 1]
        emit_copy(node, context, name, names[narrow], [outer, count, channels], [channels, 0, 1], strides)
    return [*dims[:-2], (rows // count, runs), (count * channels, [True, True])]


def _without_repetition(
    context: LoweringContext, names: list[str], y: str
) -> tuple[list[str], list[tuple[int, ...]], tuple[int, ...]]:
    """Operands, their shapes and y's; a picture that repeats the pixels of another one is read from there.

    ``Add(Resize(a), b)`` of pictures twice as large as ``a`` is ``a[n, h, 1, w, 1, c] + b[n, h, 2, w, 2, c]``.
    """
    shapes, y_shape = [context.shape(name) for name in names], context.shape(y)
    repeated = [context.repeated.get(name) for name in names]
    picture = next((picture for picture in repeated if picture), None)
    if picture is None or any(shape != y_shape for shape in shapes):
        return names, shapes, y_shape
    alike = all(other is None or other[1:] == picture[1:] for other in repeated)
    if not alike or y_shape[-1] < _whole_row(context, y):
        return names, shapes, y_shape
    batch, rows, down, columns, across, channels = picture.dims(y_shape)
    wide, narrow = (batch, rows, down, columns, across, channels), (batch, rows, 1, columns, 1, channels)
    sources = [other.source if other else name for name, other in zip(names, repeated, strict=True)]
    return sources, [narrow if other else wide for other in repeated], wide


def _whole_row(context: LoweringContext, name: str) -> int:
    """Elements of a row of a few vectors, which is worth a loop of its own."""
    return 16 // context.dtype(name).itemsize * context.kernels.lanes


def broadcast_fields(node: Node, context: LoweringContext, a: str, b: str, y: str) -> dict[str, int | float | str]:
    """Params fields that lead a kernel through two operands that broadcast to y.

    Raises:
        NotNative: if that takes more dimensions than kernels have.
    """
    names, shapes, y_shape = _without_repetition(context, [a, b], y)
    dims = _collapse(shapes, y_shape)
    dims = _repeat_narrow(node, context, names, dims)
    if len(dims) > OUTER_DIMS + 1:
        raise NotNative(f"broadcasting over {len(dims)} dimensions; kernels take {OUTER_DIMS + 1}")
    a_strides, b_strides = _strides(dims, 0), _strides(dims, 1)
    inner = dims[-1][0]
    outer = [size for size, _ in dims[:-1]]
    rows = math.prod(outer)
    share = math.ceil(inner * rows / (TASKS_PER_THREAD * context.threads))
    task_inner = inner if rows > 1 and inner <= 16 * TASK_ELEMENTS else math.ceil(max(TASK_ELEMENTS, share) / 64) * 64
    inner_tasks = math.ceil(inner / task_inner)
    task_rows = max(1, TASK_ELEMENTS // inner) if inner_tasks == 1 else 1
    values: dict[str, int | float | str] = {
        "a": names[0], "b": names[1], "y": y, "inner": inner, "task_inner": task_inner,
        "inner_tasks": inner_tasks, "rows": rows, "task_rows": task_rows,
        "tiles": math.ceil(rows / task_rows) * inner_tasks,
        "a_inner": a_strides[-1], "b_inner": b_strides[-1],
    }  # fmt: skip
    missing = OUTER_DIMS - len(outer)
    for axis in range(OUTER_DIMS):
        index = axis - missing
        inside = index >= 0
        values[f"size_{axis}"] = outer[index] if inside else 1
        values[f"a_{axis}"] = a_strides[index] if inside else 0
        values[f"b_{axis}"] = b_strides[index] if inside else 0
    return values


def operands_in_place(
    context: LoweringContext, values: Mapping[str, int | float | str], y: str
) -> tuple[tuple[str, str], ...]:
    """The pairs (operand, y) that may share memory; ``values`` are params fields with the operands a and b."""
    names = (str(values["a"]), str(values["b"]))
    return tuple((name, y) for name in names if context.shape(name) == context.shape(y))


def _emit_binary(node: Node, context: LoweringContext, operator: str, a: str, b: str, y: str) -> None:
    numbers = context.float_kernels(a, b)
    if 0 in context.shape(y):
        return
    values = {**broadcast_fields(node, context, a, b, y), "operator": BINARY_CODES[operator], **activation_fields(node)}
    in_place = operands_in_place(context, values, y)
    context.step(context.kernels.only(f"{numbers}_binary"), node, values, (y,), in_place=in_place)


def element_tasks(context: LoweringContext, count: int) -> dict[str, int | float | str]:
    """Params fields that cut a run of elements into tasks of whole vectors of any level, but for the last."""
    share = math.ceil(count / (TASKS_PER_THREAD * context.threads))
    task_count = max(TASK_ELEMENTS, math.ceil(share / 64) * 64)
    return {"count": count, "task_count": task_count, "tiles": math.ceil(count / task_count)}


@lowering("Add", "Sub", "Mul", "Div", "PRelu")
def lower_binary(node: Node, context: LoweringContext) -> None:
    """Lower an ONNX operator of two operands."""
    _emit_binary(node, context, node.op, node.inputs[0], node.inputs[1], node.outputs[0])


@lowering("Add", "Mul", domain=FUSED)
def lower_fused_binary(node: Node, context: LoweringContext) -> None:
    """Lower a fused Add or Mul with its activation."""
    lower_binary(node, context)


@lowering("Max", "Min", "Sum")
def lower_variadic(node: Node, context: LoweringContext) -> None:
    """Lower an ONNX operator of any number of operands, two by two."""
    operator = "Add" if node.op == "Sum" else node.op
    y, operands = node.outputs[0], list(node.inputs)
    context.float_kernels(*operands)
    if len(operands) == 1:
        context.alias(y, operands[0])
        return
    if any(context.shape(name) != context.shape(y) for name in operands) and len(operands) > 2:
        raise NotNative("more than two operands of different shapes")
    current = operands[0]
    for index, operand in enumerate(operands[1:], 2):
        last = index == len(operands)
        target = y if last else context.temporary(f"{node.name}.partial", context.shape(y), context.dtype(y))
        _emit_binary(node, context, operator, current, operand, target)
        current = target


@lowering("Cast")
def lower_cast(node: Node, context: LoweringContext) -> None:
    """Lower a Cast between float32 and float16."""
    x, y = node.inputs[0], node.outputs[0]
    families = {
        (DType.FLOAT32, DType.FLOAT16): "f32_f16_cast",
        (DType.FLOAT16, DType.FLOAT32): "f16_f32_cast",
    }
    family = families.get((context.dtype(x), context.dtype(y)), "")
    if not context.kernels.family(family):
        raise NotNative(f"there is no kernel that casts {context.dtype(x).value} to {context.dtype(y).value}")
    values: dict[str, int | float | str] = {"x": x, "y": y, **element_tasks(context, math.prod(context.shape(x)))}
    context.step(context.kernels.only(family), node, values, (y,))
