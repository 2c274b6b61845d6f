"""Pooling over windows, channels last: largest element or mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from edgeinfer.kernels.registry import Simd, kernel_family, struct
from edgeinfer.simd.pointers import buffer_f32, claim
from edgeinfer.simd.vectors import maximum

POOL_INTEGERS = (
    "x y height width channels out_height out_width kernel_height kernel_width stride_y stride_x dilation_y dilation_x"
    " pad_top pad_left pad_bottom pad_right count_include_pad average tiles"
)
POOL_PARAMS = struct(POOL_INTEGERS)


@njit(forceinline=True, error_model="numpy")
def first_tap(position: Any, dilation: Any) -> Any:
    """The first tap whose pixel ``position + tap * dilation`` is not before 0."""
    return 0 if position >= 0 else (-position + dilation - 1) // dilation


@njit(forceinline=True, error_model="numpy")
def last_tap(position: Any, dilation: Any, size: Any, taps: Any) -> Any:
    """One beyond the last tap whose pixel is before ``size``."""
    return 0 if position >= size else min(taps, (size - 1 - position) // dilation + 1)


@kernel_family("f32_pool", POOL_PARAMS)
def f32_pool(simd: Simd) -> Callable[..., None]:
    """MaxPool and AveragePool of float32; a tile is one row of output pixels."""
    lanes, load_vector, store_vector = simd.lanes, simd.load, simd.store
    load_first, store_first = simd.load_first, simd.store_first

    @njit(forceinline=True, error_model="numpy")
    def load(x: Any, at: Any, count: Any, p: Any) -> Any:
        return load_vector(x, at) if count >= lanes else load_first(x, at, count)

    @njit(forceinline=True, error_model="numpy")
    def store(y: Any, at: Any, value: Any, count: Any, p: Any) -> None:
        if count >= lanes:
            store_vector(y, at, value)
        else:
            store_first(y, at, value, count)

    return pool_rows(simd, buffer_f32, load, store)


def pool_rows(
    simd: Simd, buffer: Callable[..., Any], load: Callable[..., Any], store: Callable[..., None]
) -> Callable[..., None]:
    """The body of a pooling kernel. Taps in the padding are left out.

    Args:
        simd: the vector operations.
        buffer: gives the pointer of a buffer reference.
        load: ``load(x, at, count, p)``: at most ``count`` elements as a float32 vector.
        store: ``store(y, at, vector, count, p)``: writes at most ``count`` elements.
    """
    lanes, splat = simd.lanes, simd.splat

    @njit(error_model="numpy")
    def pool_pixel(
        y: Any, place: Any, x: Any, start: Any, row_pitch: Any, tap_pitch: Any, channels: Any,
        ky0: Any, ky1: Any, kx0: Any, kx1: Any, p: Any, divisor: Any,
    ) -> None:  # fmt: skip
        average = p.average != 0
        for c in range(0, channels, lanes):
            count = channels - c
            value = splat(np.float32(0)) if average else splat(np.float32(-np.inf))
            for ky in range(ky0, ky1):
                for kx in range(kx0, kx1):
                    at = start + ky * row_pitch + kx * tap_pitch + c
                    pixel = load(x, at, count, p)
                    value = value + pixel if average else maximum(value, pixel)
            if average:
                value = value / splat(divisor)
            store(y, place + c, value, count, p)

    def body(p: Any, worker: Any) -> None:
        x, y = buffer(worker, p.x), buffer(worker, p.y)
        channels = p.channels
        row_pitch, tap_pitch = p.dilation_y * p.width * channels, p.dilation_x * channels
        while True:
            task = claim(worker)
            if task >= p.tiles:
                break
            row = task % p.out_height
            image = task // p.out_height
            top = row * p.stride_y - p.pad_top
            ky0 = first_tap(top, p.dilation_y)
            ky1 = last_tap(top, p.dilation_y, p.height, p.kernel_height)
            padded_rows = last_tap(top, p.dilation_y, p.height + p.pad_bottom, p.kernel_height)
            for column in range(p.out_width):
                left = column * p.stride_x - p.pad_left
                kx0 = first_tap(left, p.dilation_x)
                kx1 = last_tap(left, p.dilation_x, p.width, p.kernel_width)
                counted = (ky1 - ky0) * (kx1 - kx0)
                if p.count_include_pad:
                    counted = padded_rows * last_tap(left, p.dilation_x, p.width + p.pad_right, p.kernel_width)
                start = ((image * p.height + top) * p.width + left) * channels
                place = (task * p.out_width + column) * channels
                pool_pixel(
                    y, place, x, start, row_pitch, tap_pitch, channels, ky0, ky1, kx0, kx1, p, np.float32(counted),
                )  # fmt: skip

    return body
