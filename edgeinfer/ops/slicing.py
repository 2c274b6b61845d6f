"""Taking tensors apart and together (Concat, Split, Slice, Gather, DepthToSpace, …)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeinfer.graph import Dim, TensorType
from edgeinfer.graph.dims import add, floor_divide, multiply, unknown_dim
from edgeinfer.ops.channels_last import register_channels_last
from edgeinfer.ops.registry import Inference, operator


def _infer_concat(inference: Inference) -> list[TensorType]:
    shapes = [inference.shape(index) for index in range(len(inference.inputs))]
    if any(shape is None for shape in shapes):
        return [TensorType(inference.dtype(0), None)]
    known = [shape for shape in shapes if shape is not None]
    axis = inference.attribute("axis") % len(known[0])
    dims = list(known[0])
    for shape in known[1:]:
        if len(shape) != len(dims):
            raise inference.error(f"inputs of different ranks: {known}")
        for index, dim in enumerate(shape):
            if index == axis:
                dims[axis] = add(dims[axis], dim)
            elif isinstance(dim, int):
                if isinstance(dims[index], int) and dims[index] != dim:
                    raise inference.error(f"inputs do not fit together along axis {index}: {known}")
                dims[index] = dim
    return [TensorType(inference.dtype(0), tuple(dims))]


@operator("Concat", _infer_concat)
def concat(*inputs: np.ndarray, axis: int) -> np.ndarray:
    """All inputs one after the other along an axis."""
    return np.concatenate(inputs, axis=axis)


def _split_sizes(size: int, count: int) -> list[int]:
    """Equal parts, the last one smaller if it must be."""
    part = -(-size // count)
    return [min(part, max(size - index * part, 0)) for index in range(count)]


def _infer_split(inference: Inference) -> list[TensorType]:
    shape, dtype, count = inference.shape(0), inference.dtype(0), len(inference.node.outputs)
    if shape is None:
        return [TensorType(dtype, None)] * count
    axis = inference.attribute("axis", 0) % len(shape)
    split, size = inference.constant(1), shape[axis]
    if split is not None:
        parts: list[Dim] = [int(value) for value in split]
    elif not inference.has(1) and isinstance(size, int):
        parts = list(_split_sizes(size, inference.attribute("num_outputs") or count))
    else:
        parts = [unknown_dim() for _ in range(count)]
    return [TensorType(dtype, (*shape[:axis], part, *shape[axis + 1 :])) for part in parts]


@operator("Split", _infer_split)
def split(
    x: np.ndarray,
    sizes: np.ndarray | None = None,
    *,
    axis: int = 0,
    num_outputs: int | None = None,
    output_count: int = 1,
) -> tuple[np.ndarray, ...]:
    """Parts of x along an axis, of given sizes or equal."""
    parts = [int(v) for v in sizes] if sizes is not None else _split_sizes(x.shape[axis], num_outputs or output_count)
    return tuple(np.split(x, np.cumsum(parts)[:-1], axis=axis))


def _slices(shape: Sequence[Dim], inference: Inference) -> list[Dim]:
    starts, ends, axes, steps = (inference.constant(index) for index in range(1, 5))
    rank = len(shape)
    count = None
    for index in (1, 2, 3, 4):
        known = inference.constant(index) if inference.has(index) else None
        count = known.size if known is not None and count is None else count
    if inference.has(3) and axes is None:
        return [unknown_dim() for _ in shape]
    chosen = [int(a) % rank for a in axes] if axes is not None else list(range(count if count is not None else rank))
    dims = list(shape)
    for index, axis in enumerate(chosen):
        if starts is None or ends is None or (inference.has(4) and steps is None):
            dims[axis] = unknown_dim()
            continue
        step = int(steps[index]) if steps is not None else 1
        dims[axis] = _slice_dim(dims[axis], int(starts[index]), int(ends[index]), step)
    return dims


def _slice_dim(size: Dim, start: int, end: int, step: int) -> Dim:
    if isinstance(size, int):
        return len(range(*slice(start, _end(end, step), step).indices(size)))
    if step == 1 and start >= 0 and end >= 2**31 - 1:
        return add(size, -start)
    if step == 1 and start >= 0 and -(2**31) < end < 0:
        return add(size, end - start)
    return unknown_dim()


def _end(end: int, step: int) -> int | None:
    """ONNX's most negative end means before the first element when stepping backwards."""
    return None if step < 0 and end < -(2**31) + 1 else end


def _infer_slice(inference: Inference) -> list[TensorType]:
    shape = inference.shape(0)
    return [TensorType(inference.dtype(0), None if shape is None else tuple(_slices(shape, inference)))]


@operator("Slice", _infer_slice)
def slice_(
    x: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    axes: np.ndarray | None = None,
    steps: np.ndarray | None = None,
) -> np.ndarray:
    """Elements of x between starts and ends along some axes; out-of-range bounds are moved inside."""
    chosen = [int(axis) for axis in axes] if axes is not None else range(len(starts))
    index = [slice(None)] * x.ndim
    for place, axis in enumerate(chosen):
        step = int(steps[place]) if steps is not None else 1
        start, end = int(starts[place]), int(ends[place])
        size = x.shape[axis]
        if step < 0:
            end = end + size if end < 0 else end
            stop = None if end < 0 else end
        else:
            stop = end
        index[axis] = slice(start, stop, step)
    return x[tuple(index)]


def _infer_gather(inference: Inference) -> list[TensorType]:
    shape, indices = inference.shape(0), inference.shape(1)
    if shape is None or indices is None:
        return [TensorType(inference.dtype(0), None)]
    axis = inference.attribute("axis", 0) % len(shape)
    return [TensorType(inference.dtype(0), (*shape[:axis], *indices, *shape[axis + 1 :]))]


@operator("Gather", _infer_gather)
def gather(x: np.ndarray, indices: np.ndarray, *, axis: int = 0) -> np.ndarray:
    """Slices of x along an axis, picked by indices (negative ones count from the end)."""
    return np.take(x, indices, axis=axis)


def _infer_gather_elements(inference: Inference) -> list[TensorType]:
    return [TensorType(inference.dtype(0), inference.shape(1))]


@operator("GatherElements", _infer_gather_elements)
def gather_elements(x: np.ndarray, indices: np.ndarray, *, axis: int = 0) -> np.ndarray:
    """Elements of x along an axis, one for each index."""
    return np.take_along_axis(x, np.where(indices < 0, indices + x.shape[axis], indices), axis)


def _infer_depth_to_space(inference: Inference) -> list[TensorType]:
    shape, block = inference.shape(0), inference.attribute("blocksize")
    if shape is None:
        return [TensorType(inference.dtype(0), None)]
    n, c, h, w = shape
    return [TensorType(inference.dtype(0), (n, floor_divide(c, block**2), multiply(h, block), multiply(w, block)))]


@operator("DepthToSpace", _infer_depth_to_space)
def depth_to_space(x: np.ndarray, *, blocksize: int, mode: str = "DCR") -> np.ndarray:
    """Groups of block² channels become blocks of pixels."""
    n, c, h, w = x.shape
    b, inner = blocksize, c // blocksize**2
    if mode == "DCR":
        y = x.reshape(n, b, b, inner, h, w).transpose(0, 3, 4, 1, 5, 2)
    else:
        y = x.reshape(n, inner, b, b, h, w).transpose(0, 1, 4, 2, 5, 3)
    return y.reshape(n, inner, h * b, w * b)


def _infer_space_to_depth(inference: Inference) -> list[TensorType]:
    shape, block = inference.shape(0), inference.attribute("blocksize")
    if shape is None:
        return [TensorType(inference.dtype(0), None)]
    n, c, h, w = shape
    return [TensorType(inference.dtype(0), (n, multiply(c, block**2), floor_divide(h, block), floor_divide(w, block)))]


@operator("SpaceToDepth", _infer_space_to_depth)
def space_to_depth(x: np.ndarray, *, blocksize: int) -> np.ndarray:
    """Blocks of pixels become groups of block² channels."""
    n, c, h, w = x.shape
    b = blocksize
    y = x.reshape(n, c, h // b, b, w // b, b).transpose(0, 3, 5, 1, 2, 4)
    return y.reshape(n, c * b * b, h // b, w // b)


for _name in ("DepthToSpace", "SpaceToDepth"):
    register_channels_last(_name)
