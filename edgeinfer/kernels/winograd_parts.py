"""Large kernels on few input channels by Winograd: the kernel is cut into 3x3 parts that share one transform back.

A 9x9 kernel is the sum of nine 3x3 kernels that read input shifted by 3a rows and 3b columns:

    Y = A^T [ sum over parts (a, b) and channels of (G g_ab G^T) * (B^T d_ab B) ] A

so 64 * 9 products of F(6x6, 3x3) stand for 36 * 81: five times fewer, as for a single 3x3 kernel. For the first
layers of style networks (3 channels) the parts are what fills the inner loop: it runs over part and channel,
[a][b][channel].

Tiles of 6x6 pixels lie two parts apart, so the input is transformed at every third pixel of every third row, once for
all tiles and parts: tile i of a row and part b read position 2i + b. The pixels of a row are sorted by their phase, the
column modulo 3; the taps of neighbouring positions are neighbours then, and vectors hold several positions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numba import njit

from edgeinfer.kernels.conv import CONV_PARAMS
from edgeinfer.kernels.patch import patch_reader
from edgeinfer.kernels.products import inner_products
from edgeinfer.kernels.registry import Simd, kernel_family
from edgeinfer.kernels.winograd import parts_of_task, whole_tiles
from edgeinfer.kernels.winograd_transforms import input_transform, inverse_transform, phased_input_transform
from edgeinfer.simd.pointers import advance, claim, opaque_pointer
from edgeinfer.simd.tile import TileOps

TILES = {"avx512": [(8, 2)], "avx2": [(6, 2)], "v128": [(6, 2)], "neon": [(8, 2)]}

PART = 3


@dataclass(frozen=True)
class PartsArithmetic:
    """What a number format brings along: compiled functions.

    Attributes:
        simd: vectors of the units of x.
        rows: tiles of pixels of a register tile.
        columns: output channels of a register tile.
        output: pixels of an output tile along one axis, a multiple of ``PART``.
        zeros: the register tile to start from, see ``TileOps``.
        store_tile: writes a register tile, see ``TileOps``.
        inner: adds outer products to a tile, see ``inner_products``.
        transform_down: see ``input_transform``.
        transform_across: see ``phased_input_transform``.
        read_patch: see ``patch_reader``.
        transform_back: see ``inverse_transform``.
    """

    simd: Simd
    rows: int
    columns: int
    output: int
    zeros: Callable[..., Any]
    store_tile: Callable[..., None]
    inner: Callable[..., Any]
    transform_down: Callable[..., None]
    transform_across: Callable[..., None]
    read_patch: Callable[..., None]
    transform_back: Callable[..., None]


@kernel_family("f32_winograd_parts", CONV_PARAMS, TILES, output=6)
def f32_winograd_parts(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """Convolution with stride 1 and dilation 1, one group; kernel sizes are multiples of 3 (padded with zeros)."""
    ops, output, size = TileOps(simd, tile_rows, vectors), 6, 8
    return winograd_parts_conv(
        PartsArithmetic(
            simd, tile_rows, ops.columns, output, ops.zeros, ops.store, inner_products(ops),
            input_transform(simd, size, simd.store), phased_input_transform(simd, size, PART), patch_reader(simd),
            inverse_transform(simd, vectors, output, size),
        )
    )  # fmt: skip


def winograd_parts_conv(arithmetic: PartsArithmetic) -> Callable[..., None]:
    """The body of a convolution kernel with stride 1 and dilation 1, one group."""
    simd, tile_rows, columns, output = arithmetic.simd, arithmetic.rows, arithmetic.columns, arithmetic.output
    zeros, inner, store_tile = arithmetic.zeros, arithmetic.inner, arithmetic.store_tile
    transform_down, transform_across = arithmetic.transform_down, arithmetic.transform_across
    read_patch, transform_back = arithmetic.read_patch, arithmetic.transform_back
    lanes, floats, scratch, load, store = simd.lanes, simd.buffer, simd.scratch, simd.load, simd.store
    size, parts_of_tile = output + PART - 1, output // PART
    frequencies = size * size

    @njit(error_model="numpy")
    def sort_by_phase(sorted_rows: Any, patch: Any, rows: Any, positions: Any, channels: Any) -> None:
        """Rows of the patch as [phase][position][channel]; whole vectors, whose ends the next pixels overwrite."""
        for row in range(rows):
            for phase in range(PART):
                place = (row * PART + phase) * positions * channels
                source = (row * PART * positions + phase) * channels
                for _ in range(positions):
                    for c in range(0, channels, lanes):
                        store(sorted_rows, place + c, load(patch, source + c))
                    place += channels
                    source += PART * channels

    @njit(error_model="numpy")
    def to_frequencies(
        v: Any, v_pitch: Any, sorted_rows: Any, down: Any, position_rows: Any, row_floats: Any, channels: Any
    ) -> None:
        """Fill v[frequency][row of positions][floats of a row]; ``down`` has space for ``size`` rows of all phases."""
        pitch = PART * row_floats + lanes
        for row in range(position_rows):
            start = row * PART * PART * row_floats
            for n in range(0, PART * row_floats, lanes):
                transform_down(down, n, pitch, sorted_rows, start + n, PART * row_floats)
            for i in range(size):
                place = i * size * v_pitch + row * row_floats
                for n in range(0, row_floats, lanes):
                    # A pointer to each frequency that moves on by itself would take too many registers.
                    transform_across(
                        opaque_pointer(v, place + n), 0, v_pitch, down, i * pitch + n, row_floats, channels
                    )

    @njit(error_model="numpy")
    def multiply(
        m: Any, v: Any, v_pitch: Any, u: Any, u_index: Any, row_tiles: Any, padded_columns: Any, row_floats: Any,
        channels: Any, parts_down: Any, parts_across: Any,
    ) -> None:  # fmt: skip
        m_pitch = row_tiles * padded_columns * columns + lanes
        run, tile_step = parts_across * channels, parts_of_tile * channels
        for frequency in range(frequencies):
            for row in range(row_tiles):
                for first in range(0, padded_columns, tile_rows):
                    tile, weights = zeros(), u_index
                    at = frequency * v_pitch + row * parts_of_tile * row_floats + first * tile_step
                    for _ in range(parts_down):
                        tile = inner(tile, v, at, tile_step, u, weights, run)
                        at += row_floats
                        weights += run * columns
                    place = frequency * m_pitch + (row * padded_columns + first) * columns
                    store_tile(tile, m, place, columns, tile_rows, columns)
            u_index += parts_down * run * columns

    def body(p: Any, worker: Any) -> None:
        x, u, channels = floats(worker, p.x), floats(worker, p.w), p.channels
        parts_down, parts_across = p.kernel_height // PART, p.kernel_width // PART
        block_floats = frequencies * parts_down * parts_across * channels * columns
        blocks, transformed = (p.out_channels + columns - 1) // columns, -1
        while True:
            task = claim(worker, p.tiles)
            if task >= p.tiles:
                break
            first_block, task, column_task, row_task, image = parts_of_task(p, task)
            out_row, out_column = row_task * p.task_rows * output, column_task * p.task_columns * output
            row_tiles = min(p.task_rows, (p.out_height - out_row + output - 1) // output)
            column_tiles = min(p.task_columns, (p.out_width - out_column + output - 1) // output)
            padded_columns = whole_tiles(column_tiles, tile_rows)
            tiles = row_tiles * padded_columns
            patch_rows = row_tiles * output + p.kernel_height - 1
            position_rows = row_tiles * parts_of_tile + parts_down - parts_of_tile
            positions = padded_columns * parts_of_tile + parts_across
            row_floats = positions * channels
            v_pitch = position_rows * row_floats + lanes

            buffer = scratch(worker)
            m = advance(buffer, max(frequencies * lanes, size * (PART * row_floats + lanes) + lanes))
            v = advance(m, frequencies * (tiles * columns + lanes))
            sorted_rows = advance(v, frequencies * v_pitch + lanes)
            # Tasks that follow each other mostly differ in their output channels alone.
            if task != transformed:
                transformed = task
                # The patch lies where products will.
                patch = m
                start = image * p.height * p.width * p.x_channels
                top, left = out_row - p.pad_top, out_column - p.pad_left
                read_patch(patch, x, p, start, 0, top, left, patch_rows, PART * positions)
                sort_by_phase(sorted_rows, patch, patch_rows, positions, channels)
                to_frequencies(v, v_pitch, sorted_rows, buffer, position_rows, row_floats, channels)
            for block in range(first_block, min(blocks, first_block + p.task_blocks)):
                multiply(
                    m, v, v_pitch, u, block * block_floats, row_tiles, padded_columns, row_floats, channels,
                    parts_down, parts_across,
                )  # fmt: skip
                transform_back(
                    p, worker, m, tiles * columns + lanes, columns, buffer, block, row_tiles, column_tiles,
                    padded_columns, out_row, out_column, image,
                )  # fmt: skip

    return body
