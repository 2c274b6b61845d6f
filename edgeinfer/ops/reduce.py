"""Reductions over axes (ONNX Reduce*, ArgMax, ArgMin, CumSum) and softmax."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from edgeinfer.graph import Dim, DType, Shape, TensorType
from edgeinfer.graph.dims import unknown_dim
from edgeinfer.ops.registry import Inference, operator, same_as_first


def reduced_shape(shape: Shape, axes: Sequence[int], keepdims: bool) -> Shape:
    """The shape after reducing some axes."""
    normal = {axis % len(shape) for axis in axes}
    if keepdims:
        return tuple(1 if axis in normal else dim for axis, dim in enumerate(shape))
    return tuple(dim for axis, dim in enumerate(shape) if axis not in normal)


def _infer_reduce(inference: Inference) -> list[TensorType]:
    shape, keepdims = inference.shape(0), bool(inference.attribute("keepdims", 1))
    if shape is None:
        return [TensorType(inference.dtype(0), None)]
    if not inference.has(1):
        if inference.attribute("noop_with_empty_axes", 0):
            return [inference.type(0)]
        return [TensorType(inference.dtype(0), reduced_shape(shape, range(len(shape)), keepdims))]
    axes = inference.constant(1)
    if axes is None:
        dims: tuple[Dim, ...] | None = tuple(unknown_dim() for _ in shape) if keepdims else None
        return [TensorType(inference.dtype(0), dims)]
    if axes.size == 0:
        if inference.attribute("noop_with_empty_axes", 0):
            return [inference.type(0)]
        axes = np.arange(len(shape))
    return [TensorType(inference.dtype(0), reduced_shape(shape, [int(axis) for axis in axes], keepdims))]


def _reduction(function: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    def reference(
        x: np.ndarray, axes: np.ndarray | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0
    ) -> np.ndarray:
        if axes is None or axes.size == 0:
            if noop_with_empty_axes:
                return x
            chosen = None
        else:
            chosen = tuple(int(axis) for axis in axes)
        return np.asarray(function(x, axis=chosen, keepdims=bool(keepdims))).astype(x.dtype)

    return reference


def _log_sum_exp(x: np.ndarray, axis: tuple[int, ...] | None, keepdims: bool) -> np.ndarray:
    top = np.max(x, axis=axis, keepdims=True) if x.size else np.zeros(())
    top = np.where(np.isfinite(top), top, 0)
    total = np.log(np.sum(np.exp(x - top), axis=axis, keepdims=True)) + top
    return total if keepdims else np.squeeze(total, axis=axis)


def _initial(function: Callable[..., np.ndarray], low: bool) -> Callable[..., np.ndarray]:
    """Max or min, with the identity of the dtype for empty tensors."""

    def reduce(x: np.ndarray, axis: tuple[int, ...] | None, keepdims: bool) -> np.ndarray:
        if x.size:
            return function(x, axis=axis, keepdims=keepdims)
        if x.dtype.kind == "f":
            start = -np.inf if low else np.inf
        else:
            start = np.iinfo(x.dtype).min if low else np.iinfo(x.dtype).max
        return function(x, axis=axis, keepdims=keepdims, initial=start)

    return reduce


_FUNCTIONS: dict[str, Callable[..., np.ndarray]] = {
    "ReduceMean": np.mean, "ReduceSum": np.sum, "ReduceProd": np.prod,
    "ReduceMax": _initial(np.max, True), "ReduceMin": _initial(np.min, False),
    "ReduceL1": lambda x, axis, keepdims: np.sum(np.abs(x), axis=axis, keepdims=keepdims),
    "ReduceL2": lambda x, axis, keepdims: np.sqrt(np.sum(np.square(x), axis=axis, keepdims=keepdims)),
    "ReduceSumSquare": lambda x, axis, keepdims: np.sum(np.square(x), axis=axis, keepdims=keepdims),
    "ReduceLogSum": lambda x, axis, keepdims: np.log(np.sum(x, axis=axis, keepdims=keepdims)),
    "ReduceLogSumExp": _log_sum_exp,
}  # fmt: skip

for _name, _function in _FUNCTIONS.items():
    operator(_name, _infer_reduce)(_reduction(_function))


def _infer_arg(inference: Inference) -> list[TensorType]:
    shape = inference.shape(0)
    if shape is None:
        return [TensorType(DType.INT64, None)]
    axis, keepdims = inference.attribute("axis", 0), bool(inference.attribute("keepdims", 1))
    return [TensorType(DType.INT64, reduced_shape(shape, [axis], keepdims))]


def _argument(x: np.ndarray, axis: int, keepdims: int, last: int, pick: Callable[..., np.ndarray]) -> np.ndarray:
    index = x.shape[axis] - 1 - pick(np.flip(x, axis), axis=axis) if last else pick(x, axis=axis)
    return (np.expand_dims(index, axis) if keepdims else index).astype(np.int64)


@operator("ArgMax", _infer_arg)
def arg_max(x: np.ndarray, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> np.ndarray:
    """Index of the largest element along an axis."""
    return _argument(x, axis, keepdims, select_last_index, np.argmax)


@operator("ArgMin", _infer_arg)
def arg_min(x: np.ndarray, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> np.ndarray:
    """Index of the smallest element along an axis."""
    return _argument(x, axis, keepdims, select_last_index, np.argmin)


@operator("CumSum", same_as_first)
def cum_sum(x: np.ndarray, axis: np.ndarray, *, exclusive: int = 0, reverse: int = 0) -> np.ndarray:
    """Running sums along an axis."""
    along = int(axis.ravel()[0])
    if reverse:
        x = np.flip(x, along)
    result = np.cumsum(x, axis=along, dtype=x.dtype)
    if exclusive:
        result = result - x
    return np.flip(result, along) if reverse else result


@operator("Softmax", same_as_first)
def softmax(x: np.ndarray, *, axis: int = -1) -> np.ndarray:
    """exp(x) normalised to a sum of 1 along an axis."""
    e = np.exp(x - np.max(x, axis=axis, keepdims=True, initial=-np.inf))
    return (e / np.sum(e, axis=axis, keepdims=True)).astype(x.dtype)


@operator("LogSoftmax", same_as_first)
def log_softmax(x: np.ndarray, *, axis: int = -1) -> np.ndarray:
    """The logarithm of softmax."""
    shifted = x - np.max(x, axis=axis, keepdims=True)
    return (shifted - np.log(np.sum(np.exp(shifted), axis=axis, keepdims=True))).astype(x.dtype)


@operator("Hardmax", same_as_first)
def hardmax(x: np.ndarray, *, axis: int = -1) -> np.ndarray:
    """1 at the first largest element along an axis, 0 elsewhere."""
    result = np.zeros_like(x)
    np.put_along_axis(result, np.expand_dims(np.argmax(x, axis=axis), axis), 1, axis)
    return result
