"""Large kernels on few input channels by Winograd: the kernel is cut into 3x3 parts that share one transform back.

A 9x9 kernel is the sum of nine 3x3 kernels that read input shifted by 3a rows and 3b columns:

    Y = A^T [ sum over parts (a, b) and channels of (G g_ab G^T) * (B^T d_ab B) ] A

so 64 * 9 products of F(6x6, 3x3) stand for 36 * 81: five times fewer, as for a single 3x3 kernel. For the first
layers of style networks (3 channels) the parts are what fills the inner loop: it runs over part and channel,
[a][b][channel].

Tiles lie two parts apart, so the input is transformed at every third pixel of every third row, once for all tiles and
parts: tile i of a row and part b read position 2i + b. The pixels of a row are sorted by their phase, the column
modulo 3; the taps of neighbouring positions are neighbours then, and vectors hold several positions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from edgeinfer.kernels.conv import CONV_PARAMS
from edgeinfer.kernels.patch import patch_reader
from edgeinfer.kernels.products import inner_products
from edgeinfer.kernels.registry import Simd, kernel_family
from edgeinfer.kernels.winograd_transforms import input_transform, inverse_transform, phased_input_transform
from edgeinfer.simd.pointers import advance, claim, opaque_pointer
from edgeinfer.simd.tile import TileOps

TILES = {"avx512": [(8, 2)], "avx2": [(6, 2)], "v128": [(6, 2)], "neon": [(8, 2)]}

PART = 3
# Parts from one tile to the next.
PARTS_OF_TILE = 2
OUTPUT = PART * PARTS_OF_TILE
INPUT = OUTPUT + PART - 1
FREQUENCIES = INPUT * INPUT


@kernel_family("f32_winograd_parts", CONV_PARAMS, TILES, output=OUTPUT)
def f32_winograd_parts(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """Convolution with stride 1 and dilation 1, one group; kernel sizes are multiples of 3 (padded with zeros)."""
    ops, lanes, floats, scratch = TileOps(simd, tile_rows, vectors), simd.lanes, simd.buffer, simd.scratch
    load, store = simd.load, simd.store
    zeros, inner, store_tile, columns = ops.zeros, inner_products(ops), ops.store, ops.columns
    transform_down = input_transform(simd, INPUT, store)
    transform_across = phased_input_transform(simd, INPUT, PART)
    read_patch, transform_back = patch_reader(simd), inverse_transform(simd, vectors, OUTPUT, INPUT)

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
        """Fill v[frequency][row of positions][floats of a row]; ``down`` has space for eight rows of all phases."""
        pitch = PART * row_floats + lanes
        for row in range(position_rows):
            start = row * PART * PART * row_floats
            for n in range(0, PART * row_floats, lanes):
                transform_down(down, n, pitch, sorted_rows, start + n, PART * row_floats)
            for i in range(INPUT):
                place = i * INPUT * v_pitch + row * row_floats
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
        run, tile_step = parts_across * channels, PARTS_OF_TILE * channels
        for frequency in range(FREQUENCIES):
            for row in range(row_tiles):
                for first in range(0, padded_columns, tile_rows):
                    tile, weights = zeros(), u_index
                    at = frequency * v_pitch + row * PARTS_OF_TILE * row_floats + first * tile_step
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
        block_floats = FREQUENCIES * parts_down * parts_across * channels * columns
        blocks = (p.out_channels + columns - 1) // columns
        while True:
            task = claim(worker, p.tiles)
            if task >= p.tiles:
                break
            first_block = task % p.block_tasks * p.task_blocks
            task //= p.block_tasks
            column_task = task % p.column_tasks
            row_task = task // p.column_tasks % p.row_tasks
            image = task // p.column_tasks // p.row_tasks
            out_row, out_column = row_task * p.task_rows * OUTPUT, column_task * p.task_columns * OUTPUT
            row_tiles = min(p.task_rows, (p.out_height - out_row + OUTPUT - 1) // OUTPUT)
            column_tiles = min(p.task_columns, (p.out_width - out_column + OUTPUT - 1) // OUTPUT)
            padded_columns = (column_tiles + tile_rows - 1) // tile_rows * tile_rows
            tiles = row_tiles * padded_columns
            patch_rows = row_tiles * OUTPUT + p.kernel_height - 1
            position_rows = row_tiles * PARTS_OF_TILE + parts_down - 2
            positions = padded_columns * PARTS_OF_TILE + parts_across
            row_floats = positions * channels
            v_pitch = position_rows * row_floats + lanes

            buffer = scratch(worker)
            m = advance(buffer, max(FREQUENCIES * lanes, INPUT * (PART * row_floats + lanes) + lanes))
            v = advance(m, FREQUENCIES * (tiles * columns + lanes))
            sorted_rows = advance(v, FREQUENCIES * v_pitch + lanes)
            # The patch lies where products will.
            patch = m
            image_start = image * p.height * p.width * p.x_channels
            read_patch(
                patch, x, p, image_start, 0, out_row - p.pad_top, out_column - p.pad_left, patch_rows, PART * positions
            )
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
