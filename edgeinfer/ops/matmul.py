"""Matrix products (ONNX MatMul, Gemm), plain and fused."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeinfer.graph import FUSED, Shape, TensorType
from edgeinfer.ops.broadcast import broadcast_shapes
from edgeinfer.ops.fused_activation import apply_activation
from edgeinfer.ops.registry import Inference, operator


def matmul_shape(inference: Inference, a: Shape | None, b: Shape | None) -> Shape | None:
    """Shape of the product of two matrices or batches of them; None if it is unknown."""
    if a is None or b is None:
        return None
    left, right = (1, *a) if len(a) == 1 else a, (*b, 1) if len(b) == 1 else b
    if isinstance(left[-1], int) and isinstance(right[-2], int) and left[-1] != right[-2]:
        raise inference.error(f"inner dimensions differ: {list(a)} by {list(b)}")
    batch = broadcast_shapes([left[:-2], right[:-2]])
    rows = () if len(a) == 1 else (left[-2],)
    columns = () if len(b) == 1 else (right[-1],)
    return (*(batch or ()), *rows, *columns)


def _infer_matmul(inference: Inference) -> list[TensorType]:
    return [TensorType(inference.dtype(0), matmul_shape(inference, inference.shape(0), inference.shape(1)))]


@operator("MatMul", _infer_matmul)
def matmul(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The product of matrices, in batches as numpy.matmul."""
    return np.matmul(a, b)


@operator("MatMul", _infer_matmul, domain=FUSED)
def fused_matmul(
    a: np.ndarray,
    b: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    activation: str = "",
    activation_parameters: Sequence[float] = (),
) -> np.ndarray:
    """``act(a @ b + bias)``."""
    y = np.matmul(a, b)
    return apply_activation(y if bias is None else y + bias, activation, activation_parameters)


def _infer_gemm(inference: Inference) -> list[TensorType]:
    a, b = inference.shape(0), inference.shape(1)
    if a is None or b is None:
        return [TensorType(inference.dtype(0), None)]
    a = a[::-1] if inference.attribute("transA", 0) else a
    b = b[::-1] if inference.attribute("transB", 0) else b
    return [TensorType(inference.dtype(0), matmul_shape(inference, a, b))]


@operator("Gemm", _infer_gemm)
def gemm(
    a: np.ndarray,
    b: np.ndarray,
    c: np.ndarray | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> np.ndarray:
    """``alpha a b + beta c`` with a and b transposed if asked for."""
    y = np.matmul(a.T if transA else a, b.T if transB else b)
    y = y if alpha == 1.0 else y * a.dtype.type(alpha)
    if c is not None:
        y = y + (c if beta == 1.0 else c * a.dtype.type(beta))
    return y.astype(a.dtype)
