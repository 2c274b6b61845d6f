"""Convolution with few output channels, such as the last layer of a style network (9x9, 32 → 3).

Three output channels fill three of sixteen lanes. So the taps of a kernel row become output columns too:

    P[x, kx * O + o] = sum over ky, c of input[y + ky, x, c] * w[o, c, ky, kx]
    y[x, o] = act(bias[o] + sum over kx of P[x + kx, kx * O + o])

The first line is a convolution with kernels one pixel wide and ``kernel_width * O`` outputs, done by
register tiles into scratch memory; the second adds shifted rows of it. Weights are packed as
[block][ky][channel][columns].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from edgeinfer.kernels.activation import activate
from edgeinfer.kernels.conv import CONV_PARAMS
from edgeinfer.kernels.patch import patch_reader
from edgeinfer.kernels.products import inner_products
from edgeinfer.kernels.registry import Simd, kernel_family
from edgeinfer.simd.byte_tile import ByteTileOps
from edgeinfer.simd.pointers import advance, claim
from edgeinfer.simd.tile import TileOps

TILES = {"avx512": [(8, 2)], "avx2": [(6, 2)], "v128": [(6, 2)], "neon": [(8, 2)]}


@dataclass(frozen=True)
class FewOutputsArithmetic:
    """What a number format brings along: compiled functions.

    Attributes:
        rows: pixels of a tile.
        columns: pairs of tap and output channel of a tile.
        read_patch: see ``edgeinfer.kernels.patch.patch_reader``.
        products: see ``tile_products``.
        buffers: ``buffers(p, worker)``: a tuple with what ``finish`` needs.
        finish: ``finish(buffers, p, sums, at, pitch, place)``: adds up ``sums[at + kx * (pitch + out_channels)]`` over
            all taps kx and writes the output pixel at ``place``.
    """

    rows: int
    columns: int
    read_patch: Callable[..., None]
    products: Callable[..., None]
    buffers: Callable[..., Any]
    finish: Callable[..., None]


def tile_products(ops: TileOps | ByteTileOps, inner: Callable[..., Any]) -> Callable[..., None]:
    """``multiply(sums, patch, start, row_pitch, w, pixels, blocks, p)``.

    Writes P[x] of the module's text for a row of pixels to ``sums[x * blocks * columns]``, ``columns`` at once.
    ``inner`` is as ``edgeinfer.kernels.products.inner_products`` describes it.
    """
    tile_rows, columns, zeros, store_tile = ops.rows, ops.columns, ops.zeros, ops.store

    @njit(error_model="numpy")
    def multiply(sums: Any, patch: Any, start: Any, row_pitch: Any, w: Any, pixels: Any, blocks: Any, p: Any) -> None:
        kernel_height, tap_rows, channels = p.kernel_height, p.dilation_y, p.channels
        for block in range(blocks):
            for pixel in range(0, pixels, tile_rows):
                tile = zeros()
                w_index = block * kernel_height * channels * columns
                for ky in range(kernel_height):
                    at = start + ky * tap_rows * row_pitch + pixel * channels
                    tile = inner(tile, patch, at, channels, w, w_index, channels)
                    w_index += channels * columns
                place = (pixel * blocks + block) * columns
                store_tile(tile, sums, place, blocks * columns, tile_rows, columns)

    return multiply


def few_outputs_conv(simd: Simd, arithmetic: FewOutputsArithmetic) -> Callable[..., None]:
    """The body of a convolution kernel with stride and dilation 1 along x, one group, at most ``lanes`` outputs."""
    tile_rows, columns, lanes = arithmetic.rows, arithmetic.columns, simd.lanes
    read_patch, buffers_of, finish = arithmetic.read_patch, arithmetic.buffers, arithmetic.finish
    floats, scratch, multiply = simd.buffer, simd.scratch, arithmetic.products

    def body(p: Any, worker: Any) -> None:
        x, w = floats(worker, p.x), floats(worker, p.w)
        buffers = buffers_of(p, worker)
        blocks = (p.kernel_width * p.out_channels + columns - 1) // columns
        pitch = blocks * columns
        while True:
            task = claim(worker, p.tiles)
            if task >= p.tiles:
                break
            column_task = task % p.column_tasks
            row_task = task // p.column_tasks % p.row_tasks
            image = task // p.column_tasks // p.row_tasks
            out_row, out_column = row_task * p.task_rows, column_task * p.task_columns
            task_rows = min(p.task_rows, p.out_height - out_row)
            task_columns = min(p.task_columns, p.out_width - out_column)
            pixels = task_columns + p.kernel_width - 1
            patch_columns = (pixels + tile_rows - 1) // tile_rows * tile_rows
            patch_rows = (task_rows - 1) * p.stride_y + (p.kernel_height - 1) * p.dilation_y + 1
            sums = scratch(worker)
            patch = advance(sums, patch_columns * pitch + lanes)
            read_patch(
                patch, x, p, image * p.height * p.width * p.x_channels, 0,
                out_row * p.stride_y - p.pad_top, out_column - p.pad_left, patch_rows, patch_columns,
            )  # fmt: skip
            row_pitch = patch_columns * p.channels
            y_start = p.y_start + image * p.y_image + out_row * p.y_row + out_column * p.y_pixel
            for row in range(task_rows):
                multiply(sums, patch, row * p.stride_y * row_pitch, row_pitch, w, pixels, blocks, p)
                for column in range(task_columns):
                    at = y_start + row * p.y_row + column * p.y_pixel
                    finish(buffers, p, sums, column * pitch, pitch, at)

    return body


@kernel_family("f32_conv_few_outputs", CONV_PARAMS, TILES, float16=True)
def f32_conv_few_outputs(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """Convolution with stride and dilation 1 along x, one group, at most ``lanes`` output channels."""
    ops = TileOps(simd, tile_rows, vectors)
    products = tile_products(ops, inner_products(ops))
    return few_outputs_conv(simd, float_output(simd, ops.rows, ops.columns, patch_reader(simd), products))


def float_output(
    simd: Simd, rows: int, columns: int, read_patch: Callable[..., None], products: Callable[..., None]
) -> FewOutputsArithmetic:
    """Sums in the format of ``simd``, bias, residual, activation; arguments as for ``FewOutputsArithmetic``."""
    load, store_first, splat, load_first = simd.load, simd.store_first, simd.splat, simd.load_first
    apply, clamp, floats = activate(simd), simd.clamp, simd.buffer

    @njit(forceinline=True, error_model="numpy")
    def buffers(p: Any, worker: Any) -> Any:
        y = floats(worker, p.y)
        residual = floats(worker, p.residual) if p.residual >= 0 else y
        return load(floats(worker, p.bias), 0), residual, y

    @njit(forceinline=True, error_model="numpy")
    def finish(buffers: Any, p: Any, sums: Any, at: Any, pitch: Any, place: Any) -> None:
        value, residual, y = buffers
        outputs = p.out_channels
        for kx in range(p.kernel_width):
            value = value + load(sums, at + kx * (pitch + outputs))
        if p.residual >= 0:
            value = value + load_first(residual, place, outputs)
        value = clamp(value, splat(np.float32(p.low)), splat(np.float32(p.high)))
        if p.activation != 0:
            value = apply(value, p.activation, np.float32(p.parameter_0), np.float32(p.parameter_1))
        store_first(y, place, value, outputs)

    return FewOutputsArithmetic(rows, columns, read_patch, products, buffers, finish)
