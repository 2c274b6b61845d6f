"""Normalisation that reads or writes 8-bit tensors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeinfer.graph import FUSED, TensorType
from edgeinfer.ops.normalization import fused_instance_normalization
from edgeinfer.ops.quantized_elementwise import dequantized, quantized_as
from edgeinfer.ops.registry import Inference, operator


def _infer(inference: Inference) -> list[TensorType]:
    return [TensorType(inference.dtype(6), inference.shape(0))]


@operator("QInstanceNormalization", _infer, domain=FUSED)
def quantized_instance_normalization(
    x: np.ndarray,
    x_scale: np.ndarray | None,
    x_zero_point: np.ndarray | None,
    scale: np.ndarray,
    bias: np.ndarray,
    y_scale: np.ndarray,
    y_zero_point: np.ndarray,
    residual: np.ndarray | None = None,
    residual_scale: np.ndarray | None = None,
    residual_zero_point: np.ndarray | None = None,
    *,
    epsilon: float = 1e-5,
    activation: str = "",
    activation_parameters: Sequence[float] = (),
    layout: str = "NCHW",
) -> np.ndarray:
    """``quantize(InstanceNormalization(dequantize(x), scale, bias, dequantize(residual)))``.

    Without x_scale x is float32, without residual_scale so is the residual.
    """
    if x_scale is not None and x_zero_point is not None:
        x = dequantized(x, x_scale, x_zero_point)
    if residual is not None and residual_scale is not None and residual_zero_point is not None:
        residual = dequantized(residual, residual_scale, residual_zero_point)
    y = fused_instance_normalization(
        x, scale, bias, residual, epsilon=epsilon, activation=activation,
        activation_parameters=activation_parameters, layout=layout,
    )  # fmt: skip
    return quantized_as(y, y_scale, y_zero_point)
