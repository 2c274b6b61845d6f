"""Convolution with few output channels by minimal filtering down the columns: half the products of the direct form.

As in ``edgeinfer.kernels.conv_few_outputs`` the taps of a kernel row become output columns. The rows of the kernel are
cut into parts of three, and four output rows are made at once by F(4, 3) (Lavin and Gray, "Fast Algorithms for
Convolutional Neural Networks", 2015): six products for each part instead of twelve.

    V[f, x, a, c] = sum over rows r of B^T[f, r] * input[y + 3 a + r, x, c]
    M[f, x, kx * O + o] = sum over a, c of V[f, x, a, c] * U[f, a, c, kx * O + o]
    y[i, x, o] = act(bias[o] + sum over f of A^T[i, f] * sum over kx of M[f, x + kx, kx * O + o])

Filters U are packed as [block][frequency][part][channel][columns].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from edgeinfer.kernels.normalised_patch import NORMALISED_CONV_PARAMS, normalised_patch_reader
from edgeinfer.kernels.products import inner_products
from edgeinfer.kernels.registry import Simd, kernel_family
from edgeinfer.kernels.winograd_transforms import finish_column, input_transform, output_transform
from edgeinfer.simd.pointers import advance, claim
from edgeinfer.simd.tile import TileOps

TILES = {"avx512": [(8, 2)], "avx2": [(6, 2)], "v128": [(6, 2)], "neon": [(8, 2)]}

PART = 3
OUTPUT = 4
FREQUENCIES = OUTPUT + PART - 1


@kernel_family("f32_winograd_few_outputs", NORMALISED_CONV_PARAMS, TILES, output=OUTPUT, normalises=1)
def f32_winograd_few_outputs(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """Convolution with stride and dilation 1, one group, at most ``lanes`` outputs, kernel height a multiple of 3.

    ``task_rows`` counts groups of four output rows.
    """
    ops, lanes, floats, scratch = TileOps(simd, tile_rows, vectors), simd.lanes, simd.buffer, simd.scratch
    zeros, inner, store_tile, columns = ops.zeros, inner_products(ops), ops.store, ops.columns
    load, store, read_patch = simd.load, simd.store, normalised_patch_reader(simd)
    transform_input = input_transform(simd, FREQUENCIES, store)
    transform_output = output_transform(simd, OUTPUT, FREQUENCIES)
    finish = finish_column(simd, OUTPUT)

    @njit(error_model="numpy")
    def transform(v: Any, patch: Any, first: Any, pixels: Any, parts: Any, channels: Any) -> None:
        """Vectors reach beyond the channels of a part into what is written next."""
        row_floats, v_pitch = pixels * channels, pixels * parts * channels + lanes
        for pixel in range(pixels):
            for a in range(parts):
                place, source = (pixel * parts + a) * channels, first + a * PART * row_floats + pixel * channels
                for c in range(0, channels, lanes):
                    transform_input(v, place + c, v_pitch, patch, source + c, row_floats)

    @njit(error_model="numpy")
    def multiply(m: Any, v: Any, u: Any, pixels: Any, blocks: Any, depth: Any) -> None:
        m_pitch, v_pitch = pixels * blocks * columns + lanes, pixels * depth + lanes
        for block in range(blocks):
            for frequency in range(FREQUENCIES):
                u_index = (block * FREQUENCIES + frequency) * depth * columns
                for pixel in range(0, pixels, tile_rows):
                    tile = inner(zeros(), v, frequency * v_pitch + pixel * depth, depth, u, u_index, depth)
                    place = frequency * m_pitch + (pixel * blocks + block) * columns
                    store_tile(tile, m, place, blocks * columns, tile_rows, columns)

    @njit(forceinline=True, error_model="numpy")
    def add_taps(buffer: Any, m: Any, at: Any, m_pitch: Any, tap_pitch: Any, taps: Any) -> None:
        """Sums over the taps of a kernel row, one vector for each frequency."""
        for frequency in range(FREQUENCIES):
            total = load(m, at)
            for kx in range(1, taps):
                total = total + load(m, at + kx * tap_pitch)
            store(buffer, frequency * lanes, total)
            at += m_pitch

    def body(p: Any, worker: Any) -> None:
        x, u, y = floats(worker, p.x), floats(worker, p.w), floats(worker, p.y)
        bias, has_residual = load(floats(worker, p.bias), 0), p.residual >= 0
        residual = floats(worker, p.residual) if has_residual else y
        channels, outputs, taps, parts = p.channels, p.out_channels, p.kernel_width, p.kernel_height // PART
        blocks = (taps * outputs + columns - 1) // columns
        while True:
            task = claim(worker, p.tiles)
            if task >= p.tiles:
                break
            column_task = task % p.column_tasks
            row_task = task // p.column_tasks % p.row_tasks
            image = task // p.column_tasks // p.row_tasks
            out_row, out_column = row_task * p.task_rows * OUTPUT, column_task * p.task_columns
            groups = min(p.task_rows, (p.out_height - out_row + OUTPUT - 1) // OUTPUT)
            task_columns = min(p.task_columns, p.out_width - out_column)
            pixels = (task_columns + taps - 1 + tile_rows - 1) // tile_rows * tile_rows
            row_floats = pixels * channels
            m_pitch, v_pitch = pixels * blocks * columns + lanes, parts * row_floats + lanes

            buffer = scratch(worker)
            m = advance(buffer, FREQUENCIES * lanes)
            v = advance(m, FREQUENCIES * m_pitch + lanes)
            patch = advance(v, FREQUENCIES * v_pitch)
            read_patch(
                patch, x, p, worker, image, out_row - p.pad_top, out_column - p.pad_left,
                groups * OUTPUT + p.kernel_height - 1, pixels,
            )  # fmt: skip
            y_start = p.y_start + image * p.y_image + out_row * p.y_row + out_column * p.y_pixel
            for group in range(groups):
                transform(v, patch, group * OUTPUT * row_floats, pixels, parts, channels)
                multiply(m, v, u, pixels, blocks, parts * channels)
                rows = min(OUTPUT, p.out_height - out_row - group * OUTPUT)
                place = y_start + group * OUTPUT * p.y_row
                for column in range(task_columns):
                    add_taps(buffer, m, column * blocks * columns, m_pitch, blocks * columns + outputs, taps)
                    values = transform_output(buffer, 0, lanes)
                    finish(
                        values, y, place + column * p.y_pixel, p, bias, residual, has_residual, rows, outputs, buffer, 0
                    )

    return body
