"""Pooling (ONNX MaxPool, AveragePool, LpPool and their global forms)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeinfer.graph import DType, TensorType
from edgeinfer.ops.channels_last import register_channels_last
from edgeinfer.ops.registry import Inference, operator
from edgeinfer.ops.spatial import Window, make_window, output_dims, windows


def infer_pool(inference: Inference) -> list[TensorType]:
    """Types of a pool's outputs: values and indices."""
    shape, attribute = inference.shape(0), inference.attribute
    if shape is None:
        return [TensorType(inference.dtype(0), None), TensorType(DType.INT64, None)]
    window = make_window(
        attribute("kernel_shape"), attribute("strides"), attribute("dilations"), attribute("pads"),
        attribute("auto_pad", "NOTSET"), shape[2:],
    )  # fmt: skip
    dims = (*shape[:2], *output_dims(shape[2:], window, bool(attribute("ceil_mode", 0))))
    return [TensorType(inference.dtype(0), dims), TensorType(DType.INT64, dims)]


def _padded_windows(x: np.ndarray, window: Window, sizes: Sequence[int], value: float) -> np.ndarray:
    """All windows over x padded with a value, beyond the end too where ceil_mode reaches there."""
    pairs = []
    for size, n, k, s, d, (before, after) in zip(
        sizes, x.shape[2:], window.kernel, window.strides, window.dilations, window.pads, strict=True
    ):
        needed = (size - 1) * s + (k - 1) * d + 1 - n - before
        pairs.append((before, max(after, needed, 0)))
    padded = np.pad(x, [(0, 0), (0, 0), *pairs], constant_values=value)
    return windows(padded, window, sizes)


def _window_axes(x: np.ndarray) -> tuple[int, ...]:
    return tuple(range(x.ndim, 2 * x.ndim - 2))


@operator("MaxPool", infer_pool)
def max_pool(
    x: np.ndarray,
    *,
    kernel_shape: Sequence[int],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    storage_order: int = 0,
    strides: Sequence[int] | None = None,
    output_count: int = 1,
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """The largest element of each window, and its flat index in the input if a second output is asked for."""
    window = make_window(kernel_shape, strides, dilations, pads, auto_pad, x.shape[2:])
    sizes = [int(dim) for dim in output_dims(x.shape[2:], window, bool(ceil_mode))]
    lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    y = _padded_windows(x, window, sizes, lowest).max(axis=_window_axes(x))
    if output_count == 1:
        return y
    flat = np.arange(int(np.prod(x.shape[2:]))).reshape(x.shape[2:], order="F" if storage_order else "C")
    planes = np.arange(x.shape[0] * x.shape[1]).reshape(*x.shape[:2], *[1] * (x.ndim - 2))
    index = np.broadcast_to(flat, x.shape) + planes * flat.size
    places = _padded_windows(index, window, sizes, -1).reshape(*x.shape[:2], *sizes, -1)
    values = _padded_windows(x, window, sizes, lowest).reshape(*x.shape[:2], *sizes, -1)
    values = np.where(places >= 0, values, lowest)
    best = np.expand_dims(values.argmax(axis=-1), -1)
    return y, np.take_along_axis(places, best, -1)[..., 0].astype(np.int64)


@operator("AveragePool", infer_pool)
def average_pool(
    x: np.ndarray,
    *,
    kernel_shape: Sequence[int],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    dilations: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> np.ndarray:
    """The mean of each window, over real elements only unless ``count_include_pad``."""
    window = make_window(kernel_shape, strides, dilations, pads, auto_pad, x.shape[2:])
    sizes = [int(dim) for dim in output_dims(x.shape[2:], window, bool(ceil_mode))]
    total = _padded_windows(x, window, sizes, 0).sum(axis=_window_axes(x))
    counts = window_counts(
        x.shape, kernel_shape=kernel_shape, auto_pad=auto_pad, ceil_mode=ceil_mode,
        count_include_pad=count_include_pad, dilations=dilations, pads=pads, strides=strides,
    )  # fmt: skip
    return (total / counts.astype(x.dtype)).astype(x.dtype)


def window_counts(
    shape: Sequence[int],
    *,
    kernel_shape: Sequence[int],
    auto_pad: str,
    ceil_mode: int,
    count_include_pad: int,
    dilations: Sequence[int] | None,
    pads: Sequence[int] | None,
    strides: Sequence[int] | None,
) -> np.ndarray:
    """How many pixels each window of an AveragePool of x [N, C, …] averages over, float64 [1, 1, …]."""
    window = make_window(kernel_shape, strides, dilations, pads, auto_pad, shape[2:])
    sizes = [int(dim) for dim in output_dims(shape[2:], window, bool(ceil_mode))]
    ones = np.ones((1, 1, *shape[2:]))
    if count_include_pad:
        ones = np.pad(ones, [(0, 0), (0, 0), *window.pads], constant_values=1)
        window = Window(window.kernel, window.strides, window.dilations, ((0, 0),) * len(window.kernel))
    return _padded_windows(ones, window, sizes, 0).sum(axis=_window_axes(ones))


@operator("LpPool", infer_pool)
def lp_pool(
    x: np.ndarray,
    *,
    kernel_shape: Sequence[int],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Sequence[int] | None = None,
    p: int = 2,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> np.ndarray:
    """The p-norm of each window."""
    window = make_window(kernel_shape, strides, dilations, pads, auto_pad, x.shape[2:])
    sizes = [int(dim) for dim in output_dims(x.shape[2:], window, bool(ceil_mode))]
    total = (np.abs(_padded_windows(x, window, sizes, 0)) ** p).sum(axis=_window_axes(x))
    return (total ** (1 / p)).astype(x.dtype)


def infer_global(inference: Inference) -> list[TensorType]:
    """Type of a pool over all positions."""
    shape = inference.shape(0)
    return [TensorType(inference.dtype(0), None if shape is None else (*shape[:2], *[1] * (len(shape) - 2)))]


def _spatial_axes(x: np.ndarray) -> tuple[int, ...]:
    return tuple(range(2, x.ndim))


@operator("GlobalAveragePool", infer_global)
def global_average_pool(x: np.ndarray) -> np.ndarray:
    """The mean over all spatial positions."""
    return x.mean(axis=_spatial_axes(x), keepdims=True, dtype=x.dtype)


@operator("GlobalMaxPool", infer_global)
def global_max_pool(x: np.ndarray) -> np.ndarray:
    """The largest element over all spatial positions."""
    return x.max(axis=_spatial_axes(x), keepdims=True)


@operator("GlobalLpPool", infer_global)
def global_lp_pool(x: np.ndarray, *, p: int = 2) -> np.ndarray:
    """The p-norm over all spatial positions."""
    return ((np.abs(x) ** p).sum(axis=_spatial_axes(x), keepdims=True) ** (1 / p)).astype(x.dtype)


for _name in ("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"):
    register_channels_last(_name)
