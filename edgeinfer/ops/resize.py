"""Resizing (ONNX Resize): nearest, linear and cubic, all coordinate modes, one axis after the other.

Along one axis every output element is a weighted sum of a few input elements. ``axis_table`` gives their
indices and weights; the reference and the planner both use it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgeinfer.graph import Dim, TensorType
from edgeinfer.graph.dims import multiply, unknown_dim
from edgeinfer.ops.channels_last import register_channels_last
from edgeinfer.ops.registry import Inference, operator


@dataclass(frozen=True)
class Sampling:
    """The attributes of ONNX Resize that decide where samples are taken and how they are weighted."""

    mode: str = "nearest"
    coordinates: str = "half_pixel"
    nearest_mode: str = "round_prefer_floor"
    cubic_coeff_a: float = -0.75
    exclude_outside: bool = False
    antialias: bool = False


@dataclass(frozen=True)
class AxisTable:
    """Sources of the output elements along one axis.

    Attributes:
        indices: int64 [out, taps], inside the input.
        weights: float64 [out, taps].
        outside: bool [out]: positions beyond the input, which ``tf_crop_and_resize`` fills with a constant.
    """

    indices: np.ndarray
    weights: np.ndarray
    outside: np.ndarray


def repeats(indices: np.ndarray, factor: int) -> bool:
    """Whether output element i is input element ``i // factor``; ``indices`` are the nearest inputs, [out]."""
    return bool(np.array_equal(indices, np.arange(len(indices)) // factor))


def source_positions(size: int, out: int, scale: float, coordinates: str, roi: tuple[float, float]) -> np.ndarray:
    """The position in the input, in pixels, of every output element."""
    y = np.arange(out, dtype=np.float64)
    if coordinates == "half_pixel":
        return (y + 0.5) / scale - 0.5
    if coordinates == "half_pixel_symmetric":
        adjustment = out / (scale * size)
        centre = size / 2
        return centre * (1 - adjustment) + (y + 0.5) / scale - 0.5
    if coordinates == "pytorch_half_pixel":
        return (y + 0.5) / scale - 0.5 if out > 1 else np.zeros(out)
    if coordinates == "align_corners":
        return y * (size - 1) / (out - 1) if out > 1 else np.zeros(out)
    if coordinates == "asymmetric":
        return y / scale
    if coordinates == "tf_crop_and_resize":
        start, end = roi
        if out > 1:
            return start * (size - 1) + y * (end - start) * (size - 1) / (out - 1)
        return np.full(out, 0.5 * (start + end) * (size - 1))
    raise ValueError(f"unknown coordinate_transformation_mode '{coordinates}'")


def _nearest(positions: np.ndarray, nearest_mode: str) -> np.ndarray:
    if nearest_mode == "floor":
        return np.floor(positions)
    if nearest_mode == "ceil":
        return np.ceil(positions)
    if nearest_mode == "round_prefer_floor":
        return np.ceil(positions - 0.5)
    if nearest_mode == "round_prefer_ceil":
        return np.floor(positions + 0.5)
    raise ValueError(f"unknown nearest_mode '{nearest_mode}'")


def _cubic(distance: np.ndarray, a: float) -> np.ndarray:
    """Keys' cubic convolution kernel."""
    x = np.abs(distance)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0))


def axis_table(size: int, out: int, scale: float, sampling: Sampling, roi: tuple[float, float] = (0, 1)) -> AxisTable:
    """Indices and weights that resize an axis of ``size`` elements to ``out``."""
    positions = source_positions(size, out, scale, sampling.coordinates, roi)
    outside = (positions < 0) | (positions > size - 1)
    outside &= sampling.coordinates == "tf_crop_and_resize"
    if sampling.mode == "nearest":
        indices = _nearest(positions, sampling.nearest_mode)[:, None]
        weights = np.ones_like(indices)
    else:
        # Antialiasing stretches the filter over all input pixels that one output pixel covers.
        stretch = min(scale, 1.0) if sampling.antialias else 1.0
        radius = (1 if sampling.mode == "linear" else 2) / stretch
        taps = 2 * math.ceil(radius) + (1 if sampling.antialias else 0)
        first = np.floor(positions) - math.ceil(radius) + 1
        if sampling.antialias:
            first = np.floor(positions - radius) + 1
        indices = first[:, None] + np.arange(taps)
        distance = (indices - positions[:, None]) * stretch
        if sampling.mode == "linear":
            weights = np.maximum(1 - np.abs(distance), 0)
        else:
            weights = _cubic(distance, sampling.cubic_coeff_a)
        if sampling.exclude_outside or sampling.antialias:
            inside = (indices >= 0) & (indices < size)
            if sampling.exclude_outside or sampling.mode == "linear":
                weights = np.where(inside, weights, 0)
            total = weights.sum(axis=1, keepdims=True)
            weights = weights / np.where(total == 0, 1, total)
    return AxisTable(np.clip(indices, 0, size - 1).astype(np.int64), weights, outside)


def resize_axis(x: np.ndarray, axis: int, table: AxisTable) -> np.ndarray:
    """Resize one axis by a table."""
    if table.weights.shape[1] == 1:
        return np.take(x, table.indices[:, 0], axis=axis)
    shape = [1] * x.ndim
    shape[axis] = -1
    total = None
    for tap in range(table.weights.shape[1]):
        part = np.take(x, table.indices[:, tap], axis=axis) * table.weights[:, tap].reshape(shape)
        total = part if total is None else total + part
    assert total is not None
    return total


def resized_sizes(
    shape: Sequence[Dim],
    axes: Sequence[int],
    scales: np.ndarray | None,
    sizes: np.ndarray | None,
    policy: str,
) -> list[Dim]:
    """Output dimensions of Resize."""
    dims = list(shape)
    if sizes is not None and sizes.size:
        wanted = [int(value) for value in sizes]
        if policy != "stretch":
            known = [shape[axis] for axis in axes]
            if not all(isinstance(dim, int) for dim in known):
                return [unknown_dim() if index in axes else dim for index, dim in enumerate(dims)]
            factors = [want / int(dim) for want, dim in zip(wanted, known, strict=True)]
            factor = min(factors) if policy == "not_larger" else max(factors)
            wanted = [math.floor(int(dim) * factor + 0.5) for dim in known]
        for axis, value in zip(axes, wanted, strict=True):
            dims[axis] = value
        return dims
    assert scales is not None
    for axis, scale in zip(axes, scales, strict=True):
        size = dims[axis]
        if isinstance(size, int):
            dims[axis] = math.floor(size * float(scale))
        elif float(scale).is_integer():
            dims[axis] = multiply(size, int(scale))
        else:
            dims[axis] = unknown_dim()
    return dims


def _infer_resize(inference: Inference) -> list[TensorType]:
    shape, attribute = inference.shape(0), inference.attribute
    if shape is None:
        return [TensorType(inference.dtype(0), None)]
    axes = [axis % len(shape) for axis in attribute("axes") or range(len(shape))]
    scales, sizes = inference.constant(2), inference.constant(3)
    if (inference.has(3) and sizes is None) or (not inference.has(3) and scales is None):
        return [TensorType(inference.dtype(0), tuple(unknown_dim() for _ in shape))]
    dims = resized_sizes(shape, axes, scales, sizes, attribute("keep_aspect_ratio_policy", "stretch"))
    return [TensorType(inference.dtype(0), tuple(dims))]


def sampling_of(attributes: dict) -> Sampling:
    """The sampling that a Resize node's attributes describe."""
    return Sampling(
        attributes.get("mode", "nearest"),
        attributes.get("coordinate_transformation_mode", "half_pixel"),
        attributes.get("nearest_mode", "round_prefer_floor"),
        attributes.get("cubic_coeff_a", -0.75),
        bool(attributes.get("exclude_outside", 0)),
        bool(attributes.get("antialias", 0)),
    )


@operator("Resize", _infer_resize)
def resize(
    x: np.ndarray,
    roi: np.ndarray | None = None,
    scales: np.ndarray | None = None,
    sizes: np.ndarray | None = None,
    *,
    antialias: int = 0,
    axes: Sequence[int] | None = None,
    coordinate_transformation_mode: str = "half_pixel",
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    keep_aspect_ratio_policy: str = "stretch",
    mode: str = "nearest",
    nearest_mode: str = "round_prefer_floor",
) -> np.ndarray:
    """x resized along its axes, to given sizes or by given scales."""
    sampling = Sampling(
        mode, coordinate_transformation_mode, nearest_mode, cubic_coeff_a, bool(exclude_outside), bool(antialias)
    )
    chosen = [axis % x.ndim for axis in axes] if axes else list(range(x.ndim))
    target = [int(dim) for dim in resized_sizes(x.shape, chosen, scales, sizes, keep_aspect_ratio_policy)]
    y = x.astype(np.float64) if mode != "nearest" else x
    outside = np.zeros(target, bool)
    for place, axis in enumerate(chosen):
        given = float(scales[place]) if scales is not None and scales.size else target[axis] / x.shape[axis]
        if sizes is not None and sizes.size and keep_aspect_ratio_policy != "stretch":
            factors = [int(value) / x.shape[a] for value, a in zip(sizes, chosen, strict=True)]
            given = min(factors) if keep_aspect_ratio_policy == "not_larger" else max(factors)
        window = (0.0, 1.0)
        if roi is not None and roi.size:
            window = (float(roi[place]), float(roi[place + len(chosen)]))
        if target[axis] == x.shape[axis] and given == 1.0 and window == (0.0, 1.0):
            continue
        table = axis_table(x.shape[axis], target[axis], given, sampling, window)
        y = resize_axis(y, axis, table)
        outside |= table.outside.reshape([-1 if index == axis else 1 for index in range(x.ndim)])
    y = np.where(outside, extrapolation_value, y) if outside.any() else y
    if x.dtype.kind in "iu" and mode != "nearest":
        limits = np.iinfo(x.dtype)
        y = np.clip(np.round(y), limits.min, limits.max)
    return np.ascontiguousarray(y.astype(x.dtype))


register_channels_last("Resize")
