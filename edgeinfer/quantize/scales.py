"""Scales and zero points: activations as uint8 with both, weights as int8 around 0 with a scale for each channel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeinfer.quantize.ranges import Range

# Below, scales are 1: products of two scales stay normal float32 numbers, and a range of 0 has a scale.
SMALLEST_SCALE = 1e-18
_LARGEST_BIAS = 2**30


@dataclass(frozen=True)
class Scale:
    """How integers stand for numbers: ``number = (integer - zero_point) * scale``.

    Attributes:
        scale: float32 scalar.
        zero_point: uint8 scalar.
    """

    scale: np.ndarray
    zero_point: np.ndarray


def activation_scale(bounds: Range) -> Scale:
    """Scale and zero point of uint8 that covers a range which holds 0."""
    low, high = bounds
    scale = np.float32((high - low) / 255 if high - low > SMALLEST_SCALE else 1.0)
    zero_point = np.clip(np.rint(-low / float(scale)), 0, 255)
    return Scale(np.array(scale), np.array(zero_point, np.uint8))


def weight_scales(weight: np.ndarray, axis: int) -> np.ndarray:
    """Scales of weights, float32, one for each index of ``axis`` (output channels)."""
    reach = np.abs(np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)).max(axis=1, initial=0)
    scale = reach.astype(np.float64) / 127
    return np.where(scale > SMALLEST_SCALE, scale, 1.0).astype(np.float32)


def scales_for_bias(bias: np.ndarray, input_scale: float, depth: int) -> np.ndarray:
    """The least scales of weights with which a bias fits, in units of input scale times weight scale.

    It may then be eight times as large as all products of bytes together, and never beyond int32.
    """
    most = min(_LARGEST_BIAS, depth * 2**18)
    return np.abs(bias.astype(np.float64)) / (input_scale * most)


def along(scale: np.ndarray, axis: int, rank: int) -> np.ndarray:
    """Scales in a shape that broadcasts along an axis of weights."""
    return scale.reshape([-1 if place == axis else 1 for place in range(rank)])


def quantized_weight(weight: np.ndarray, scale: np.ndarray, axis: int) -> np.ndarray:
    """Weights as int8 with scales along an axis, each rounded by itself."""
    return np.clip(np.rint(weight / along(scale, axis, weight.ndim)), -127, 127).astype(np.int8)


def dequantized_weight(integers: np.ndarray, scale: np.ndarray, axis: int) -> np.ndarray:
    """What integers with scales along an axis stand for, float64."""
    return integers * along(scale.astype(np.float64), axis, integers.ndim)
