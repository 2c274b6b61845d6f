"""Picking elements by a table of source indices for each axis: padding, gathering, tiling, nearest resizing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from edgeinfer.kernels.patch import copy_bytes, copy_floats, fill_floats
from edgeinfer.kernels.registry import Simd, kernel_family, struct
from edgeinfer.simd.pointers import buffer_f16, buffer_f32, buffer_i32, buffer_u8, claim

INDEX_PARAMS = struct(
    "x y table_0 table_1 table_2 table_3 table_4 size_0 size_1 size_2 size_3 size_4 x_0 x_1 x_2 x_3 x_4"
    " run task_rows rows tiles",
    "value",
)


@kernel_family("f32_index", INDEX_PARAMS)
def f32_index(simd: Simd) -> Callable[..., None]:
    """Picking elements of four bytes."""
    fill_vectors, splat = fill_floats(simd), simd.splat

    @njit(forceinline=True, error_model="numpy")
    def fill(y: Any, index: Any, value: Any, count: Any) -> None:
        fill_vectors(y, index, splat(value), count)

    return _index(buffer_f32, np.float32, copy_floats(simd), fill)


@kernel_family("x16_index", INDEX_PARAMS, numbers="f16")
def x16_index(simd: Simd) -> Callable[..., None]:
    """Picking elements of two bytes; ``value`` is the integer of their bits."""
    return _index(buffer_f16, np.uint16, copy_floats(simd), _fill)


@kernel_family("x8_index", INDEX_PARAMS)
def x8_index(simd: Simd) -> Callable[..., None]:
    """Picking bytes."""
    return _index(buffer_u8, np.uint8, copy_bytes(simd), _fill)


@njit(error_model="numpy")
def _fill(y: Any, index: Any, value: Any, count: Any) -> None:
    for i in range(count):
        y[index + i] = value


def _index(
    buffer: Callable[..., Any], element: type, copy: Callable[..., None], fill: Callable[..., None]
) -> Callable[..., None]:
    """``y[i0, …, i4, r] = x[table_0[i0], …, table_4[i4], r]``, or a value where a table says -1.

    ``r`` counts a run of ``run`` neighbouring elements; ``x_i`` are elements from index to index of axis i.
    """

    @njit(error_model="numpy")
    def scalars(y: Any, place: Any, x: Any, base: Any, table: Any, size: Any, pitch: Any, value: Any) -> None:
        for i in range(size):
            index = table[i]
            y[place + i] = value if index < 0 else x[base + index * pitch]

    def body(p: Any, worker: Any) -> None:
        x, y = buffer(worker, p.x), buffer(worker, p.y)
        table_0, table_1, table_2, table_3, table_4 = (
            buffer_i32(worker, p.table_0), buffer_i32(worker, p.table_1), buffer_i32(worker, p.table_2),
            buffer_i32(worker, p.table_3), buffer_i32(worker, p.table_4),
        )  # fmt: skip
        value = element(p.value)
        while True:
            task = claim(worker, p.tiles)
            if task >= p.tiles:
                break
            first = task * p.task_rows
            for row in range(first, min(p.rows, first + p.task_rows)):
                rest = row
                i3 = table_3[rest % p.size_3]
                rest //= p.size_3
                i2 = table_2[rest % p.size_2]
                rest //= p.size_2
                i1 = table_1[rest % p.size_1]
                i0 = table_0[rest // p.size_1]
                place = row * p.size_4 * p.run
                if min(min(i0, i1), min(i2, i3)) < 0:
                    fill(y, place, value, p.size_4 * p.run)
                    continue
                base = i0 * p.x_0 + i1 * p.x_1 + i2 * p.x_2 + i3 * p.x_3
                if p.run == 1:
                    scalars(y, place, x, base, table_4, p.size_4, p.x_4, value)
                    continue
                for i in range(p.size_4):
                    index = table_4[i]
                    if index < 0:
                        fill(y, place + i * p.run, value, p.run)
                    else:
                        copy(y, place + i * p.run, x, base + index * p.x_4, p.run)

    return body
