"""Normalisations (ONNX BatchNormalization, InstanceNormalization, LayerNormalization, GroupNormalization, LRN)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeinfer.graph import FUSED, TensorType
from edgeinfer.ops.channels_last import register_channels_last
from edgeinfer.ops.fused_activation import apply_activation
from edgeinfer.ops.registry import Inference, operator, same_as_first


def _infer_batch_norm(inference: Inference) -> list[TensorType]:
    return [inference.type(0)]


@operator("BatchNormalization", _infer_batch_norm)
def batch_normalization(
    x: np.ndarray,
    scale: np.ndarray,
    bias: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
) -> np.ndarray:
    """``(x - mean) / sqrt(variance + epsilon) * scale + bias`` for each channel."""
    if training_mode:
        raise ValueError("training mode is not supported")
    shape = (-1, *[1] * (x.ndim - 2))
    factor = scale / np.sqrt(variance + epsilon)
    return ((x - mean.reshape(shape)) * factor.reshape(shape) + bias.reshape(shape)).astype(x.dtype)


def normalize(x: np.ndarray, axes: Sequence[int], epsilon: float) -> np.ndarray:
    """``(x - mean) / sqrt(variance + epsilon)`` over some axes, computed in float64."""
    wide = x.astype(np.float64)
    mean = wide.mean(axis=tuple(axes), keepdims=True)
    centred = wide - mean
    variance = np.square(centred).mean(axis=tuple(axes), keepdims=True)
    return centred / np.sqrt(variance + epsilon)


@operator("InstanceNormalization", same_as_first)
def instance_normalization(x: np.ndarray, scale: np.ndarray, bias: np.ndarray, *, epsilon: float = 1e-5) -> np.ndarray:
    """Each channel of each picture normalised over its pixels, then scaled and shifted."""
    shape = (-1, *[1] * (x.ndim - 2))
    y = normalize(x, range(2, x.ndim), epsilon) * scale.reshape(shape) + bias.reshape(shape)
    return y.astype(x.dtype)


@operator("InstanceNormalization", same_as_first, domain=FUSED)
def fused_instance_normalization(
    x: np.ndarray,
    scale: np.ndarray,
    bias: np.ndarray,
    residual: np.ndarray | None = None,
    *,
    epsilon: float = 1e-5,
    activation: str = "",
    activation_parameters: Sequence[float] = (),
    layout: str = "NCHW",
) -> np.ndarray:
    """``act(normalised x * scale + bias + residual)``."""
    last = layout == "NHWC"
    axes = range(1, x.ndim - 1) if last else range(2, x.ndim)
    shape = (-1,) if last else (-1, *[1] * (x.ndim - 2))
    y = (normalize(x, axes, epsilon) * scale.reshape(shape) + bias.reshape(shape)).astype(x.dtype)
    if residual is not None:
        y = y + residual
    return apply_activation(y, activation, activation_parameters)


def _infer_layer_norm(inference: Inference) -> list[TensorType]:
    shape = inference.shape(0)
    if shape is None:
        return [inference.type(0)] * 3
    axis = inference.attribute("axis", -1) % len(shape)
    kept = TensorType(inference.dtype(0), (*shape[:axis], *[1] * (len(shape) - axis)))
    return [inference.type(0), kept, kept]


@operator("LayerNormalization", _infer_layer_norm)
def layer_normalization(
    x: np.ndarray,
    scale: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x normalised over all axes from ``axis`` on; also the mean and the inverse standard deviation."""
    axes = tuple(range(axis % x.ndim, x.ndim))
    y = normalize(x, axes, epsilon) * scale
    if bias is not None:
        y = y + bias
    mean = x.mean(axis=axes, keepdims=True)
    inverse = 1 / np.sqrt(x.var(axis=axes, keepdims=True) + epsilon)
    return y.astype(x.dtype), mean.astype(x.dtype), inverse.astype(x.dtype)


@operator("GroupNormalization", same_as_first)
def group_normalization(
    x: np.ndarray, scale: np.ndarray, bias: np.ndarray, *, num_groups: int, epsilon: float = 1e-5, stash_type: int = 1
) -> np.ndarray:
    """Groups of channels normalised together, then scaled and shifted for each channel."""
    grouped = x.reshape(x.shape[0], num_groups, -1)
    shape = (-1, *[1] * (x.ndim - 2))
    y = normalize(grouped, [2], epsilon).reshape(x.shape) * scale.reshape(shape) + bias.reshape(shape)
    return y.astype(x.dtype)


@operator("LRN", same_as_first)
def lrn(x: np.ndarray, *, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0) -> np.ndarray:
    """Local response normalisation over neighbouring channels."""
    square = np.square(x)
    padded = np.pad(square, [(0, 0), ((size - 1) // 2, size // 2), *[(0, 0)] * (x.ndim - 2)])
    total = sum(padded[:, offset : offset + x.shape[1]] for offset in range(size))
    return (x / (bias + alpha / size * total) ** beta).astype(x.dtype)


for _name in ("BatchNormalization", "LRN"):
    register_channels_last(_name)
