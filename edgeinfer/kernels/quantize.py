"""float32 to 8 bits and back (ONNX QuantizeLinear, DequantizeLinear), one scale for all elements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from edgeinfer.kernels.registry import Simd, kernel_family, struct
from edgeinfer.simd.bytes import byte_vectors
from edgeinfer.simd.pointers import buffer_f32, buffer_u8, claim
from edgeinfer.simd.quotient import MOST_DIVIDED, division
from edgeinfer.simd.vectors import select

# flip: 128 for signed bytes, whose zero point is then 128 larger; low, high: bounds less the zero point
QUANTIZE_PARAMS = struct("x y count task_count tiles flip zero_point", "scale low high")


@kernel_family("f32_quantize", QUANTIZE_PARAMS)
def f32_quantize(simd: Simd) -> Callable[..., None]:
    """``y = min(max(round(x / scale), low), high) + zero_point``; NaN becomes the lowest value."""
    lanes, load, load_first, splat = simd.lanes, simd.load, simd.load_first, simd.splat
    octets = byte_vectors(simd)
    store_bytes, store_first_bytes = octets.store, octets.store_first
    store_group, group = octets.store_group, octets.group
    divide_by, divide = division(simd).by, division(simd).divide

    @njit(forceinline=True, error_model="numpy")
    def scaled(value: Any, scale: Any) -> Any:
        """Quotients; where they are made by multiplication, numbers beyond every byte stay so, and NaN is the least."""
        if scale[3]:
            value = select(value > splat(-MOST_DIVIDED), value, splat(-MOST_DIVIDED))
            value = select(value < splat(MOST_DIVIDED), value, splat(MOST_DIVIDED))
        return divide(value, scale)

    def body(p: Any, worker: Any) -> None:
        x, y = buffer_f32(worker, p.x), buffer_u8(worker, p.y)
        least, most, zero_point = np.float32(p.low), np.float32(p.high), p.zero_point
        scale, low, high = divide_by(np.float32(p.scale), True), splat(least), splat(most)
        while True:
            task = claim(worker, p.tiles)
            if task >= p.tiles:
                break
            start = task * p.task_count
            stop = min(p.count, start + p.task_count)
            whole = start + (stop - start) // group * group
            for i in range(start, whole, group):
                a, b = scaled(load(x, i), scale), scaled(load(x, i + lanes), scale)
                c, d = scaled(load(x, i + 2 * lanes), scale), scaled(load(x, i + 3 * lanes), scale)
                a, b = select(a > low, a, low), select(b > low, b, low)
                c, d = select(c > low, c, low), select(d > low, d, low)
                store_group(y, i, (a, b, c, d), zero_point, least, most)
            for i in range(whole, stop, lanes):
                count = stop - i
                value = load(x, i) if count >= lanes else load_first(x, i, count)
                value = scaled(value, scale)
                value = select(value > low, value, low)
                value = select(value < high, value, high)
                if count >= lanes:
                    store_bytes(y, i, value, zero_point)
                else:
                    store_first_bytes(y, i, value, count, zero_point)

    return body


@kernel_family("f32_dequantize", QUANTIZE_PARAMS)
def f32_dequantize(simd: Simd) -> Callable[..., None]:
    """``y = (x - zero_point) * scale``."""
    lanes, store, store_first, splat = simd.lanes, simd.store, simd.store_first, simd.splat
    octets = byte_vectors(simd)
    load_bytes, load_first_bytes = octets.load, octets.load_first

    def body(p: Any, worker: Any) -> None:
        x, y = buffer_u8(worker, p.x), buffer_f32(worker, p.y)
        scale, zero_point = splat(np.float32(p.scale)), splat(np.float32(p.zero_point))
        while True:
            task = claim(worker, p.tiles)
            if task >= p.tiles:
                break
            start = task * p.task_count
            stop = min(p.count, start + p.task_count)
            for i in range(start, stop, lanes):
                count = stop - i
                value = load_bytes(x, i, p.flip) if count >= lanes else load_first_bytes(x, i, count, p.flip)
                value = (value - zero_point) * scale
                if count >= lanes:
                    store(y, i, value)
                else:
                    store_first(y, i, value, count)

    return body
