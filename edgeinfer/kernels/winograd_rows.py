"""3x3 convolution by minimal filtering along rows of pixels alone: F(1x2, 3x3), 12 products for two pixels' 18.

F(2x2, 3x3) takes 8, see ``edgeinfer.kernels.winograd``, but its filters are a third larger, and each of them is used
for half as many tiles. Where a picture has so few pixels that filters arrive more slowly than they are multiplied, as
in the last layers of residual networks, this is quicker. Taps down the columns are added up directly:

    Y[r, t] = A^T [ sum over taps a down and channels of (G g_a) * V[r + a, t] ],   V[r, t] = B^T d[r, t]

for the input pixels d[r, t] of tile t of row r. Filters are packed as [output block][frequency][tap down][channel]
[columns], V is [frequency][row][tile][channel]: the tiles that a tap further down reads lie one row of tiles further.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from edgeinfer.kernels.normalised_patch import NORMALISED_CONV_PARAMS
from edgeinfer.kernels.registry import Simd, kernel_family
from edgeinfer.kernels.winograd import first_row_of, float_arithmetic, frequency_products, parts_of_task, whole_tiles
from edgeinfer.kernels.winograd_transforms import finish_column, output_transform
from edgeinfer.simd.pointers import advance, claim, opaque_pointer

TILES = {"avx512": [(14, 2)]}

OUTPUT, TAPS = 2, 3
FREQUENCIES = OUTPUT + TAPS - 1


@kernel_family("f32_winograd1x2", NORMALISED_CONV_PARAMS, TILES, output=OUTPUT, axes=1, normalises=1)
def f32_winograd1x2(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """3x3 convolution with stride 1 and dilation 1, one group; tasks count rows of pixels, and tiles of a row."""
    arithmetic = float_arithmetic(simd, tile_rows, vectors, OUTPUT)
    lanes, floats, scratch, load, columns = simd.lanes, simd.buffer, simd.scratch, simd.load, arithmetic.columns
    transform, read_patch = arithmetic.transform_across, arithmetic.read_patch
    multiply_frequency = frequency_products(arithmetic)
    transform_back, finish = output_transform(simd, OUTPUT, FREQUENCIES), finish_column(simd, OUTPUT)

    @njit(error_model="numpy")
    def to_frequencies(
        v: Any, frequency_pitch: Any, v_pitch: Any, patch: Any, rows: Any, row_pitch: Any, column_tiles: Any,
        channels: Any,
    ) -> None:  # fmt: skip
        """Fill V from the patch."""
        for row in range(rows):
            for column in range(column_tiles):
                place, start = (row * column_tiles + column) * v_pitch, row * row_pitch + column * OUTPUT * channels
                for c in range(0, channels, lanes):
                    transform(v, place + c, frequency_pitch, patch, start + c, channels)

    @njit(error_model="numpy")
    def multiply(
        m: Any, m_pitch: Any, v: Any, v_index: Any, frequency_pitch: Any, v_pitch: Any, column_tiles: Any, u: Any,
        u_index: Any, channels: Any, tiles: Any,
    ) -> None:  # fmt: skip
        """Products of all frequencies with the tiles from ``v[v_index]`` on."""
        for frequency in range(FREQUENCIES):
            multiply_frequency(
                m, frequency * m_pitch, columns, v, v_index + frequency * frequency_pitch, v_pitch,
                column_tiles * v_pitch, u, u_index, channels, TAPS, tiles,
            )  # fmt: skip
            u_index += TAPS * channels * columns

    @njit(error_model="numpy")
    def write(
        p: Any, worker: Any, m: Any, m_pitch: Any, spare: Any, block: Any, rows: Any, column_tiles: Any,
        out_column: Any, y_start: Any,
    ) -> None:  # fmt: skip
        """From products to pixels: transform back, bias, residual, activation."""
        bias, y, has_residual = floats(worker, p.bias), floats(worker, p.y), p.residual >= 0
        residual = floats(worker, p.residual) if has_residual else y
        for row in range(rows):
            for column in range(column_tiles):
                across = min(OUTPUT, p.out_width - out_column - column * OUTPUT)
                for part in range(0, columns, lanes):
                    channel = block * columns + part
                    count = min(lanes, p.out_channels - channel)
                    if count <= 0:
                        break
                    at = (row * column_tiles + column) * columns + part
                    values = transform_back(opaque_pointer(m, at), 0, m_pitch)
                    place = y_start + row * p.y_row + column * OUTPUT * p.y_pixel + channel
                    finish(
                        values, y, place, p.y_pixel, p, load(bias, channel), residual, has_residual, across, count,
                        spare, 0,
                    )  # fmt: skip

    def body(p: Any, worker: Any) -> None:
        x, u, channels = floats(worker, p.x), floats(worker, p.w), p.channels
        blocks = (p.out_channels + columns - 1) // columns
        # One vector more: rows of a tile that lie a power of two apart compete for lines of the first-level cache.
        v_pitch = (channels + lanes - 1) // lanes * lanes + lanes
        transformed = -1
        while True:
            task = claim(worker, p.tiles)
            if task >= p.tiles:
                break
            first_block, task, column_task, row_task, image = parts_of_task(p, task)
            # Rows that any of its blocks needs.
            first_row = first_row_of(p, row_task, p.out_height, 0, blocks)
            rows = first_row_of(p, row_task + 1, p.out_height, blocks - 1, blocks) - first_row
            out_column = column_task * p.task_columns * OUTPUT
            column_tiles = min(p.task_columns, (p.out_width - out_column + OUTPUT - 1) // OUTPUT)
            tiles = whole_tiles(rows * column_tiles, tile_rows)
            patch_rows, patch_columns = rows + TAPS - 1, column_tiles * OUTPUT + TAPS - 1
            m_pitch = tiles * columns + lanes
            frequency_pitch = (tiles + (TAPS - 1) * column_tiles) * v_pitch + lanes

            spare = scratch(worker)
            m = advance(spare, OUTPUT * lanes)
            v = advance(m, FREQUENCIES * m_pitch)
            patch = advance(v, FREQUENCIES * frequency_pitch)
            # Tasks that follow each other mostly differ in their output channels alone.
            if task != transformed:
                transformed = task
                top, left = first_row - p.pad_top, out_column - p.pad_left
                read_patch(patch, x, p, worker, image, top, left, patch_rows, patch_columns)
                to_frequencies(
                    v, frequency_pitch, v_pitch, patch, patch_rows, patch_columns * channels, column_tiles, channels
                )
            y_start = p.y_start + image * p.y_image + out_column * p.y_pixel
            for block in range(first_block, min(blocks, first_block + p.task_blocks)):
                first = first_row_of(p, row_task, p.out_height, block, blocks)
                rows = first_row_of(p, row_task + 1, p.out_height, block, blocks) - first
                multiply(
                    m, m_pitch, v, (first - first_row) * column_tiles * v_pitch, frequency_pitch, v_pitch, column_tiles,
                    u, block * FREQUENCIES * TAPS * channels * columns, channels,
                    whole_tiles(rows * column_tiles, tile_rows),
                )  # fmt: skip
                write(p, worker, m, m_pitch, spare, block, rows, column_tiles, out_column, y_start + first * p.y_row)

    return body
