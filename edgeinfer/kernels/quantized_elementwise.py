"""Element-wise operators of 8-bit tensors: sums and products with broadcasting, and functions by table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from edgeinfer.activation_codes import BINARY_CODES
from edgeinfer.kernels.byte_sums import dequantizer, rounded_sum
from edgeinfer.kernels.registry import Simd, kernel_family, struct
from edgeinfer.simd.bytes import byte_vectors
from edgeinfer.simd.pointers import buffer_u8, claim
from edgeinfer.simd.quotient import MOST, division

# As the float kernel's; flips and zero points as in QUANTIZE_PARAMS; low and high bound the integers less y's zero
# point.
QUANTIZED_BINARY_PARAMS = struct(
    "a b y operator size_0 size_1 size_2 size_3 a_0 a_1 a_2 a_3 a_inner b_0 b_1 b_2 b_3 b_inner"
    " inner task_inner inner_tasks rows task_rows tiles a_flip b_flip a_zero_point b_zero_point y_zero_point",
    "a_scale b_scale y_scale low high",
)
TABLE_PARAMS = struct("x y table count task_count tiles")

_MUL = BINARY_CODES["Mul"]


@kernel_family("qu8_binary", QUANTIZED_BINARY_PARAMS)
def qu8_binary(simd: Simd) -> Callable[..., None]:
    """``y = quantize(clamp(dequantize(a) + dequantize(b)))``, or the product; dimensions as in ``f32_binary``."""
    lanes, splat, clamp = simd.lanes, simd.splat, simd.clamp
    octets = byte_vectors(simd)
    divide_by, divide = division(simd).by, division(simd).divide
    several, vector = dequantizer(simd).group, dequantizer(simd).vector
    store, store_first, store_group, group = octets.store, octets.store_first, octets.store_group, octets.group

    @njit(forceinline=True, error_model="numpy")
    def combined(left: Any, right: Any, product: Any, y_scale: Any) -> Any:
        return divide(left * right if product else rounded_sum(left, right), y_scale)

    @njit(forceinline=True, error_model="numpy")
    def operand(x: Any, at: Any, i: Any, inner: Any, count: Any, flip: Any, zero_point: Any, scale: Any) -> Any:
        if inner == 0:
            value = splat(np.float32(x[at] ^ flip))
            return (value - zero_point) * scale
        return vector(x, at + i, count, flip, zero_point, scale)

    def body(p: Any, worker: Any) -> None:
        a, b, y = buffer_u8(worker, p.a), buffer_u8(worker, p.b), buffer_u8(worker, p.y)
        a_factor, b_factor = np.float32(p.a_scale), np.float32(p.b_scale)
        a_scale, b_scale = splat(a_factor), splat(b_factor)
        a_zero, b_zero = splat(np.float32(p.a_zero_point)), splat(np.float32(p.b_zero_point))
        least, most, y_zero, product = np.float32(p.low), np.float32(p.high), p.y_zero_point, p.operator == _MUL
        largest = a_factor * b_factor if product else max(a_factor, b_factor)
        y_scale = divide_by(np.float32(p.y_scale), largest <= MOST)
        low, high, a_flip, b_flip, inner = splat(least), splat(most), p.a_flip, p.b_flip, p.inner
        by_group = p.a_inner != 0 and p.b_inner != 0
        while True:
            task = claim(worker, p.tiles)
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
                whole = start + (stop - start) // group * group if by_group else start
                for i in range(start, whole, group):
                    a_0, a_1, a_2, a_3 = several(a, a_at + i, a_flip, a_zero, a_scale)
                    b_0, b_1, b_2, b_3 = several(b, b_at + i, b_flip, b_zero, b_scale)
                    values = (
                        combined(a_0, b_0, product, y_scale), combined(a_1, b_1, product, y_scale),
                        combined(a_2, b_2, product, y_scale), combined(a_3, b_3, product, y_scale),
                    )  # fmt: skip
                    store_group(y, row * inner + i, values, y_zero, least, most)
                for i in range(whole, stop, lanes):
                    count = stop - i
                    left = operand(a, a_at, i, p.a_inner, count, a_flip, a_zero, a_scale)
                    right = operand(b, b_at, i, p.b_inner, count, b_flip, b_zero, b_scale)
                    value = clamp(combined(left, right, product, y_scale), low, high)
                    if count >= lanes:
                        store(y, row * inner + i, value, y_zero)
                    else:
                        store_first(y, row * inner + i, value, count, y_zero)

    return body


@kernel_family("x8_table", TABLE_PARAMS)
def x8_table(simd: Simd) -> Callable[..., None]:
    """``y = table[x]`` for every byte."""

    def body(p: Any, worker: Any) -> None:
        x, y, table = buffer_u8(worker, p.x), buffer_u8(worker, p.y), buffer_u8(worker, p.table)
        while True:
            task = claim(worker, p.tiles)
            if task >= p.tiles:
                break
            start = task * p.task_count
            for i in range(start, min(p.count, start + p.task_count)):
                y[i] = table[x[i]]

    return body
