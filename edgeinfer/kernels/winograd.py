"""3x3 convolution by Winograd's minimal filtering F(4x4, 3x3): 36 products where direct convolution takes 144.

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015. For tiles d of 6x6 input
pixels, filters g and tiles of 4x4 output pixels:

    Y = A^T [ (G g G^T) * (B^T d B) ] A,  summed over the input channels inside the brackets

A task is a block of tiles. Its input pixels are read into a patch, transformed to V[frequency][tile][channel],
multiplied with the packed filters U[output block][frequency][channel][columns] by register tiles, and each
block of output channels is transformed back and written at once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from edgeinfer.kernels.activation import activate
from edgeinfer.kernels.conv import CONV_PARAMS
from edgeinfer.kernels.patch import patch_reader
from edgeinfer.kernels.registry import Simd, kernel_family
from edgeinfer.simd.pointers import advance, buffer_f32, claim, scratch_f32
from edgeinfer.simd.tile import TileOps
from edgeinfer.simd.vectors import clamp

OUTPUT = 4
INPUT = 6
FREQUENCIES = INPUT * INPUT

TILES = {"avx512": [(8, 2)], "avx2": [(6, 2)], "v128": [(6, 2)]}


@functools.cache
def one_dimensional_transforms(simd: Simd) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The one-dimensional transforms ``B^T d`` and ``A^T m`` of six vectors ``stride`` floats apart."""
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


def inverse_transform(simd: Simd, vectors: int) -> Callable[..., None]:
    """``run(...)``: from products to pixels: transform back, bias, residual, activation.

    Arguments: params, worker, ``m`` as [frequency][tile][columns] with a vector of space between frequencies,
    ``buffer`` (space for two squares of frequencies), the block of output channels, tiles of the task down and
    across, tiles of a row of tiles in ``m``, tiles in ``m``, the task's first output pixel, and its image.
    """
    lanes, load, store, columns = simd.lanes, simd.load, simd.store, vectors * simd.lanes
    load_first, store_first, splat = simd.load_first, simd.store_first, simd.splat
    _, transform_output = one_dimensional_transforms(simd)
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
                value = load(square, (i * OUTPUT + j) * lanes) + bias
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
        result, m_pitch = advance(buffer, FREQUENCIES * lanes), tiles * columns + lanes
        y_start = p.y_start + image * p.y_image + out_row * p.y_row + out_column * p.y_pixel
        for part in range(0, columns, lanes):
            channel = block * columns + part
            count = min(lanes, p.out_channels - channel)
            if count <= 0:
                break
            bias_vector = load(bias, channel)
            for tile in range(row_tiles * column_tiles):
                tile_row, tile_column = tile // column_tiles, tile % column_tiles
                row, column = tile_row * OUTPUT, tile_column * OUTPUT
                for i in range(INPUT):
                    at = i * INPUT * m_pitch + (tile_row * row_pitch + tile_column) * columns + part
                    transform_output(buffer, i * OUTPUT * lanes, lanes, m, at, m_pitch)
                for j in range(OUTPUT):
                    transform_output(result, j * lanes, OUTPUT * lanes, buffer, j * lanes, OUTPUT * lanes)
                finish_tile(
                    y, y_start + row * p.y_row + column * p.y_pixel + channel, residual, has_residual,
                    bias_vector, result, p, min(OUTPUT, p.out_height - out_row - row),
                    min(OUTPUT, p.out_width - out_column - column), count,
                )  # fmt: skip

    return run


@kernel_family("f32_winograd", CONV_PARAMS, TILES)
def f32_winograd(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """3x3 convolution with stride 1 and dilation 1, one group; ``task_rows`` and ``task_columns`` count tiles."""
    ops, lanes = TileOps(simd, tile_rows, vectors), simd.lanes
    zeros, outer, store_tile, columns = ops.zeros, ops.outer, ops.store, ops.columns
    transform_input, _ = one_dimensional_transforms(simd)
    read_patch, transform_back = patch_reader(simd), inverse_transform(simd, vectors)

    @njit(error_model="numpy")
    def to_frequencies(
        v: Any, patch: Any, buffer: Any, row_tiles: Any, column_tiles: Any, tiles: Any, row_pitch: Any, channels: Any,
        v_pitch: Any,
    ) -> None:  # fmt: skip
        frequency_pitch = tiles * v_pitch + lanes
        for row in range(row_tiles):
            for column in range(column_tiles):
                start = row * OUTPUT * row_pitch + column * OUTPUT * channels
                tile = row * column_tiles + column
                for c in range(0, channels, lanes):
                    for j in range(INPUT):
                        transform_input(buffer, j * lanes, INPUT * lanes, patch, start + j * channels + c, row_pitch)
                    for i in range(INPUT):
                        place = i * INPUT * frequency_pitch + tile * v_pitch + c
                        transform_input(v, place, frequency_pitch, buffer, i * INPUT * lanes, lanes)

    @njit(error_model="numpy")
    def multiply(m: Any, v: Any, u: Any, u_index: Any, tiles: Any, channels: Any, v_pitch: Any) -> None:
        for frequency in range(FREQUENCIES):
            for first in range(0, tiles, tile_rows):
                tile = zeros()
                start = frequency * (tiles * v_pitch + lanes) + first * v_pitch
                for c in range(channels):
                    tile = outer(tile, v, start + c, v_pitch, u, u_index + c * columns)
                place = frequency * (tiles * columns + lanes) + first * columns
                store_tile(tile, m, place, columns, tile_rows, columns)
            u_index += channels * columns

    def body(p: Any, worker: Any) -> None:
        x, u, channels = buffer_f32(worker, p.x), buffer_f32(worker, p.w), p.channels
        blocks = (p.out_channels + columns - 1) // columns
        v_pitch = (channels + lanes - 1) // lanes * lanes
        while True:
            task = claim(worker)
            if task >= p.tiles:
                break
            column_task = task % p.column_tasks
            row_task = task // p.column_tasks % p.row_tasks
            image = task // p.column_tasks // p.row_tasks
            out_row, out_column = row_task * p.task_rows * OUTPUT, column_task * p.task_columns * OUTPUT
            row_tiles = min(p.task_rows, (p.out_height - out_row + OUTPUT - 1) // OUTPUT)
            column_tiles = min(p.task_columns, (p.out_width - out_column + OUTPUT - 1) // OUTPUT)
            tiles = (row_tiles * column_tiles + tile_rows - 1) // tile_rows * tile_rows
            patch_rows, patch_columns = row_tiles * OUTPUT + 2, column_tiles * OUTPUT + 2

            buffer = scratch_f32(worker)
            m = advance(buffer, 2 * FREQUENCIES * lanes)
            v = advance(m, FREQUENCIES * (tiles * columns + lanes))
            patch = advance(v, FREQUENCIES * (tiles * v_pitch + lanes))
            image_start = image * p.height * p.width * p.x_channels
            read_patch(
                patch, x, p, image_start, 0, out_row - p.pad_top, out_column - p.pad_left, patch_rows, patch_columns
            )
            to_frequencies(
                v, patch, buffer, row_tiles, column_tiles, tiles, patch_columns * channels, channels, v_pitch
            )
            for block in range(blocks):
                multiply(m, v, u, block * FREQUENCIES * channels * columns, tiles, channels, v_pitch)
                transform_back(
                    p, worker, m, buffer, block, row_tiles, column_tiles, column_tiles, tiles, out_row, out_column,
                    image,
                )  # fmt: skip

    return body
