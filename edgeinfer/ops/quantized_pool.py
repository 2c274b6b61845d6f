"""Average pooling of 8-bit tensors: exact sums, rounded once, half to even."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgeinfer.graph import FUSED, TensorType
from edgeinfer.ops.channels_last import from_channels_last, to_channels_last
from edgeinfer.ops.pool import average_pool, infer_global, infer_pool, window_counts
from edgeinfer.ops.quantized_elementwise import quantized_as
from edgeinfer.ops.quantized_products import centred
from edgeinfer.ops.registry import Infer, Inference, operator
from edgeinfer.records import altered


def _in_layout(inference: Inference, infer: Infer) -> list[TensorType]:
    """Infer channels first, and give the shape in the node's layout."""
    last, shape = inference.attribute("layout", "NCHW") == "NHWC", inference.shape(0)
    if not last or shape is None:
        return [TensorType(inference.dtype(4), infer(inference)[0].shape)]
    first = TensorType(inference.dtype(0), (shape[0], shape[-1], *shape[1:-1]))
    y = infer(altered(inference, inputs=[first, *inference.inputs[1:]]))[0].shape
    return [TensorType(inference.dtype(4), None if y is None else (y[0], *y[2:], y[1]))]


def _infer_average(inference: Inference) -> list[TensorType]:
    return _in_layout(inference, infer_pool)


@operator("QAveragePool", _infer_average, domain=FUSED)
def quantized_average_pool(
    x: np.ndarray,
    x_scale: np.ndarray,
    x_zero_point: np.ndarray,
    y_scale: np.ndarray,
    y_zero_point: np.ndarray,
    *,
    kernel_shape: Sequence[int],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    dilations: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
    layout: str = "NCHW",
) -> np.ndarray:
    """Average of the numbers; attributes as ONNX AveragePool.

    With s the sum of x - x_zero_point over a window and n the number of pixels that the average is over,
    ``y = round(s * (x_scale / (n * y_scale))) + y_zero_point``.
    """
    numbers = centred(from_channels_last(x) if layout == "NHWC" else x, x_zero_point)
    window: dict[str, Any] = {
        "kernel_shape": kernel_shape, "auto_pad": auto_pad, "ceil_mode": ceil_mode, "dilations": dilations,
        "pads": pads, "strides": strides, "count_include_pad": count_include_pad,
    }  # fmt: skip
    # The mean times the number of pixels is the sum, a whole number.
    counts = window_counts(numbers.shape, **window)
    total = np.rint(average_pool(numbers, **window) * counts)
    factor = np.float32(x_scale.reshape(())) / (np.float32(y_scale.reshape(())) * counts.astype(np.float32))
    result = quantized_as(total.astype(np.float32) * factor, np.ones((), np.float32), y_zero_point)
    return to_channels_last(result) if layout == "NHWC" else result


def _infer_global_average(inference: Inference) -> list[TensorType]:
    return _in_layout(inference, infer_global)


@operator("QGlobalAveragePool", _infer_global_average, domain=FUSED)
def quantized_global_average_pool(
    x: np.ndarray,
    x_scale: np.ndarray,
    x_zero_point: np.ndarray,
    y_scale: np.ndarray,
    y_zero_point: np.ndarray,
    *,
    layout: str = "NCHW",
) -> np.ndarray:
    """Mean of n positions: ``round((sum(x) - n * x_zero_point) * (x_scale / (n * y_scale))) + y_zero_point``."""
    axes = tuple(range(1, x.ndim - 1)) if layout == "NHWC" else tuple(range(2, x.ndim))
    count = int(np.prod([x.shape[axis] for axis in axes]))
    total = x.sum(axis=axes, keepdims=True, dtype=np.int64) - count * int(x_zero_point.reshape(()))
    factor = np.float32(x_scale.reshape(())) / (np.float32(y_scale.reshape(())) * np.float32(count))
    return quantized_as(total.astype(np.float32) * factor, np.ones((), np.float32), y_zero_point)
