"""Convolution with few output channels by F(3x3, 3x3), with pixels in the lanes of vectors: 25 products for 81.

The last layers of style networks (9x9, 32 → 3) have too few outputs to fill vectors with. So neighbouring tiles of 3x3
output pixels do, and three output channels at a time share what is read. Kernels larger than 3x3 are cut into parts,
as in ``edgeinfer.kernels.winograd_parts``; parts and tiles are both three pixels apart, so the input is transformed
once at every third pixel of every third row, and part (a, b) of tile (R, C) reads position (R + a, C + b):

    Y[R, C] = A^T [ sum over parts (a, b) and channels of (G g_ab G^T) * V[R + a, C + b] ] A,   V = B^T d B

A task is a block of tiles, done row by row. Each new row of positions needs three further rows of pixels. These are
transposed to [channel][row][phase][position], the phase being the column modulo 3, so that vectors hold one pixel of
neighbouring positions. V[frequency][row of positions modulo parts][channel][position] keeps as many rows as there
are parts down. Filters are packed as [block of 3 outputs][frequency][part down][channel][part across][output].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from edgeinfer.kernels.epilogue import row_activation
from edgeinfer.kernels.normalised_patch import NORMALISED_CONV_PARAMS, normalised_patch_reader
from edgeinfer.kernels.registry import Simd, kernel_family
from edgeinfer.kernels.winograd_transforms import for_each, input_transform, output_transform, phased_input_transform
from edgeinfer.simd.pointers import advance, as_i32, claim, opaque_pointer
from edgeinfer.simd.tile import TileOps
from edgeinfer.simd.transpose import transpose_block

# Rows are output channels here, columns tiles of the picture.
TILES = {"avx2": [(3, 4)]}

PART = OUTPUT = 3
SIZE = OUTPUT + PART - 1
FREQUENCIES = SIZE * SIZE


@kernel_family("f32_winograd_pixels", NORMALISED_CONV_PARAMS, TILES, output=OUTPUT, normalises=1)
def f32_winograd_pixels(simd: Simd, outputs: int, vectors: int) -> Callable[..., None]:
    """Convolution with stride and dilation 1, one group; kernel sizes are multiples of 3.

    ``task_rows`` and ``task_columns`` count tiles; a row of a task's tiles fits a register tile.
    """
    ops, lanes, floats, scratch = TileOps(simd, outputs, vectors), simd.lanes, simd.buffer, simd.scratch
    load, store, splat, clamp = simd.load, simd.store, simd.splat, simd.clamp
    zeros, outer, store_tile, columns = ops.zeros, ops.outer, ops.store, ops.columns
    transform_down = input_transform(simd, SIZE, store)
    transform_across = phased_input_transform(simd, SIZE, PART)
    transform_back, activate_row = output_transform(simd, OUTPUT, SIZE), row_activation(simd)
    read_patch, transpose = normalised_patch_reader(simd), transpose_block(simd)

    @njit(forceinline=True, error_model="numpy")
    def store_one(value: Any, k: Any, state: Any) -> None:
        y, at, stride, addend = state
        store(y, at + k * stride, value + addend)

    store_each = for_each(OUTPUT, store_one)

    @njit(error_model="numpy")
    def take_rows(planes: Any, patch: Any, first: Any, rows: Any, positions: Any, pitch: Any, channels: Any) -> None:
        """Rows of the patch, as int32, to ``planes[channel][first + row][phase][position]``."""
        plane, pixels = SIZE * PART * pitch, PART * pitch
        for row in range(rows):
            for phase in range(PART):
                place = ((first + row) * PART + phase) * pitch
                source = (row * pixels + phase) * channels
                for position in range(0, positions, lanes):
                    for channel in range(0, channels, lanes):
                        transpose(
                            planes, place + channel * plane + position, plane,
                            patch, source + position * PART * channels + channel, PART * channels,
                        )  # fmt: skip

    @njit(error_model="numpy")
    def keep_rows(planes: Any, pitch: Any, channels: Any) -> None:
        """The last rows of a row of positions are the first of the next one's."""
        row = PART * pitch
        for channel in range(channels):
            at = channel * SIZE * row
            for n in range(0, (SIZE - PART) * row, lanes):
                store(planes, at + n, load(planes, at + PART * row + n))

    @njit(error_model="numpy")
    def to_frequencies(
        v: Any, v_pitch: Any, v_row: Any, planes: Any, down: Any, positions: Any, pitch: Any, channels: Any
    ) -> None:
        """Fill one row of positions of V; ``down`` has space for the planes of one channel."""
        row = PART * pitch
        for channel in range(channels):
            for n in range(0, row, lanes):
                transform_down(down, n, row, planes, channel * SIZE * row + n, row)
            for i in range(SIZE):
                place = i * SIZE * v_pitch + v_row + channel * positions
                for n in range(0, positions, lanes):
                    transform_across(opaque_pointer(v, place + n), 0, v_pitch, down, i * row + n, pitch, 1)

    @njit(error_model="numpy")
    def multiply(
        m: Any, v: Any, v_pitch: Any, u: Any, u_index: Any, row: Any, positions: Any, parts_down: Any,
        parts_across: Any, channels: Any,
    ) -> None:  # fmt: skip
        for frequency in range(FREQUENCIES):
            tile = zeros()
            for a in range(parts_down):
                at = frequency * v_pitch + (row + a) % parts_down * channels * positions
                for _ in range(channels):
                    for b in range(parts_across):
                        tile = outer(tile, u, u_index, 1, v, at + b)
                        u_index += outputs
                    at += positions
            store_tile(tile, m, frequency * outputs * columns, columns, outputs, columns)

    @njit(forceinline=True, error_model="numpy")
    def slot(row: Any, pixel: Any) -> Any:
        """Where a pixel of neighbouring tiles is among their pixels, [row][column of the tile][tile]."""
        return (row * OUTPUT + pixel % OUTPUT) * lanes + pixel // OUTPUT

    @njit(error_model="numpy")
    def finish(
        p: Any, y: Any, residual: Any, bias: Any, m: Any, buffer: Any, block: Any, place: Any, rows: Any, pixels: Any
    ) -> None:
        """From products to ``rows`` x ``pixels`` output pixels of three channels, the first at ``y[place]``."""
        low, high, none = splat(np.float32(p.low)), splat(np.float32(p.high)), splat(np.float32(0))
        f_pitch, last = outputs * columns, SIZE * OUTPUT * lanes
        for output in range(min(outputs, p.out_channels - block * outputs)):
            addend = splat(bias[block * outputs + output])
            for first in range(0, (pixels + OUTPUT - 1) // OUTPUT, lanes):
                at = output * columns + first
                for i in range(SIZE):
                    values = transform_back(opaque_pointer(m, at + i * SIZE * f_pitch), 0, f_pitch)
                    store_each(values, (buffer, i * lanes, SIZE * lanes, none))
                for j in range(OUTPUT):
                    values = transform_back(buffer, j * SIZE * lanes, lanes)
                    store_each(values, (buffer, last + j * lanes, OUTPUT * lanes, addend))
                target = place + output + first * OUTPUT * p.y_pixel
                across = min(pixels - first * OUTPUT, lanes * OUTPUT)
                if p.residual >= 0:
                    for row in range(rows):
                        for pixel in range(across):
                            at = target + row * p.y_row + pixel * p.y_pixel
                            buffer[last + slot(row, pixel)] += residual[at]
                for n in range(last, last + OUTPUT * OUTPUT * lanes, lanes):
                    store(buffer, n, clamp(load(buffer, n), low, high))
                if p.activation != 0:
                    activate_row(
                        buffer, last, OUTPUT * OUTPUT * lanes, p.activation, np.float32(p.parameter_0),
                        np.float32(p.parameter_1),
                    )  # fmt: skip
                for row in range(rows):
                    for pixel in range(across):
                        y[target + row * p.y_row + pixel * p.y_pixel] = buffer[last + slot(row, pixel)]

    def body(p: Any, worker: Any) -> None:
        x, u, y, bias = floats(worker, p.x), floats(worker, p.w), floats(worker, p.y), floats(worker, p.bias)
        residual = floats(worker, p.residual) if p.residual >= 0 else y
        channels, parts_down, parts_across = p.channels, p.kernel_height // PART, p.kernel_width // PART
        blocks = (p.out_channels + outputs - 1) // outputs
        block_floats = FREQUENCIES * parts_down * parts_across * channels * outputs
        while True:
            task = claim(worker, p.tiles)
            if task >= p.tiles:
                break
            column_task = task % p.column_tasks
            row_task = task // p.column_tasks % p.row_tasks
            image = task // p.column_tasks // p.row_tasks
            out_row, out_column = row_task * p.task_rows * OUTPUT, column_task * p.task_columns * OUTPUT
            tile_rows = min(p.task_rows, (p.out_height - out_row + OUTPUT - 1) // OUTPUT)
            out_columns = min(p.task_columns * OUTPUT, p.out_width - out_column)
            tiles = (out_columns + OUTPUT - 1) // OUTPUT
            positions = (tiles + parts_across - 1 + lanes - 1) // lanes * lanes
            # Position n reads the first pixels of position n + 1.
            pitch = positions + lanes
            v_row = channels * positions
            # Neighbouring frequencies would have the same places in the cache otherwise.
            v_pitch = parts_down * v_row + 2 * lanes

            buffer_floats, down_floats = (SIZE + OUTPUT) * OUTPUT * lanes, SIZE * PART * pitch + lanes
            # Tiles and shifted parts beyond the last position read what follows.
            m_floats, v_floats = FREQUENCIES * outputs * columns, FREQUENCIES * v_pitch + columns + parts_across
            planes_at = buffer_floats + down_floats + m_floats + v_floats
            # Channels are transposed by whole vectors.
            patch_at = planes_at + (channels + lanes - 1) // lanes * lanes * SIZE * PART * pitch
            buffer = scratch(worker)
            down, planes, patch = advance(buffer, buffer_floats), advance(buffer, planes_at), advance(buffer, patch_at)
            m = advance(down, down_floats)
            v = advance(m, m_floats)
            planes_i32, patch_i32 = as_i32(worker.scratch + 4 * planes_at), as_i32(worker.scratch + 4 * patch_at)

            y_start = p.y_start + image * p.y_image + out_row * p.y_row + out_column * p.y_pixel
            for position_row in range(tile_rows + parts_down - 1):
                kept = SIZE - PART if position_row > 0 else 0
                if kept > 0:
                    keep_rows(planes, pitch, channels)
                read_patch(
                    patch, x, p, worker, image, out_row + position_row * PART + kept - p.pad_top,
                    out_column - p.pad_left, SIZE - kept, PART * pitch,
                )  # fmt: skip
                take_rows(planes_i32, patch_i32, kept, SIZE - kept, pitch, pitch, channels)
                to_frequencies(v, v_pitch, position_row % parts_down * v_row, planes, down, positions, pitch, channels)
                row = position_row - parts_down + 1
                if row < 0:
                    continue
                for block in range(blocks):
                    multiply(m, v, v_pitch, u, block * block_floats, row, positions, parts_down, parts_across, channels)
                    finish(
                        p, y, residual, bias, m, buffer, block, y_start + row * OUTPUT * p.y_row + block * outputs,
                        min(OUTPUT, p.out_height - out_row - row * OUTPUT), out_columns,
                    )  # fmt: skip

    return body
