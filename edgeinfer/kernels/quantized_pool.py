"""Pooling of 8-bit pictures, channels last."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from edgeinfer.kernels.pool import POOL_INTEGERS, PoolArithmetic, pool_rows
from edgeinfer.kernels.registry import Simd, kernel_family, struct
from edgeinfer.simd.bytes import byte_vectors
from edgeinfer.simd.pointers import buffer_u8, claim
from edgeinfer.simd.vectors import select, vector_floor

# Flip, zero points and bounds as in QUANTIZE_PARAMS.
QUANTIZED_POOL_PARAMS = struct(f"{POOL_INTEGERS} x_zero_point y_zero_point", "x_scale y_scale low high")
GLOBAL_POOL_PARAMS = struct("x y pixels channels flip x_zero_point y_zero_point tiles", "factor low high")


@kernel_family("qu8_pool", QUANTIZED_POOL_PARAMS)
def qu8_pool(simd: Simd) -> Callable[..., None]:
    """MaxPool of bytes and AveragePool of the numbers that they stand for; a tile is one row of output pixels."""
    lanes, splat, clamp = simd.lanes, simd.splat, simd.clamp
    octets = byte_vectors(simd)
    load_bytes, load_first, store_bytes, store_first = octets.load, octets.load_first, octets.store, octets.store_first

    @njit(forceinline=True, error_model="numpy")
    def load(x: Any, at: Any, count: Any, flip: Any) -> Any:
        return load_bytes(x, at, flip)

    @njit(forceinline=True, error_model="numpy")
    def larger(a: Any, b: Any) -> Any:
        return select(a > b, a, b)

    @njit(forceinline=True, error_model="numpy")
    def store(y: Any, at: Any, value: Any, count: Any, p: Any, taps: Any, divisor: Any) -> None:
        if p.average != 0:
            factor = np.float32(p.x_scale) / (np.float32(p.y_scale) * np.float32(divisor))
            value = (value - splat(np.float32(taps * p.x_zero_point))) * splat(factor)
            value = clamp(value, splat(np.float32(p.low)), splat(np.float32(p.high)))
        if count >= lanes:
            store_bytes(y, at, value, p.y_zero_point)
        else:
            store_first(y, at, value, count, p.y_zero_point)

    load_octets, larger_octets, store_octets = octets.load_octets, octets.larger_octets, octets.store_octets
    group = octets.group

    @njit(error_model="numpy")
    def whole_maxima(
        y: Any, place: Any, x: Any, start: Any, row_pitch: Any, tap_pitch: Any, channels: Any, rows: Any, columns: Any,
        p: Any,
    ) -> Any:  # fmt: skip
        flip, zero_point = p.flip, p.y_zero_point
        whole = channels // group * group if rows > 0 and columns > 0 else 0
        for c in range(0, whole, group):
            value = load_octets(x, start + c, flip)
            for row in range(rows):
                for column in range(columns):
                    at = start + c + row * row_pitch + column * tap_pitch
                    value = larger_octets(value, load_octets(x, at, flip))
            store_octets(y, place + c, value, zero_point)
        return whole

    return pool_rows(simd, PoolArithmetic(buffer_u8, load, load_first, larger, store, whole_maxima))


# float32 counts whole numbers up to 2**24. The sum of a block is one; multiples of 2**12 and what is left of them are
# added apart, so that those sums are whole numbers of 24 bits too, and only the last addition rounds.
_BLOCK = 1 << 16
_FINE, _FINE_INVERSE = np.float32(1 << 12), np.float32(2.0**-12)


@kernel_family("qu8_global_average_pool", GLOBAL_POOL_PARAMS)
def qu8_global_average_pool(simd: Simd) -> Callable[..., None]:
    """``y = round((sum(x) - pixels * x_zero_point) * factor) + y_zero_point``; a tile is one image's vector."""
    lanes, splat, clamp = simd.lanes, simd.splat, simd.clamp
    octets = byte_vectors(simd)
    load, load_first, store, store_first = octets.load, octets.load_first, octets.store, octets.store_first

    @njit(forceinline=True, error_model="numpy")
    def read(x: Any, at: Any, count: Any, flip: Any) -> Any:
        return load(x, at, flip) if count >= lanes else load_first(x, at, count, flip)

    def body(p: Any, worker: Any) -> None:
        x, y, channels = buffer_u8(worker, p.x), buffer_u8(worker, p.y), p.channels
        vectors = (channels + lanes - 1) // lanes
        low, high, factor = splat(np.float32(p.low)), splat(np.float32(p.high)), splat(np.float32(p.factor))
        while True:
            task = claim(worker, p.tiles)
            if task >= p.tiles:
                break
            c = task % vectors * lanes
            image = task // vectors
            count = channels - c
            coarse, fine = splat(np.float32(0)), splat(np.float32(0))
            for first in range(0, p.pixels, _BLOCK):
                stop = min(p.pixels, first + _BLOCK)
                total = splat(np.float32((first - stop) * p.x_zero_point))
                for pixel in range(first, stop):
                    total = total + read(x, (image * p.pixels + pixel) * channels + c, count, p.flip)
                rest = total - vector_floor(total * splat(_FINE_INVERSE)) * splat(_FINE)
                coarse, fine = coarse + (total - rest), fine + rest
            value = clamp((coarse + fine) * factor, low, high)
            if count >= lanes:
                store(y, image * channels + c, value, p.y_zero_point)
            else:
                store_first(y, image * channels + c, value, count, p.y_zero_point)

    return body
