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
from dataclasses import dataclass
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


@dataclass(frozen=True)
class FewOutputsFiltering:
    """What a number format brings along: compiled functions.

    Attributes:
        simd: vectors of the units of x.
        rows: pixels of a register tile.
        columns: pairs of tap and output channel of a register tile.
        zeros: the register tile to start from, see ``TileOps``.
        store_tile: writes a register tile, see ``TileOps``.
        inner: adds outer products to a tile, see ``inner_products``.
        transform_input: see ``input_transform``.
        read_patch: ``read(patch, x, p, worker, image, top, left, rows, columns)``, see ``patch_reader``.
        load_sums: ``load(m, index)``: a vector of sums.
        store_sums: its counterpart.
        buffers: ``buffers(p, worker)``: a tuple with what ``finish`` needs.
        finish: ``finish(buffers, p, sums, place, rows)``: transforms the sums of a column of pixels, a vector for each
            frequency, and writes its first ``rows`` pixels from ``place`` down. What is behind them may be overwritten.
    """

    simd: Simd
    rows: int
    columns: int
    zeros: Callable[..., Any]
    store_tile: Callable[..., None]
    inner: Callable[..., Any]
    transform_input: Callable[..., None]
    read_patch: Callable[..., None]
    load_sums: Callable[..., Any]
    store_sums: Callable[..., None]
    buffers: Callable[..., Any]
    finish: Callable[..., None]


@kernel_family("f32_winograd_few_outputs", NORMALISED_CONV_PARAMS, TILES, output=OUTPUT, normalises=1)
def f32_winograd_few_outputs(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """Convolution with stride and dilation 1, one group, at most ``lanes`` outputs, kernel height a multiple of 3.

    ``task_rows`` counts groups of four output rows.
    """
    ops, lanes, floats, load = TileOps(simd, tile_rows, vectors), simd.lanes, simd.buffer, simd.load
    transform_output, finish_pixels = output_transform(simd, OUTPUT, FREQUENCIES), finish_column(simd, OUTPUT)

    @njit(forceinline=True, error_model="numpy")
    def buffers(p: Any, worker: Any) -> Any:
        y = floats(worker, p.y)
        residual = floats(worker, p.residual) if p.residual >= 0 else y
        return load(floats(worker, p.bias), 0), residual, y

    @njit(forceinline=True, error_model="numpy")
    def finish(buffers: Any, p: Any, sums: Any, place: Any, rows: Any) -> None:
        bias, residual, y = buffers
        values = transform_output(sums, 0, lanes)
        finish_pixels(values, y, place, p.y_row, p, bias, residual, p.residual >= 0, rows, p.out_channels, sums, 0)

    return winograd_few_outputs_conv(
        FewOutputsFiltering(
            simd, tile_rows, ops.columns, ops.zeros, ops.store, inner_products(ops),
            input_transform(simd, FREQUENCIES, simd.store), normalised_patch_reader(simd), load, simd.store, buffers,
            finish,
        )
    )  # fmt: skip


def winograd_few_outputs_conv(filtering: FewOutputsFiltering) -> Callable[..., None]:
    """The body of a convolution kernel with few outputs."""
    simd, tile_rows, columns = filtering.simd, filtering.rows, filtering.columns
    lanes, floats, scratch = simd.lanes, simd.buffer, simd.scratch
    zeros, inner, store_tile = filtering.zeros, filtering.inner, filtering.store_tile
    transform_input, read_patch = filtering.transform_input, filtering.read_patch
    load, store, buffers_of, finish = filtering.load_sums, filtering.store_sums, filtering.buffers, filtering.finish

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
        x, u, buffers = floats(worker, p.x), floats(worker, p.w), buffers_of(p, worker)
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
                    finish(buffers, p, buffer, place + column * p.y_pixel, rows)

    return body
