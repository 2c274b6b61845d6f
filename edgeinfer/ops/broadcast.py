"""Multidirectional broadcasting of shapes, with symbolic dimensions."""

from __future__ import annotations

from collections.abc import Sequence

from edgeinfer.graph import Dim, DType, Shape, TensorType
from edgeinfer.graph.dims import unknown_dim
from edgeinfer.ops.registry import Infer, Inference


def broadcast_dims(left: Dim, right: Dim) -> Dim:
    """The dimension that two broadcast to; raises ValueError if two integers do not fit."""
    if left == right or right == 1:
        return left
    if left == 1:
        return right
    if isinstance(left, int) and isinstance(right, int):
        raise ValueError(f"dimensions {left} and {right} do not broadcast")
    if isinstance(left, int):
        return left
    if isinstance(right, int):
        return right
    return unknown_dim()


def broadcast_shapes(shapes: Sequence[Shape | None]) -> Shape | None:
    """The shape that all broadcast to, None if the rank of one is unknown."""
    known = [shape for shape in shapes if shape is not None]
    if len(known) < len(shapes):
        return None
    rank = max(len(shape) for shape in known)
    result: list[Dim] = [1] * rank
    for shape in known:
        for axis, dim in enumerate(shape, rank - len(shape)):
            result[axis] = broadcast_dims(result[axis], dim)
    return tuple(result)


def infer_broadcast(dtype: DType | None = None) -> Infer:
    """Shape inference of element-wise operators; ``dtype`` None keeps that of the first input."""

    def infer(inference: Inference) -> list[TensorType]:
        shapes = [inference.shape(index) for index in range(len(inference.inputs))]
        try:
            shape = broadcast_shapes(shapes)
        except ValueError as error:
            raise inference.error(f"{error} (shapes {shapes})") from error
        return [TensorType(dtype or inference.dtype(0), shape)]

    return infer
