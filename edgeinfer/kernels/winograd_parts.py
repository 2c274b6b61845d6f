"""Large kernels on few input channels by Winograd: the kernel is cut into 3x3 parts that share one transform back.

A 9x9 kernel is the sum of nine 3x3 kernels that read input shifted by 3a rows and 3b columns:

    Y = A^T [ sum over parts (a, b) and channels of (G g_ab G^T) * (B^T d_ab B) ] A

so 36 * 9 products stand for 16 * 81: four times fewer, as for a single 3x3 kernel. For the first layers of style
networks (3 channels) the parts are what fills the inner loop: it runs over part and channel, [a][b][channel].

With few channels a vector holds several pixels of a row, so both transforms run along whole rows of the patch:
down the columns first, then across with taps ``channels`` floats apart; what a part needs is copied from there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from edgeinfer.kernels.conv import CONV_PARAMS
from edgeinfer.kernels.patch import patch_reader
from edgeinfer.kernels.registry import Simd, kernel_family
from edgeinfer.kernels.winograd import (
    FREQUENCIES,
    INPUT,
    OUTPUT,
    TILES,
    one_dimensional_transforms,
    winograd_products,
)
from edgeinfer.simd.pointers import advance, buffer_f32, claim, scratch_f32

PART = 3


@kernel_family("f32_winograd_parts", CONV_PARAMS, TILES)
def f32_winograd_parts(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """Convolution with stride 1 and dilation 1, one group; kernel sizes are multiples of 3 (padded with zeros)."""
    lanes, load, store, columns = simd.lanes, simd.load, simd.store, vectors * simd.lanes
    transform_input, _ = one_dimensional_transforms(simd)
    read_patch, multiply_and_finish = patch_reader(simd), winograd_products(simd, tile_rows, vectors)

    @njit(forceinline=True, error_model="numpy")
    def copy_parts(v: Any, place: Any, v_pitch: Any, across: Any, column_tiles: Any, parts: Any, channels: Any) -> None:
        """Copy one row of frequencies; vectors reach beyond the channels, into places that are written next."""
        for tile in range(column_tiles):
            at, source = place + tile * v_pitch, tile * OUTPUT * channels
            for _ in range(parts):
                for c in range(0, channels, lanes):
                    store(v, at + c, load(across, source + c))
                at += channels
                source += PART * channels

    @njit(error_model="numpy")
    def to_frequencies(
        v: Any, patch: Any, buffer: Any, row_tiles: Any, column_tiles: Any, tiles: Any, patch_columns: Any,
        channels: Any, parts_down: Any, parts_across: Any, v_pitch: Any,
    ) -> None:  # fmt: skip
        row_floats = patch_columns * channels
        pitch = row_floats + lanes
        across = advance(buffer, INPUT * pitch)
        used = (column_tiles * OUTPUT + PART * (parts_across - 1)) * channels
        for row in range(row_tiles):
            for a in range(parts_down):
                start = (row * OUTPUT + a * PART) * row_floats
                for n in range(0, row_floats, lanes):
                    transform_input(buffer, n, pitch, patch, start + n, row_floats)
                for i in range(INPUT):
                    for n in range(0, used, lanes):
                        transform_input(across, n, pitch, buffer, i * pitch + n, channels)
                    for j in range(INPUT):
                        frequency = i * INPUT + j
                        place = frequency * (tiles * v_pitch + lanes) + row * column_tiles * v_pitch
                        place += a * parts_across * channels
                        copy_parts(v, place, v_pitch, advance(across, j * pitch), column_tiles, parts_across, channels)

    def body(p: Any, worker: Any) -> None:
        x, channels = buffer_f32(worker, p.x), p.channels
        parts_down, parts_across = p.kernel_height // PART, p.kernel_width // PART
        depth = parts_down * parts_across * channels
        v_pitch = depth + lanes
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
            patch_rows = row_tiles * OUTPUT + p.kernel_height - 1
            patch_columns = column_tiles * OUTPUT + p.kernel_width - 1

            buffer = scratch_f32(worker)
            m = advance(buffer, max(2 * FREQUENCIES * lanes, 2 * INPUT * (patch_columns * channels + lanes)))
            v = advance(m, FREQUENCIES * (tiles * columns + lanes))
            patch = advance(v, FREQUENCIES * (tiles * v_pitch + lanes) + lanes)
            image_start = image * p.height * p.width * p.x_channels
            read_patch(
                patch, x, p, image_start, 0, out_row - p.pad_top, out_column - p.pad_left, patch_rows, patch_columns
            )
            to_frequencies(
                v, patch, buffer, row_tiles, column_tiles, tiles, patch_columns, channels, parts_down, parts_across,
                v_pitch,
            )  # fmt: skip
            multiply_and_finish(
                p, worker, v, m, buffer, row_tiles, column_tiles, tiles, depth, v_pitch, out_row, out_column, image
            )

    return body
