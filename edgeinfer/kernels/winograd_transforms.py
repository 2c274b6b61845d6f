"""The transforms of Winograd's minimal filtering, along one axis after the other.

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015. One output tile has ``output`` x ``output``
pixels and comes from ``size`` x ``size`` input pixels; as many frequencies lie between. F(2, 3) and F(4, 3) are written
out; the others are made from the matrices of ``edgeinfer.minimal_filtering``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from edgeinfer.kernels.epilogue import row_activation
from edgeinfer.kernels.registry import Simd
from edgeinfer.minimal_filtering import input_matrix, output_matrix
from edgeinfer.simd.linear_map import linear_map, phased_linear_map
from edgeinfer.simd.pointers import opaque_pointer


def for_each(count: int, act: Callable[..., None]) -> Callable[..., None]:
    """``run(values, state)``: calls ``act(values[k], k, state)`` for a tuple of ``count`` values, unrolled."""
    last = count - 1
    if last == 0:

        @njit(forceinline=True, error_model="numpy")
        def only(values: Any, state: Any) -> None:
            act(values[0], 0, state)

        return only
    before = for_each(last, act)

    @njit(forceinline=True, error_model="numpy")
    def run(values: Any, state: Any) -> None:
        before(values, state)
        act(values[last], last, state)

    return run


@functools.cache
def input_transform(simd: Simd, size: int, store: Callable[..., None]) -> Callable[..., None]:
    """``B^T d`` for tiles of ``size`` input pixels: ``transform(y, index, stride, x, index, stride)``.

    It reads vectors that lie ``stride`` floats apart, and writes results by ``store(y, index, vector)``.
    """
    if size not in (4, 6):
        return _general_input_transform(simd, size, store)
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

    return {4: transform_2, 6: transform_4}[size]


def _general_input_transform(simd: Simd, size: int, store: Callable[..., None]) -> Callable[..., None]:
    apply, store_each = linear_map(simd, input_matrix(size)), storing_each(size, store)

    @njit(forceinline=True, error_model="numpy")
    def transform(y: Any, y_index: Any, y_stride: Any, x: Any, x_index: Any, x_stride: Any) -> None:
        store_each(apply(x, x_index, x_stride), (y, y_index, y_stride))

    return transform


def phased_input_transform(simd: Simd, size: int, phases: int) -> Callable[..., None]:
    """As ``input_transform``: ``transform(y, index, stride, x, index, phase_stride, step)``.

    Pixel t of a tile is the vector at ``x[index + t % phases * phase_stride + t // phases * step]``.
    """
    apply = phased_linear_map(simd, input_matrix(size), phases)
    store_each = storing_each(size, simd.store)

    @njit(forceinline=True, error_model="numpy")
    def transform(y: Any, y_index: Any, y_stride: Any, x: Any, x_index: Any, phase_stride: Any, step: Any) -> None:
        store_each(apply(x, x_index, phase_stride, step), (y, y_index, y_stride))

    return transform


@functools.cache
def output_transform(simd: Simd, output: int, size: int) -> Callable[..., Any]:
    """``A^T m`` for tiles of ``output`` pixels: ``transform(x, index, stride)`` gives a tuple of vectors."""
    if (output, size) not in ((2, 4), (4, 6)):
        return linear_map(simd, output_matrix(size, output))
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


def storing_each(count: int, store: Callable[..., None]) -> Callable[..., None]:
    """``run(values, (y, index, stride))``: a tuple of ``count`` vectors, each by ``store(y, index, vector)``."""

    @njit(forceinline=True, error_model="numpy")
    def store_one(value: Any, k: Any, state: Any) -> None:
        y, index, stride = state
        store(y, index + k * stride, value)

    return for_each(count, store_one)


def finish_column(simd: Simd, output: int) -> Callable[..., None]:
    """``finish(values, y, place, pitch, p, bias, residual, has_residual, rows, count, spare, at)``: a column of a tile.

    ``values`` is a tuple of the column's vectors; the first ``rows`` of them and ``count`` lanes are written, ``pitch``
    floats apart.
    ``spare[at]`` and the ``output`` vectors from there on may be overwritten.
    """
    lanes, load, load_first = simd.lanes, simd.load, simd.load_first
    store, store_first, splat, clamp = simd.store, simd.store_first, simd.splat, simd.clamp
    activate_row, store_each = row_activation(simd), storing_each(output, simd.store)

    @njit(forceinline=True, error_model="numpy")
    def finish_one(value: Any, k: Any, state: Any) -> None:
        y, place, pitch, bias, low, high = state
        store(y, place + k * pitch, clamp(value + bias, low, high))

    @njit(forceinline=True, error_model="numpy")
    def finish_one_with_residual(value: Any, k: Any, state: Any) -> None:
        y, place, pitch, bias, low, high, residual = state
        at = place + k * pitch
        store(y, at, clamp(value + bias + load(residual, at), low, high))

    finish_whole = for_each(output, finish_one)
    finish_with_residual = for_each(output, finish_one_with_residual)

    @njit(forceinline=True, error_model="numpy")
    def finish(
        values: Any, y: Any, place: Any, pitch: Any, p: Any, bias: Any, residual: Any, has_residual: Any, rows: Any,
        count: Any, spare: Any, at: Any,
    ) -> None:  # fmt: skip
        low, high = splat(np.float32(p.low)), splat(np.float32(p.high))
        if rows == output and count == lanes and p.activation == 0:
            if has_residual:
                finish_with_residual(values, (y, place, pitch, bias, low, high, residual))
            else:
                finish_whole(values, (opaque_pointer(y, place), 0, pitch, bias, low, high))
        else:
            store_each(values, (spare, at, lanes))
            for row in range(rows):
                value = load(spare, at + row * lanes) + bias
                if has_residual:
                    value = value + load_first(residual, place + row * pitch, count)
                store(spare, at + row * lanes, clamp(value, low, high))
            if p.activation != 0:
                activate_row(
                    spare, at, rows * lanes, p.activation, np.float32(p.parameter_0), np.float32(p.parameter_1)
                )
            for row in range(rows):
                store_first(y, place + row * pitch, load(spare, at + row * lanes), count)

    return finish


def inverse_transform(simd: Simd, vectors: int, output: int, size: int) -> Callable[..., None]:
    """``run(...)``: from products to pixels: transform back, bias, residual, activation.

    Arguments: params, worker, ``m`` with ``columns`` products of each tile and frequency, floats from frequency to
    frequency there, and from tile to tile, ``buffer`` (space for a vector of every frequency), the block of output
    channels, tiles of the task down and across, tiles of a row of tiles in ``m``, the task's first output pixel, and
    its image.
    """
    lanes, load, columns = simd.lanes, simd.load, vectors * simd.lanes
    transform, store_each, finish = (
        output_transform(simd, output, size), storing_each(output, simd.store), finish_column(simd, output)
    )  # fmt: skip
    floats = simd.buffer

    @njit(forceinline=True, error_model="numpy")
    def run(
        p: Any, worker: Any, m: Any, m_pitch: Any, tile_pitch: Any, buffer: Any, block: Any, row_tiles: Any,
        column_tiles: Any, row_pitch: Any, out_row: Any, out_column: Any, image: Any,
    ) -> None:  # fmt: skip
        bias, y = floats(worker, p.bias), floats(worker, p.y)
        has_residual = p.residual >= 0
        residual = floats(worker, p.residual) if has_residual else y
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
                    at = (tile_row * row_pitch + tile_column) * tile_pitch + part
                    for i in range(size):
                        values = transform(opaque_pointer(m, at + i * size * m_pitch), 0, m_pitch)
                        store_each(values, (buffer, i * output * lanes, lanes))
                    place = y_start + tile_row * output * y_row + tile_column * output * y_pixel + channel
                    for j in range(across):
                        values = transform(buffer, j * lanes, output * lanes)
                        finish(
                            values, y, place + j * y_pixel, y_row, p, bias_vector, residual, has_residual, rows,
                            count, buffer, size * output * lanes,
                        )  # fmt: skip

    return run
