"""The transforms of Winograd's minimal filtering F(4x4, 3x3) and F(2x2, 3x3).

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015. One output tile has ``output`` x ``output``
pixels and comes from ``output + 2`` x ``output + 2`` input pixels; as many frequencies lie between.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from edgeinfer.kernels.activation import activate
from edgeinfer.kernels.registry import Simd
from edgeinfer.simd.pointers import advance, buffer_f32
from edgeinfer.simd.vectors import clamp


@functools.cache
def one_dimensional_transforms(simd: Simd, output: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """``B^T d`` and ``A^T m`` for tiles of ``output`` pixels: both ``(y, index, stride, x, index, stride)``.

    They read and write vectors that lie ``stride`` floats apart.
    """
    return {4: _transforms_4, 2: _transforms_2}[output](simd)


def _transforms_2(simd: Simd) -> tuple[Callable[..., Any], Callable[..., Any]]:
    load, store = simd.load, simd.store

    @njit(forceinline=True, error_model="numpy")
    def transform_input(y: Any, y_index: Any, y_stride: Any, x: Any, x_index: Any, x_stride: Any) -> None:
        d0, d1 = load(x, x_index), load(x, x_index + x_stride)
        d2, d3 = load(x, x_index + 2 * x_stride), load(x, x_index + 3 * x_stride)
        store(y, y_index, d0 - d2)
        store(y, y_index + y_stride, d1 + d2)
        store(y, y_index + 2 * y_stride, d2 - d1)
        store(y, y_index + 3 * y_stride, d1 - d3)

    @njit(forceinline=True, error_model="numpy")
    def transform_output(y: Any, y_index: Any, y_stride: Any, x: Any, x_index: Any, x_stride: Any) -> None:
        m0, m1 = load(x, x_index), load(x, x_index + x_stride)
        m2, m3 = load(x, x_index + 2 * x_stride), load(x, x_index + 3 * x_stride)
        store(y, y_index, m0 + m1 + m2)
        store(y, y_index + y_stride, m1 - m2 - m3)

    return transform_input, transform_output


def _transforms_4(simd: Simd) -> tuple[Callable[..., Any], Callable[..., Any]]:
    load, store, splat = simd.load, simd.store, simd.splat

    @njit(forceinline=True, error_model="numpy")
    def transform_input(y: Any, y_index: Any, y_stride: Any, x: Any, x_index: Any, x_stride: Any) -> None:
        d0 = load(x, x_index)
        d1 = load(x, x_index + x_stride)
        d2 = load(x, x_index + 2 * x_stride)
        d3 = load(x, x_index + 3 * x_stride)
        d4 = load(x, x_index + 4 * x_stride)
        d5 = load(x, x_index + 5 * x_stride)
        two, four, five = splat(np.float32(2)), splat(np.float32(4)), splat(np.float32(5))
        even, odd = d4 - four * d2, d3 - four * d1
        inner, outer = d4 - d2, two * (d3 - d1)
        store(y, y_index, four * d0 - five * d2 + d4)
        store(y, y_index + y_stride, even + odd)
        store(y, y_index + 2 * y_stride, even - odd)
        store(y, y_index + 3 * y_stride, inner + outer)
        store(y, y_index + 4 * y_stride, inner - outer)
        store(y, y_index + 5 * y_stride, four * d1 - five * d3 + d5)

    @njit(forceinline=True, error_model="numpy")
    def transform_output(y: Any, y_index: Any, y_stride: Any, x: Any, x_index: Any, x_stride: Any) -> None:
        m0 = load(x, x_index)
        m1 = load(x, x_index + x_stride)
        m2 = load(x, x_index + 2 * x_stride)
        m3 = load(x, x_index + 3 * x_stride)
        m4 = load(x, x_index + 4 * x_stride)
        m5 = load(x, x_index + 5 * x_stride)
        two, four, eight = splat(np.float32(2)), splat(np.float32(4)), splat(np.float32(8))
        sum_1, difference_1, sum_2, difference_2 = m1 + m2, m1 - m2, m3 + m4, m3 - m4
        store(y, y_index, m0 + sum_1 + sum_2)
        store(y, y_index + y_stride, difference_1 + two * difference_2)
        store(y, y_index + 2 * y_stride, sum_1 + four * sum_2)
        store(y, y_index + 3 * y_stride, difference_1 + eight * difference_2 + m5)

    return transform_input, transform_output


def inverse_transform(simd: Simd, vectors: int, output: int) -> Callable[..., None]:
    """``run(...)``: from products to pixels: transform back, bias, residual, activation.

    Arguments: params, worker, ``m`` as [frequency][tile][columns] with a vector of space between frequencies,
    ``buffer`` (space for two squares of frequencies), the block of output channels, tiles of the task down and
    across, tiles of a row of tiles in ``m``, tiles in ``m``, the task's first output pixel, and its image.
    """
    lanes, load, store, columns = simd.lanes, simd.load, simd.store, vectors * simd.lanes
    load_first, store_first, splat = simd.load_first, simd.store_first, simd.splat
    _, transform_output = one_dimensional_transforms(simd, output)
    size = output + 2
    square = size * size * lanes
    apply = activate(simd)

    @njit(forceinline=True, error_model="numpy")
    def finish_tile(
        y: Any, place: Any, residual: Any, has_residual: Any, bias: Any, square: Any, p: Any, rows: Any, across: Any,
        count: Any,
    ) -> None:  # fmt: skip
        low, high = splat(np.float32(p.low)), splat(np.float32(p.high))
        first, second = np.float32(p.parameter_0), np.float32(p.parameter_1)
        for i in range(rows):
            for j in range(across):
                at = place + i * p.y_row + j * p.y_pixel
                value = load(square, (i * output + j) * lanes) + bias
                if has_residual:
                    value = value + load_first(residual, at, count)
                value = clamp(value, low, high)
                if p.activation != 0:
                    value = apply(value, p.activation, first, second)
                if count >= lanes:
                    store(y, at, value)
                else:
                    store_first(y, at, value, count)

    @njit(forceinline=True, error_model="numpy")
    def run(
        p: Any, worker: Any, m: Any, buffer: Any, block: Any, row_tiles: Any, column_tiles: Any, row_pitch: Any,
        tiles: Any, out_row: Any, out_column: Any, image: Any,
    ) -> None:  # fmt: skip
        bias, y = buffer_f32(worker, p.bias), buffer_f32(worker, p.y)
        has_residual = p.residual >= 0
        residual = buffer_f32(worker, p.residual) if has_residual else y
        result, m_pitch = advance(buffer, square), tiles * columns + lanes
        y_start = p.y_start + image * p.y_image + out_row * p.y_row + out_column * p.y_pixel
        for part in range(0, columns, lanes):
            channel = block * columns + part
            count = min(lanes, p.out_channels - channel)
            if count <= 0:
                break
            bias_vector = load(bias, channel)
            for tile in range(row_tiles * column_tiles):
                tile_row, tile_column = tile // column_tiles, tile % column_tiles
                row, column = tile_row * output, tile_column * output
                for i in range(size):
                    at = i * size * m_pitch + (tile_row * row_pitch + tile_column) * columns + part
                    transform_output(buffer, i * output * lanes, lanes, m, at, m_pitch)
                for j in range(output):
                    transform_output(result, j * lanes, output * lanes, buffer, j * lanes, output * lanes)
                finish_tile(
                    y, y_start + row * p.y_row + column * p.y_pixel + channel, residual, has_residual,
                    bias_vector, result, p, min(output, p.out_height - out_row - row),
                    min(output, p.out_width - out_column - column), count,
                )  # fmt: skip

    return run
