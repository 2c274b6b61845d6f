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
from edgeinfer.simd.vectors import clamp


@functools.cache
def input_transform(simd: Simd, output: int, store: Callable[..., None]) -> Callable[..., None]:
    """``B^T d`` for tiles of ``output`` pixels: ``transform(y, index, stride, x, index, stride)``.

    It reads vectors that lie ``stride`` floats apart, and writes results by ``store(y, index, vector)``.
    """
    load, splat = simd.load, simd.splat

    @njit(forceinline=True, error_model="numpy")
    def transform_2(y: Any, y_index: Any, y_stride: Any, x: Any, x_index: Any, x_stride: Any) -> None:
        d0, d1 = load(x, x_index), load(x, x_index + x_stride)
        d2, d3 = load(x, x_index + 2 * x_stride), load(x, x_index + 3 * x_stride)
        store(y, y_index, d0 - d2)
        store(y, y_index + y_stride, d1 + d2)
        store(y, y_index + 2 * y_stride, d2 - d1)
        store(y, y_index + 3 * y_stride, d1 - d3)

    @njit(forceinline=True, error_model="numpy")
    def transform_4(y: Any, y_index: Any, y_stride: Any, x: Any, x_index: Any, x_stride: Any) -> None:
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

    return {2: transform_2, 4: transform_4}[output]


@functools.cache
def output_transform(simd: Simd, output: int) -> Callable[..., Any]:
    """``A^T m`` for tiles of ``output`` pixels: ``transform(x, index, stride)`` gives a tuple of vectors."""
    load, splat = simd.load, simd.splat

    @njit(forceinline=True, error_model="numpy")
    def transform_2(x: Any, index: Any, stride: Any) -> Any:
        m0, m1 = load(x, index), load(x, index + stride)
        m2, m3 = load(x, index + 2 * stride), load(x, index + 3 * stride)
        return m0 + m1 + m2, m1 - m2 - m3

    @njit(forceinline=True, error_model="numpy")
    def transform_4(x: Any, index: Any, stride: Any) -> Any:
        m0 = load(x, index)
        m1 = load(x, index + stride)
        m2 = load(x, index + 2 * stride)
        m3 = load(x, index + 3 * stride)
        m4 = load(x, index + 4 * stride)
        m5 = load(x, index + 5 * stride)
        two, four, eight = splat(np.float32(2)), splat(np.float32(4)), splat(np.float32(8))
        sum_1, difference_1, sum_2, difference_2 = m1 + m2, m1 - m2, m3 + m4, m3 - m4
        return (
            m0 + sum_1 + sum_2,
            difference_1 + two * difference_2,
            sum_1 + four * sum_2,
            difference_1 + eight * difference_2 + m5,
        )

    return {2: transform_2, 4: transform_4}[output]


def _store_each(output: int, store: Callable[..., None]) -> Callable[..., None]:
    """``store_each(values, y, index, stride)``: a tuple of ``output`` vectors."""

    @njit(forceinline=True, error_model="numpy")
    def store_2(values: Any, y: Any, index: Any, stride: Any) -> None:
        store(y, index, values[0])
        store(y, index + stride, values[1])

    @njit(forceinline=True, error_model="numpy")
    def store_4(values: Any, y: Any, index: Any, stride: Any) -> None:
        store(y, index, values[0])
        store(y, index + stride, values[1])
        store(y, index + 2 * stride, values[2])
        store(y, index + 3 * stride, values[3])

    return {2: store_2, 4: store_4}[output]


def finish_column(simd: Simd, output: int) -> Callable[..., None]:
    """``finish(values, y, place, p, bias, residual, has_residual, rows, count, spare, at)``: one column of a tile.

    ``values`` is a tuple of the column's vectors; the first ``rows`` of them and ``count`` lanes are written.
    ``spare[at]`` and the ``output`` vectors from there on may be overwritten.
    """
    lanes, load, load_first = simd.lanes, simd.load, simd.load_first
    store, store_first, splat = simd.store, simd.store_first, simd.splat
    apply, store_each = activate(simd), _store_each(output, simd.store)

    @njit(forceinline=True, error_model="numpy")
    def finish_2(values: Any, y: Any, place: Any, y_row: Any, bias: Any, low: Any, high: Any) -> None:
        store(y, place, clamp(values[0] + bias, low, high))
        store(y, place + y_row, clamp(values[1] + bias, low, high))

    @njit(forceinline=True, error_model="numpy")
    def finish_4(values: Any, y: Any, place: Any, y_row: Any, bias: Any, low: Any, high: Any) -> None:
        store(y, place, clamp(values[0] + bias, low, high))
        store(y, place + y_row, clamp(values[1] + bias, low, high))
        store(y, place + 2 * y_row, clamp(values[2] + bias, low, high))
        store(y, place + 3 * y_row, clamp(values[3] + bias, low, high))

    finish_whole = {2: finish_2, 4: finish_4}[output]

    @njit(forceinline=True, error_model="numpy")
    def finish(
        values: Any, y: Any, place: Any, p: Any, bias: Any, residual: Any, has_residual: Any, rows: Any, count: Any,
        spare: Any, at: Any,
    ) -> None:  # fmt: skip
        low, high = splat(np.float32(p.low)), splat(np.float32(p.high))
        if rows == output and count == lanes and p.activation == 0 and not has_residual:
            finish_whole(values, y, place, p.y_row, bias, low, high)
        else:
            # One piece of code for all rows: activations are long.
            store_each(values, spare, at, lanes)
            for row in range(rows):
                value = load(spare, at + row * lanes) + bias
                if has_residual:
                    value = value + load_first(residual, place + row * p.y_row, count)
                value = clamp(value, low, high)
                if p.activation != 0:
                    value = apply(value, p.activation, np.float32(p.parameter_0), np.float32(p.parameter_1))
                store_first(y, place + row * p.y_row, value, count)

    return finish


def inverse_transform(simd: Simd, vectors: int, output: int) -> Callable[..., None]:
    """``run(...)``: from products to pixels: transform back, bias, residual, activation.

    Arguments: params, worker, ``m`` as [frequency][tile][columns] with a vector of space between frequencies,
    ``buffer`` (space for a vector of every frequency), the block of output channels, tiles of the task down and
    across, tiles of a row of tiles in ``m``, tiles in ``m``, the task's first output pixel, and its image.
    """
    lanes, load, columns = simd.lanes, simd.load, vectors * simd.lanes
    transform, store_each, finish = (
        output_transform(simd, output), _store_each(output, simd.store), finish_column(simd, output)
    )  # fmt: skip
    size, floats = output + 2, simd.buffer

    @njit(forceinline=True, error_model="numpy")
    def run(
        p: Any, worker: Any, m: Any, buffer: Any, block: Any, row_tiles: Any, column_tiles: Any, row_pitch: Any,
        tiles: Any, out_row: Any, out_column: Any, image: Any,
    ) -> None:  # fmt: skip
        bias, y = floats(worker, p.bias), floats(worker, p.y)
        has_residual = p.residual >= 0
        residual = floats(worker, p.residual) if has_residual else y
        m_pitch = tiles * columns + lanes
        y_row, y_pixel = p.y_row, p.y_pixel
        y_start = p.y_start + image * p.y_image + out_row * y_row + out_column * y_pixel
        for tile_row in range(row_tiles):
            rows = min(output, p.out_height - out_row - tile_row * output)
            for tile_column in range(column_tiles):
                across = min(output, p.out_width - out_column - tile_column * output)
                for part in range(0, columns, lanes):
                    channel = block * columns + part
                    count = min(lanes, p.out_channels - channel)
                    if count <= 0:
                        break
                    bias_vector = load(bias, channel)
                    at = (tile_row * row_pitch + tile_column) * columns + part
                    for i in range(size):
                        values = transform(m, at + i * size * m_pitch, m_pitch)
                        store_each(values, buffer, i * output * lanes, lanes)
                    place = y_start + tile_row * output * y_row + tile_column * output * y_pixel + channel
                    for j in range(across):
                        values = transform(buffer, j * lanes, output * lanes)
                        finish(
                            values, y, place + j * y_pixel, p, bias_vector, residual, has_residual, rows, count,
                            buffer, size * output * lanes,
                        )  # fmt: skip

    return run
