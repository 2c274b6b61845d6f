"""Matrix products: with constant weights as pointwise convolutions, otherwise by the batched kernel."""

from __future__ import annotations

import math

import numpy as np

from edgeinfer.graph import FUSED, ONNX, DType, Node
from edgeinfer.plan.lowering.context import LoweringContext, NotNative, lowering
from edgeinfer.plan.lowering.conv import emit_conv
from edgeinfer.plan.lowering.conv_geometry import ConvGeometry, FusedConv, activation_fields

TASKS_PER_THREAD = 4
TASK_MACS = 200_000
PANEL_BYTES = 1 << 20


@lowering("MatMul", domain=FUSED)
def lower_fused_matmul(node: Node, context: LoweringContext) -> None:
    """Lower ``MatMul(a, b, bias?)`` with its activation."""
    a, b, bias, y = node.input(0), node.input(1), node.input(2), node.outputs[0]
    context.float_kernels(a)
    if min(len(context.shape(a)), len(context.shape(b))) < 2:
        raise NotNative("a vector operand")
    if 0 in context.shape(y) or 0 in context.shape(a):
        raise NotNative("an empty operand")
    if bias and context.shape(bias) != context.shape(y)[-1:]:
        raise NotNative("a bias that is not one value a column")
    constant_bias = not bias or context.constant(bias) is not None
    if len(context.shape(b)) == 2 and context.constant(b) is not None and constant_bias:
        _emit_constant_weights(node, context, a, b, bias, y)
    else:
        _emit_batched(node, context, a, b, bias, y)


@lowering("MatMul", domain=ONNX)
def lower_matmul(node: Node, context: LoweringContext) -> None:
    """Lower ONNX ``MatMul``."""
    lower_fused_matmul(node, context)


@lowering("Gemm", domain=ONNX)
def lower_gemm(node: Node, context: LoweringContext) -> None:
    """Lower ONNX ``Gemm`` with constant b, no transposed a, and factors of 1."""
    attributes = node.attributes
    if attributes.get("transA", 0) or attributes.get("alpha", 1.0) != 1.0 or attributes.get("beta", 1.0) != 1.0:
        raise NotNative("Gemm with transA, alpha or beta")
    a, b, bias, y = node.input(0), node.input(1), node.input(2), node.outputs[0]
    context.float_kernels(a)
    if context.constant(b) is None or (bias and context.constant(bias) is None):
        raise NotNative("the weights are computed at run time")
    if bias and context.shape(bias) != context.shape(y)[-1:]:
        raise NotNative("a bias that is not one value a column")
    if attributes.get("transB", 0):
        b = context.packed(b, "transposed", lambda values: values.T)
    _emit_constant_weights(node, context, a, b, bias, y)


def _emit_constant_weights(node: Node, context: LoweringContext, a: str, b: str, bias: str, y: str) -> None:
    """``a @ b`` is a pointwise convolution of ``rows`` pixels with ``depth`` channels."""
    depth, columns = context.shape(b)
    rows = math.prod(context.shape(a)[:-1])
    weight = context.packed(b, "filters", lambda values: values.T.reshape(columns, depth, 1, 1))
    geometry = ConvGeometry(
        1, 1, rows, depth, 1, rows, columns, 1, (1, 1), (1, 1), (1, 1), (0, 0), (1, 1), 0
    )  # fmt: skip
    strides = (columns, rows * columns, rows * columns, 0)
    emit_conv(FusedConv(node, geometry, a, weight, bias, "", y, strides), context)


def _batch_offsets(batch: tuple[int, ...], shape: tuple[int, ...]) -> np.ndarray:
    """For each item of the broadcast batch the first float of an operand's matrix."""
    own = shape[:-2]
    count, matrix = math.prod(own), shape[-2] * shape[-1]
    return np.broadcast_to((np.arange(count) * matrix).reshape(own), batch).ravel()


def _emit_batched(node: Node, context: LoweringContext, a: str, b: str, bias: str, y: str) -> None:
    context.require_dtype(DType.FLOAT32, a, b, bias)
    a_shape, b_shape, y_shape = context.shape(a), context.shape(b), context.shape(y)
    rows, depth, columns = a_shape[-2], a_shape[-1], b_shape[-1]
    offsets = np.stack([_batch_offsets(y_shape[:-2], a_shape), _batch_offsets(y_shape[:-2], b_shape)], axis=1)
    kernel = context.kernels.only("f32_matmul")
    block = kernel.traits["columns"]
    panel_bytes = depth * block * 4
    if panel_bytes > PANEL_BYTES:
        raise NotNative(f"a depth of {depth} between two matrices computed at run time")
    batch = len(offsets)
    column_tasks = math.ceil(columns / block)
    macs = batch * rows * depth * columns
    wanted = max(1, min(TASKS_PER_THREAD * context.threads, macs // TASK_MACS))
    row_tasks = min(math.ceil(rows / kernel.traits["rows"]), math.ceil(wanted / (batch * column_tasks)))
    task_rows = math.ceil(rows / row_tasks)
    row_tasks = math.ceil(rows / task_rows)
    fields = activation_fields(node)
    values: dict[str, int | float | str] = {
        "a": a, "b": b, "bias": bias, "y": y,
        "offsets": context.new_constant(f"{node.name}.offsets", offsets.astype(np.int64)),
        "batch": batch, "rows": rows, "depth": depth, "columns": columns,
        "a_row": depth, "b_row": columns, "b_column": 1,
        "task_rows": task_rows, "row_tasks": row_tasks, "column_tasks": column_tasks,
        "tiles": batch * row_tasks * column_tasks, **fields,
    }  # fmt: skip
    context.step(kernel, node, values, (y,), scratch_bytes=panel_bytes, macs=macs)
