"""Pooling over windows, channels last: largest element or mean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from edgeinfer.kernels.registry import Simd, kernel_family, struct
from edgeinfer.simd.pointers import claim
from edgeinfer.simd.vectors import maximum, widen

POOL_INTEGERS = (
    "x y height width channels out_height out_width kernel_height kernel_width stride_y stride_x dilation_y dilation_x"
    " pad_top pad_left pad_bottom pad_right count_include_pad average flip tiles"
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


@kernel_family("f32_pool", POOL_PARAMS, float16=True)
def f32_pool(simd: Simd) -> Callable[..., None]:
    """MaxPool and AveragePool of float32 or float16; a tile is one row of output pixels."""
    lanes, load_vector, first_elements, splat = simd.lanes, simd.load, simd.load_first, simd.wide.splat
    store_vector, store_first, narrow = simd.store, simd.store_first, simd.narrow

    @njit(forceinline=True, error_model="numpy")
    def load(x: Any, at: Any, count: Any, flip: Any) -> Any:
        return widen(load_vector(x, at))

    @njit(forceinline=True, error_model="numpy")
    def load_first(x: Any, at: Any, count: Any, flip: Any) -> Any:
        return widen(first_elements(x, at, count))

    @njit(forceinline=True, error_model="numpy")
    def store(y: Any, at: Any, value: Any, count: Any, p: Any, taps: Any, divisor: Any) -> None:
        if p.average != 0:
            value = value / splat(np.float32(divisor))
        if count >= lanes:
            store_vector(y, at, narrow(value))
        else:
            store_first(y, at, narrow(value), count)

    whole_maxima = _nine_maxima(simd, load, maximum, store)
    return pool_rows(simd, PoolArithmetic(simd.buffer, load, load_first, maximum, store, whole_maxima))


@dataclass(frozen=True)
class PoolArithmetic:
    """What a number format brings along: compiled functions.

    Attributes:
        buffer: gives the pointer of a buffer reference.
        load: ``load(x, at, count, flip)``: a vector as float32; ``flip`` as in ``ByteVectors``.
        load_first: the same for ``count`` elements, fewer than a vector.
        larger: ``larger(a, b)``.
        store: ``store(y, at, vector, count, p, taps, divisor)``: writes at most ``count`` maxima, or sums of ``taps``
            pixels as averages over ``divisor``.
        whole_maxima: ``whole_maxima(y, place, x, start, row_pitch, tap_pitch, channels, rows, columns, p)``: writes the
            largest elements of a window for whole vectors of channels, where there is a quicker way than the others,
            and returns how many channels these are.
    """

    buffer: Callable[..., Any]
    load: Callable[..., Any]
    load_first: Callable[..., Any]
    larger: Callable[..., Any]
    store: Callable[..., None]
    whole_maxima: Callable[..., Any]


def _window(load: Callable[..., Any], combine: Callable[..., Any]) -> Callable[..., Any]:
    """``run(value, x, start, row_pitch, tap_pitch, rows, columns, count, flip)``: all pixels of a window combined."""

    @njit(forceinline=True, error_model="numpy")
    def run(
        value: Any, x: Any, start: Any, row_pitch: Any, tap_pitch: Any, rows: Any, columns: Any, count: Any, flip: Any
    ) -> Any:
        for row in range(rows):
            for column in range(columns):
                value = combine(value, load(x, start + row * row_pitch + column * tap_pitch, count, flip))
        return value

    return run


def _nine_maxima(simd: Simd, load: Callable[..., Any], larger: Callable[..., Any], store: Callable[..., None]) -> Any:
    """A ``whole_maxima`` for windows of 3x3 pixels, without loops over them."""
    lanes, splat = simd.lanes, simd.wide.splat

    @njit(forceinline=True, error_model="numpy")
    def three(value: Any, x: Any, at: Any, tap_pitch: Any) -> Any:
        value = larger(value, load(x, at, lanes, 0))
        value = larger(value, load(x, at + tap_pitch, lanes, 0))
        return larger(value, load(x, at + 2 * tap_pitch, lanes, 0))

    @njit(error_model="numpy")
    def whole_maxima(
        y: Any, place: Any, x: Any, start: Any, row_pitch: Any, tap_pitch: Any, channels: Any, rows: Any, columns: Any,
        p: Any,
    ) -> Any:  # fmt: skip
        if rows != 3 or columns != 3:
            return 0
        whole = channels // lanes * lanes
        for c in range(0, whole, lanes):
            value = three(splat(np.float32(-np.inf)), x, start + c, tap_pitch)
            value = three(value, x, start + c + row_pitch, tap_pitch)
            value = three(value, x, start + c + 2 * row_pitch, tap_pitch)
            store(y, place + c, value, lanes, p, 9, 1)
        return whole

    return whole_maxima


@njit(forceinline=True, error_model="numpy")
def _add(a: Any, b: Any) -> Any:
    return a + b


def pool_rows(simd: Simd, arithmetic: PoolArithmetic) -> Callable[..., None]:
    """The body of a pooling kernel. Taps in the padding are left out."""
    lanes, splat, buffer, store = simd.lanes, simd.wide.splat, arithmetic.buffer, arithmetic.store
    sums, sums_first = _window(arithmetic.load, _add), _window(arithmetic.load_first, _add)
    maxima, maxima_first = (
        _window(arithmetic.load, arithmetic.larger),
        _window(arithmetic.load_first, arithmetic.larger),
    )

    whole_maxima = arithmetic.whole_maxima

    @njit(error_model="numpy")
    def pool_pixel(
        y: Any, place: Any, x: Any, start: Any, row_pitch: Any, tap_pitch: Any, channels: Any, rows: Any, columns: Any,
        p: Any, divisor: Any,
    ) -> None:  # fmt: skip
        average, flip = p.average != 0, p.flip
        value = splat(np.float32(0)) if average else splat(np.float32(-np.inf))
        whole = 0
        if not average:
            whole = whole_maxima(y, place, x, start, row_pitch, tap_pitch, channels, rows, columns, p)
        for c in range(whole, channels, lanes):
            count, at = channels - c, start + c
            if count >= lanes:
                if average:
                    result = sums(value, x, at, row_pitch, tap_pitch, rows, columns, count, flip)
                else:
                    result = maxima(value, x, at, row_pitch, tap_pitch, rows, columns, count, flip)
            elif average:
                result = sums_first(value, x, at, row_pitch, tap_pitch, rows, columns, count, flip)
            else:
                result = maxima_first(value, x, at, row_pitch, tap_pitch, rows, columns, count, flip)
            store(y, place + c, result, count, p, rows * columns, divisor)

    def body(p: Any, worker: Any) -> None:
        x, y = buffer(worker, p.x), buffer(worker, p.y)
        channels = p.channels
        row_pitch, tap_pitch = p.dilation_y * p.width * channels, p.dilation_x * channels
        while True:
            task = claim(worker, p.tiles)
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
                divisor = (ky1 - ky0) * (kx1 - kx0)
                if p.count_include_pad:
                    divisor = padded_rows * last_tap(left, p.dilation_x, p.width + p.pad_right, p.kernel_width)
                first = ((image * p.height + top + ky0 * p.dilation_y) * p.width + left + kx0 * p.dilation_x) * channels
                place = (task * p.out_width + column) * channels
                pool_pixel(
                    y, place, x, first, row_pitch, tap_pitch, channels, ky1 - ky0, kx1 - kx0, p, divisor,
                )  # fmt: skip

    return body
