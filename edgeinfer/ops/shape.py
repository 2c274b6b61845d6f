"""Operators that change or read shapes (Shape, Reshape, Transpose, Expand, …)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edgeinfer.graph import Dim, DType, Shape, TensorType
from edgeinfer.graph.dims import floor_divide, multiply, product, unknown_dim
from edgeinfer.ops.broadcast import broadcast_shapes
from edgeinfer.ops.registry import Inference, operator


def _unknown(rank: int) -> Shape:
    return tuple(unknown_dim() for _ in range(rank))


def _infer_shape(inference: Inference) -> list[TensorType]:
    shape = inference.shape(0)
    if shape is None:
        return [TensorType(DType.INT64, (unknown_dim(),))]
    start, end = inference.attribute("start", 0), inference.attribute("end")
    return [TensorType(DType.INT64, (len(shape[start:end]),))]


@operator("Shape", _infer_shape)
def shape(x: np.ndarray, *, start: int = 0, end: int | None = None) -> np.ndarray:
    """The dimensions of x, from ``start`` to before ``end``."""
    return np.array(x.shape[start:end], np.int64)


@operator("Size", lambda inference: [TensorType(DType.INT64, ())])
def size(x: np.ndarray) -> np.ndarray:
    """The number of elements of x."""
    return np.array(x.size, np.int64)


def _infer_reshape(inference: Inference) -> list[TensorType]:
    source, target = inference.shape(0), inference.constant(1)
    dtype = inference.dtype(0)
    if target is None:
        known = inference.shape(1)
        rank = known[0] if known is not None and isinstance(known[0], int) else None
        return [TensorType(dtype, None if rank is None else _unknown(rank))]
    keep_zero = bool(inference.attribute("allowzero", 0))
    dims: list[Dim] = []
    for axis, value in enumerate(int(v) for v in target):
        if value == 0 and not keep_zero:
            dims.append(source[axis] if source is not None else unknown_dim())
        else:
            dims.append(value)
    if -1 in dims:
        place = dims.index(-1)
        dims[place] = _rest(source, [dim for index, dim in enumerate(dims) if index != place])
    return [TensorType(dtype, tuple(dims))]


def _rest(source: Shape | None, others: Sequence[Dim]) -> Dim:
    """The dimension that keeps the number of elements; equal symbolic factors cancel."""
    if source is None:
        return unknown_dim()
    left, right = list(source), []
    for dim in others:
        if isinstance(dim, str) and dim in left:
            left.remove(dim)
        else:
            right.append(dim)
    return floor_divide(product(left), product(right))


@operator("Reshape", _infer_reshape)
def reshape(x: np.ndarray, target: np.ndarray, *, allowzero: int = 0) -> np.ndarray:
    """x with other dimensions: 0 copies the old one (unless ``allowzero``), -1 is the rest."""
    dims = [int(v) for v in target]
    if not allowzero:
        dims = [x.shape[axis] if value == 0 else value for axis, value in enumerate(dims)]
    return x.reshape(dims)


def _infer_flatten(inference: Inference) -> list[TensorType]:
    source = inference.shape(0)
    if source is None:
        return [TensorType(inference.dtype(0), _unknown(2))]
    axis = inference.attribute("axis", 1)
    axis = axis + len(source) if axis < 0 else axis
    return [TensorType(inference.dtype(0), (product(source[:axis]), product(source[axis:])))]


@operator("Flatten", _infer_flatten)
def flatten(x: np.ndarray, *, axis: int = 1) -> np.ndarray:
    """x as a matrix: the dimensions before ``axis``, and those from it on."""
    axis = axis + x.ndim if axis < 0 else axis
    return (
        x.reshape(int(np.prod(x.shape[:axis])), -1)
        if x.size
        else x.reshape(int(np.prod(x.shape[:axis])), int(np.prod(x.shape[axis:])))
    )


def _infer_squeeze(inference: Inference) -> list[TensorType]:
    source, axes = inference.shape(0), inference.constant(1)
    if source is None or (inference.has(1) and axes is None):
        return [TensorType(inference.dtype(0), None)]
    chosen = (
        {int(a) % len(source) for a in axes} if axes is not None else {i for i, dim in enumerate(source) if dim == 1}
    )
    return [TensorType(inference.dtype(0), tuple(dim for index, dim in enumerate(source) if index not in chosen))]


@operator("Squeeze", _infer_squeeze)
def squeeze(x: np.ndarray, axes: np.ndarray | None = None) -> np.ndarray:
    """x without dimensions of 1."""
    return np.squeeze(x, None if axes is None else tuple(int(axis) for axis in axes))


def _infer_unsqueeze(inference: Inference) -> list[TensorType]:
    source, axes = inference.shape(0), inference.constant(1)
    if source is None or axes is None:
        return [TensorType(inference.dtype(0), None)]
    rank = len(source) + axes.size
    places = {int(axis) % rank for axis in axes.ravel()}
    rest = iter(source)
    return [TensorType(inference.dtype(0), tuple(1 if index in places else next(rest) for index in range(rank)))]


@operator("Unsqueeze", _infer_unsqueeze)
def unsqueeze(x: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """x with new dimensions of 1."""
    return np.expand_dims(x, tuple(int(axis) for axis in axes.ravel()))


def _infer_transpose(inference: Inference) -> list[TensorType]:
    source = inference.shape(0)
    if source is None:
        return [TensorType(inference.dtype(0), None)]
    perm = inference.attribute("perm") or range(len(source))[::-1]
    return [TensorType(inference.dtype(0), tuple(source[axis] for axis in perm))]


@operator("Transpose", _infer_transpose)
def transpose(x: np.ndarray, *, perm: Sequence[int] | None = None) -> np.ndarray:
    """x with its axes in another order, reversed by default."""
    return np.ascontiguousarray(np.transpose(x, perm))


def _infer_expand(inference: Inference) -> list[TensorType]:
    source, target = inference.shape(0), inference.constant(1)
    if target is None or source is None:
        return [TensorType(inference.dtype(0), None)]
    return [TensorType(inference.dtype(0), broadcast_shapes([source, tuple(int(v) for v in target)]))]


@operator("Expand", _infer_expand)
def expand(x: np.ndarray, target: np.ndarray) -> np.ndarray:
    """x broadcast with a shape."""
    return np.ascontiguousarray(
        x * np.ones(tuple(int(v) for v in target), x.dtype)
        if x.dtype != bool
        else (x & np.ones(tuple(int(v) for v in target), bool))
    )


def _infer_tile(inference: Inference) -> list[TensorType]:
    source, repeats = inference.shape(0), inference.constant(1)
    if source is None:
        return [TensorType(inference.dtype(0), None)]
    if repeats is None:
        return [TensorType(inference.dtype(0), _unknown(len(source)))]
    return [TensorType(inference.dtype(0), tuple(multiply(d, int(r)) for d, r in zip(source, repeats, strict=True)))]


@operator("Tile", _infer_tile)
def tile(x: np.ndarray, repeats: np.ndarray) -> np.ndarray:
    """x repeated along each axis."""
    return np.tile(x, tuple(int(v) for v in repeats))


def _infer_constant_of_shape(inference: Inference) -> list[TensorType]:
    target, value = inference.constant(0), inference.attribute("value")
    dtype = DType.FLOAT32 if value is None else DType.of(value)
    if target is None:
        known = inference.shape(0)
        rank = known[0] if known is not None and isinstance(known[0], int) else None
        return [TensorType(dtype, None if rank is None else _unknown(rank))]
    return [TensorType(dtype, tuple(int(v) for v in target))]


@operator("ConstantOfShape", _infer_constant_of_shape)
def constant_of_shape(target: np.ndarray, *, value: np.ndarray | None = None) -> np.ndarray:
    """A tensor of a shape, filled with one value (float32 zero by default)."""
    fill = np.zeros(1, np.float32) if value is None else value
    return np.full(tuple(int(v) for v in target), fill.ravel()[0], fill.dtype)


def _infer_range(inference: Inference) -> list[TensorType]:
    start, limit, delta = (inference.constant(index) for index in range(3))
    if start is None or limit is None or delta is None:
        return [TensorType(inference.dtype(0), _unknown(1))]
    if not delta.item():
        raise inference.error("a step of 0")
    count = math.ceil((limit.item() - start.item()) / delta.item())
    return [TensorType(inference.dtype(0), (max(count, 0),))]


@operator("Range", _infer_range)
def range_(start: np.ndarray, limit: np.ndarray, delta: np.ndarray) -> np.ndarray:
    """Numbers from start to before limit in steps of delta."""
    return np.arange(start.item(), limit.item(), delta.item()).astype(start.dtype)
