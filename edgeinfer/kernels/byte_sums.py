"""Sums of 8-bit tensors that stand for real numbers: ``y = quantize(clamp(dequantize(a) + dequantize(b)))``."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from edgeinfer.kernels.registry import Simd
from edgeinfer.simd.bytes import byte_vectors
from edgeinfer.simd.quotient import MOST, division
from edgeinfer.simd.shared import shared


@dataclass(frozen=True)
class Dequantizer:
    """Compiled functions that read integers as real numbers, ``(x - zero_point) * scale``.

    Attributes:
        group: ``group(x, at, flip, zero_point, scale)``: four vectors; the last two arguments are vectors too.
        vector: ``vector(x, at, count, flip, zero_point, scale)``: one vector, or the first ``count`` numbers of it.
    """

    group: Callable[..., Any]
    vector: Callable[..., Any]


@njit(forceinline=True, error_model="numpy", fastmath=False)
def rounded_sum(a: Any, b: Any) -> Any:
    """``a + b``; LLVM for Arm would fuse an addition that may be contracted with a product that may not."""
    return a + b


@functools.cache
def dequantizer(simd: Simd) -> Dequantizer:
    """The functions of a level; their products are rounded before anything is added to them."""
    octets, lanes = byte_vectors(simd), simd.lanes
    load, load_first, load_group = octets.load, octets.load_first, octets.load_group

    @njit(forceinline=True, error_model="numpy", fastmath=False)
    def group(x: Any, at: Any, flip: Any, zero_point: Any, scale: Any) -> Any:
        a, b, c, d = load_group(x, at, flip)
        return (a - zero_point) * scale, (b - zero_point) * scale, (c - zero_point) * scale, (d - zero_point) * scale

    @njit(forceinline=True, error_model="numpy", fastmath=False)
    def vector(x: Any, at: Any, count: Any, flip: Any, zero_point: Any, scale: Any) -> Any:
        value = load(x, at, flip) if count >= lanes else load_first(x, at, count, flip)
        return (value - zero_point) * scale

    return Dequantizer(group, vector)


@functools.cache
def residual_adder(simd: Simd) -> Callable[..., None]:
    """``add(y, residual, start, rows, row_pitch, columns, pixel_pitch, channels, …)``: a block of pixels, in place.

    The others are flip, zero point and scale of y as it is, of the residual, and zero point, scale and bounds (less
    the zero point) of the sums. Both pictures lie alike in memory, and the block begins at ``start``.
    """
    octets, lanes, splat, clamp = byte_vectors(simd), simd.lanes, simd.splat, simd.clamp
    divide_by, divide = division(simd).by, division(simd).divide
    read_group, read = dequantizer(simd).group, dequantizer(simd).vector
    store, store_first, store_group, group = octets.store, octets.store_first, octets.store_group, octets.group

    @shared
    def add(
        y: Any, residual: Any, start: Any, rows: Any, row_pitch: Any, columns: Any, pixel_pitch: Any, channels: Any,
        own_flip: Any, own_zero_point: Any, own_scale: Any, flip: Any, zero_point: Any, scale: Any,
        sum_zero_point: Any, sum_scale: Any, low: Any, high: Any,
    ) -> None:  # fmt: skip
        own_zero, own_factor = splat(np.float32(own_zero_point)), splat(own_scale)
        zero, factor = splat(np.float32(zero_point)), splat(scale)
        divisor = divide_by(sum_scale, max(own_scale, scale) <= MOST)
        least, most = splat(low), splat(high)
        if channels == pixel_pitch:
            columns, channels = 1, columns * channels
        whole = channels - channels % group
        for row in range(rows):
            for column in range(columns):
                first = start + row * row_pitch + column * pixel_pitch
                for at in range(first, first + whole, group):
                    a, b, c, d = read_group(y, at, own_flip, own_zero, own_factor)
                    e, f, g, h = read_group(residual, at, flip, zero, factor)
                    a, b, c, d = rounded_sum(a, e), rounded_sum(b, f), rounded_sum(c, g), rounded_sum(d, h)
                    sums = divide(a, divisor), divide(b, divisor), divide(c, divisor), divide(d, divisor)
                    store_group(y, at, sums, sum_zero_point, low, high)
                for at in range(first + whole, first + channels, lanes):
                    count = first + channels - at
                    own = read(y, at, count, own_flip, own_zero, own_factor)
                    value = divide(rounded_sum(own, read(residual, at, count, flip, zero, factor)), divisor)
                    value = clamp(value, least, most)
                    if count >= lanes:
                        store(y, at, value, sum_zero_point)
                    else:
                        store_first(y, at, value, count, sum_zero_point)

    return add
