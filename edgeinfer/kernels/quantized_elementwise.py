"""Element-wise operators of 8-bit tensors: sums and products with broadcasting, and functions by table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from edgeinfer.activation_codes import BINARY_CODES
from edgeinfer.kernels.registry import Simd, kernel_family, struct
from edgeinfer.simd.bytes import byte_vectors
from edgeinfer.simd.pointers import buffer_u8, claim
from edgeinfer.simd.vectors import clamp

# As the float kernel's; flips and zero points as in QUANTIZE_PARAMS; low and high bound the integers less y's zero
# point, least and most the numbers before they are divided by y_scale.
QUANTIZED_BINARY_PARAMS = struct(
    "a b y operator size_0 size_1 size_2 size_3 a_0 a_1 a_2 a_3 a_inner b_0 b_1 b_2 b_3 b_inner"
    " inner task_inner inner_tasks rows task_rows tiles a_flip b_flip a_zero_point b_zero_point y_zero_point",
    "a_scale b_scale y_scale low high least most",
)
TABLE_PARAMS = struct("x y table count task_count tiles")

_MUL = BINARY_CODES["Mul"]


@kernel_family("qu8_binary", QUANTIZED_BINARY_PARAMS)
def qu8_binary(simd: Simd) -> Callable[..., None]:
    """``y = quantize(clamp(dequantize(a) + dequantize(b)))``, or the product; dimensions as in ``f32_binary``."""
    lanes, splat = simd.lanes, simd.splat
    octets = byte_vectors(simd)
    load, load_first, store, store_first = octets.load, octets.load_first, octets.store, octets.store_first

    @njit(forceinline=True, error_model="numpy")
    def operand(x: Any, at: Any, i: Any, inner: Any, count: Any, flip: Any, zero_point: Any, scale: Any) -> Any:
        if inner == 0:
            value = splat(np.float32(x[at] ^ flip))
        elif count >= lanes:
            value = load(x, at + i, flip)
        else:
            value = load_first(x, at + i, count, flip)
        return (value - zero_point) * scale

    def body(p: Any, worker: Any) -> None:
        a, b, y = buffer_u8(worker, p.a), buffer_u8(worker, p.b), buffer_u8(worker, p.y)
        a_scale, b_scale, y_scale = (
            splat(np.float32(p.a_scale)), splat(np.float32(p.b_scale)), splat(np.float32(p.y_scale)),
        )  # fmt: skip
        a_zero, b_zero = splat(np.float32(p.a_zero_point)), splat(np.float32(p.b_zero_point))
        low, high = splat(np.float32(p.low)), splat(np.float32(p.high))
        least, most = splat(np.float32(p.least)), splat(np.float32(p.most))
        while True:
            task = claim(worker)
            if task >= p.tiles:
                break
            start = task % p.inner_tasks * p.task_inner
            stop = min(p.inner, start + p.task_inner)
            first_row = task // p.inner_tasks * p.task_rows
            for row in range(first_row, min(p.rows, first_row + p.task_rows)):
                i3 = row % p.size_3
                rest = row // p.size_3
                i2 = rest % p.size_2
                rest //= p.size_2
                i1 = rest % p.size_1
                i0 = rest // p.size_1
                a_at = i0 * p.a_0 + i1 * p.a_1 + i2 * p.a_2 + i3 * p.a_3
                b_at = i0 * p.b_0 + i1 * p.b_1 + i2 * p.b_2 + i3 * p.b_3
                for i in range(start, stop, lanes):
                    count = stop - i
                    left = operand(a, a_at, i, p.a_inner, count, p.a_flip, a_zero, a_scale)
                    right = operand(b, b_at, i, p.b_inner, count, p.b_flip, b_zero, b_scale)
                    value = left * right if p.operator == _MUL else left + right
                    value = clamp(clamp(value, least, most) / y_scale, low, high)
                    if count >= lanes:
                        store(y, row * p.inner + i, value, p.y_zero_point)
                    else:
                        store_first(y, row * p.inner + i, value, count, p.y_zero_point)

    return body


@kernel_family("x8_table", TABLE_PARAMS)
def x8_table(simd: Simd) -> Callable[..., None]:
    """``y = table[x]`` for every byte."""

    def body(p: Any, worker: Any) -> None:
        x, y, table = buffer_u8(worker, p.x), buffer_u8(worker, p.y), buffer_u8(worker, p.table)
        while True:
            task = claim(worker)
            if task >= p.tiles:
                break
            start = task * p.task_count
            for i in range(start, min(p.count, start + p.task_count)):
                y[i] = table[x[i]]

    return body
