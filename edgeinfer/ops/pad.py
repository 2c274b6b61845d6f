"""Padding (ONNX Pad)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgeinfer.graph import Dim, TensorType
from edgeinfer.graph.dims import add, unknown_dim
from edgeinfer.ops.registry import Inference, operator


def pad_array(x: np.ndarray, pairs: Sequence[tuple[int, int]], mode: Any, value: Any = 0) -> np.ndarray:
    """Pad each axis by (before, after) elements; negative numbers cut elements off."""
    cut = tuple(
        slice(max(-before, 0), size - max(-after, 0)) for (before, after), size in zip(pairs, x.shape, strict=True)
    )
    grow = [(max(before, 0), max(after, 0)) for before, after in pairs]
    if mode == "constant":
        return np.pad(x[cut], grow, constant_values=value)
    return np.pad(x[cut], grow, mode=mode)


def _pairs(rank: int, pads: np.ndarray, axes: np.ndarray | None) -> list[tuple[int, int]]:
    chosen = [int(axis) % rank for axis in axes] if axes is not None else list(range(rank))
    pairs = [(0, 0)] * rank
    for index, axis in enumerate(chosen):
        pairs[axis] = (int(pads[index]), int(pads[index + len(chosen)]))
    return pairs


def _infer_pad(inference: Inference) -> list[TensorType]:
    shape, pads = inference.shape(0), inference.constant(1)
    if shape is None:
        return [TensorType(inference.dtype(0), None)]
    if pads is None or (inference.has(3) and inference.constant(3) is None):
        return [TensorType(inference.dtype(0), tuple(unknown_dim() for _ in shape))]
    pairs = _pairs(len(shape), pads, inference.constant(3))
    dims: list[Dim] = [add(dim, before + after) for dim, (before, after) in zip(shape, pairs, strict=True)]
    return [TensorType(inference.dtype(0), tuple(dims))]


@operator("Pad", _infer_pad)
def pad(
    x: np.ndarray,
    pads: np.ndarray,
    constant_value: np.ndarray | None = None,
    axes: np.ndarray | None = None,
    *,
    mode: str = "constant",
) -> np.ndarray:
    """Pad axes with a constant, the mirrored picture, its edge, or its other side (wrap)."""
    value = 0 if constant_value is None else constant_value.ravel()[0]
    return pad_array(x, _pairs(x.ndim, pads, axes), mode, value)
