"""Normalisation over the pixels of each channel that reads or writes 8-bit pictures.

Statistics are those of the bytes themselves: scale and zero point drop out of a normalised picture but for epsilon,
which the planner divides by x_scale squared.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from edgeinfer.kernels.instance_norm import (
    SCALE_SHIFT_PARAMS,
    STATISTICS_PARAMS,
    Elements,
    channel_statistics,
    float_elements,
    scale_shift,
)
from edgeinfer.kernels.registry import Simd, kernel_family
from edgeinfer.simd.bytes import byte_vectors
from edgeinfer.simd.pointers import buffer_u8
from edgeinfer.simd.vectors import fma


@kernel_family("qu8_channel_statistics", STATISTICS_PARAMS)
def qu8_channel_statistics(simd: Simd) -> Callable[..., None]:
    """Statistics of 8-bit pictures, as of unsigned bytes."""
    lanes, octets = simd.lanes, byte_vectors(simd)
    load, load_first = octets.load, octets.load_first

    @njit(forceinline=True, error_model="numpy")
    def read(x: Any, index: Any, count: Any, flip: Any) -> Any:
        return load(x, index, flip) if count >= lanes else load_first(x, index, count, flip)

    return channel_statistics(simd, buffer_u8, read, 1)


@kernel_family("qu8_scale_shift", SCALE_SHIFT_PARAMS)
def qu8_scale_shift(simd: Simd) -> Callable[..., None]:
    """``y = quantize(act(x * scale + shift + residual))`` of 8-bit pictures, with a float32 residual."""
    return scale_shift(simd, _bytes(simd), float_elements(simd), _quantizing(simd))


@kernel_family("qu8_scale_shift_bytes", SCALE_SHIFT_PARAMS)
def qu8_scale_shift_bytes(simd: Simd) -> Callable[..., None]:
    """``y = quantize(act(x * scale + shift + residual))`` of 8-bit pictures, with an 8-bit residual."""
    return scale_shift(simd, _bytes(simd), _residual_bytes(simd), _quantizing(simd))


@kernel_family("f32_qu8_scale_shift", SCALE_SHIFT_PARAMS)
def f32_qu8_scale_shift(simd: Simd) -> Callable[..., None]:
    """``y = quantize(act(x * scale + shift + residual))`` of float32 pictures, with a float32 residual."""
    return scale_shift(simd, float_elements(simd), float_elements(simd), _quantizing(simd))


@kernel_family("f32_qu8_scale_shift_bytes", SCALE_SHIFT_PARAMS)
def f32_qu8_scale_shift_bytes(simd: Simd) -> Callable[..., None]:
    """``y = quantize(act(x * scale + shift + residual))`` of float32 pictures, with an 8-bit residual."""
    return scale_shift(simd, float_elements(simd), _residual_bytes(simd), _quantizing(simd))


def _bytes(simd: Simd) -> Elements:
    octets = byte_vectors(simd)
    load_bytes, load_first_bytes = octets.load, octets.load_first

    @njit(forceinline=True, error_model="numpy")
    def load(x: Any, index: Any, p: Any) -> Any:
        return load_bytes(x, index, p.flip)

    @njit(forceinline=True, error_model="numpy")
    def load_first(x: Any, index: Any, count: Any, p: Any) -> Any:
        return load_first_bytes(x, index, count, p.flip)

    return Elements(buffer_u8, load, load_first)


def _residual_bytes(simd: Simd) -> Elements:
    octets, splat = byte_vectors(simd), simd.splat
    load_bytes, load_first_bytes = octets.load, octets.load_first

    @njit(forceinline=True, error_model="numpy")
    def scaled(value: Any, p: Any) -> Any:
        return fma(value, splat(np.float32(p.residual_scale)), splat(np.float32(p.residual_zero)))

    @njit(forceinline=True, error_model="numpy")
    def load(x: Any, index: Any, p: Any) -> Any:
        return scaled(load_bytes(x, index, p.residual_flip), p)

    @njit(forceinline=True, error_model="numpy")
    def load_first(x: Any, index: Any, count: Any, p: Any) -> Any:
        return scaled(load_first_bytes(x, index, count, p.residual_flip), p)

    return Elements(buffer_u8, load, load_first)


def _quantizing(simd: Simd) -> Elements:
    octets, splat, clamp = byte_vectors(simd), simd.splat, simd.clamp
    store_bytes, store_first_bytes = octets.store, octets.store_first

    @njit(forceinline=True, error_model="numpy")
    def scaled(value: Any, p: Any) -> Any:
        return clamp(value / splat(np.float32(p.y_scale)), splat(np.float32(p.y_low)), splat(np.float32(p.y_high)))

    @njit(forceinline=True, error_model="numpy")
    def store(y: Any, index: Any, value: Any, p: Any) -> None:
        store_bytes(y, index, scaled(value, p), p.y_zero_point)

    @njit(forceinline=True, error_model="numpy")
    def store_first(y: Any, index: Any, value: Any, count: Any, p: Any) -> None:
        store_first_bytes(y, index, scaled(value, p), count, p.y_zero_point)

    return Elements(buffer_u8, store, store_first)
