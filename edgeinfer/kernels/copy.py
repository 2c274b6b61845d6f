"""Moving elements of four bytes, two or one: strided copies of up to six dimensions, and transposes of matrices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from edgeinfer.kernels.patch import copy_bytes, copy_floats
from edgeinfer.kernels.registry import Simd, kernel_family, struct
from edgeinfer.simd.pointers import buffer_f16, buffer_i32, buffer_u8, claim

COPY_PARAMS = struct(
    "x y x_start y_start size_0 size_1 size_2 size_3 size_4 size_5"
    " x_0 x_1 x_2 x_3 x_4 x_5 y_0 y_1 y_2 y_3 y_4 y_5 task_rows rows tiles"
)
# A task is a run of columns of one matrix; of rows where there are FEW columns at most, and more rows.
TRANSPOSE_PARAMS = struct("x y batch rows columns task_run run_tasks tiles")
FEW = 4


@kernel_family("x32_copy", COPY_PARAMS, float16=True)
def x32_copy(simd: Simd) -> Callable[..., None]:
    """Copy a box of elements of four bytes, or two, between two strided tensors."""
    copy, buffer = copy_floats(simd), simd.buffer

    @njit(forceinline=True, error_model="numpy")
    def copy_run(worker: Any, p: Any, y_at: Any, x_at: Any, count: Any) -> None:
        copy(buffer(worker, p.y), y_at, buffer(worker, p.x), x_at, count)

    return _copy(_integers(simd), copy_run)


def _integers(simd: Simd) -> Callable[..., Any]:
    """The buffer of elements of a format as integers, which scalars are moved as."""
    return buffer_f16 if simd.numbers == "f16" else buffer_i32


@kernel_family("x8_copy", COPY_PARAMS)
def x8_copy(simd: Simd) -> Callable[..., None]:
    """Copy a box of bytes between two strided tensors."""
    copy = copy_bytes(simd)

    @njit(forceinline=True, error_model="numpy")
    def copy_run(worker: Any, p: Any, y_at: Any, x_at: Any, count: Any) -> None:
        copy(buffer_u8(worker, p.y), y_at, buffer_u8(worker, p.x), x_at, count)

    return _copy(buffer_u8, copy_run)


def _copy(buffer: Callable[..., Any], copy_run: Callable[..., None]) -> Callable[..., None]:
    """Copy a box of ``size_0 … size_5`` elements.

    ``x_i`` and ``y_i`` are elements from one index of dimension i to the next, also 0 or negative; a row is the
    last dimension, a task is ``task_rows`` rows. ``copy_run(worker, p, y_at, x_at, count)`` copies neighbours.
    """

    @njit(error_model="numpy")
    def copy_row(y: Any, y_at: Any, y_step: Any, x: Any, x_at: Any, x_step: Any, count: Any) -> None:
        for i in range(count):
            y[y_at + i * y_step] = x[x_at + i * x_step]

    def body(p: Any, worker: Any) -> None:
        x, y = buffer(worker, p.x), buffer(worker, p.y)
        contiguous = p.x_5 == 1 and p.y_5 == 1
        while True:
            task = claim(worker, p.tiles)
            if task >= p.tiles:
                break
            first = task * p.task_rows
            i4 = first % p.size_4
            rest = first // p.size_4
            i3 = rest % p.size_3
            rest //= p.size_3
            i2 = rest % p.size_2
            rest //= p.size_2
            i1 = rest % p.size_1
            i0 = rest // p.size_1
            for _ in range(first, min(p.rows, first + p.task_rows)):
                x_at = p.x_start + i0 * p.x_0 + i1 * p.x_1 + i2 * p.x_2 + i3 * p.x_3 + i4 * p.x_4
                y_at = p.y_start + i0 * p.y_0 + i1 * p.y_1 + i2 * p.y_2 + i3 * p.y_3 + i4 * p.y_4
                if contiguous:
                    copy_run(worker, p, y_at, x_at, p.size_5)
                else:
                    copy_row(y, y_at, p.y_5, x, x_at, p.x_5, p.size_5)
                i4 += 1
                if i4 == p.size_4:
                    i4, i3 = 0, i3 + 1
                    if i3 == p.size_3:
                        i3, i2 = 0, i2 + 1
                        if i2 == p.size_2:
                            i2, i1 = 0, i1 + 1
                            if i1 == p.size_1:
                                i1, i0 = 0, i0 + 1

    return body


@kernel_family("x32_transpose", TRANSPOSE_PARAMS, float16=True)
def x32_transpose(simd: Simd) -> Callable[..., None]:
    """Transpose matrices of elements of four bytes, or two."""
    return _transpose(_integers(simd))


@kernel_family("x8_transpose", TRANSPOSE_PARAMS)
def x8_transpose(simd: Simd) -> Callable[..., None]:
    """Transpose matrices of bytes."""
    return _transpose(buffer_u8)


def _transpose(buffer: Callable[..., Any]) -> Callable[..., None]:
    """Transpose ``batch`` matrices of ``rows`` x ``columns``."""

    @njit(error_model="numpy")
    def three_rows(y: Any, y_at: Any, x: Any, x_at: Any, columns: Any, pitch: Any) -> None:
        """Planes of colours to pixels; LLVM makes vectors of this one."""
        for column in range(columns):
            y[y_at + column * 3] = x[x_at + column]
            y[y_at + column * 3 + 1] = x[x_at + pitch + column]
            y[y_at + column * 3 + 2] = x[x_at + 2 * pitch + column]

    @njit(error_model="numpy")
    def few_rows(y: Any, y_at: Any, x: Any, x_at: Any, rows: Any, columns: Any, pitch: Any) -> None:
        for column in range(columns):
            for row in range(rows):
                y[y_at + column * rows + row] = x[x_at + row * pitch + column]

    @njit(error_model="numpy")
    def three_columns(y: Any, y_at: Any, x: Any, x_at: Any, rows: Any, pitch: Any) -> None:
        """Pixels to planes of colours."""
        for row in range(rows):
            y[y_at + row] = x[x_at + row * 3]
            y[y_at + pitch + row] = x[x_at + row * 3 + 1]
            y[y_at + 2 * pitch + row] = x[x_at + row * 3 + 2]

    @njit(error_model="numpy")
    def few_columns(y: Any, y_at: Any, x: Any, x_at: Any, rows: Any, columns: Any, pitch: Any) -> None:
        for row in range(rows):
            for column in range(columns):
                y[y_at + column * pitch + row] = x[x_at + row * columns + column]

    @njit(error_model="numpy")
    def block(y: Any, y_at: Any, y_pitch: Any, x: Any, x_at: Any, x_pitch: Any, rows: Any, columns: Any) -> None:
        for column in range(columns):
            for row in range(rows):
                y[y_at + column * y_pitch + row] = x[x_at + row * x_pitch + column]

    def body(p: Any, worker: Any) -> None:
        x, y = buffer(worker, p.x), buffer(worker, p.y)
        while True:
            task = claim(worker, p.tiles)
            if task >= p.tiles:
                break
            first = task % p.run_tasks * p.task_run
            matrix = task // p.run_tasks * p.rows * p.columns
            if p.columns <= FEW < p.rows:
                count = min(p.task_run, p.rows - first)
                if p.columns == 3:
                    three_columns(y, matrix + first, x, matrix + first * 3, count, p.rows)
                else:
                    few_columns(y, matrix + first, x, matrix + first * p.columns, count, p.columns, p.rows)
                continue
            count = min(p.task_run, p.columns - first)
            if p.rows == 3:
                three_rows(y, matrix + first * p.rows, x, matrix + first, count, p.columns)
            elif p.rows <= FEW:
                few_rows(y, matrix + first * p.rows, x, matrix + first, p.rows, count, p.columns)
            else:
                for column in range(first, first + count, 16):
                    across = min(16, first + count - column)
                    for row in range(0, p.rows, 16):
                        down = min(16, p.rows - row)
                        y_at, x_at = matrix + column * p.rows + row, matrix + row * p.columns + column
                        block(y, y_at, p.rows, x, x_at, p.columns, down, across)

    return body
