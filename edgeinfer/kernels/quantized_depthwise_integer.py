"""Depthwise convolution of 8-bit pictures in integers, for processors with products of vectors of bytes, and by words.

A task copies the rows that it needs into scratch memory, with the border around them. Then, block by block of channels,
all weights stay in registers while the filter runs over the rows. On x86 bias and multipliers are packed by block too,
in the order of ``edgeinfer.simd.byte_filter``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from edgeinfer.kernels.patch import source_index
from edgeinfer.kernels.quantized_output import QUANTIZED_CONV_PARAMS, byte_output
from edgeinfer.kernels.registry import Simd, kernel_family
from edgeinfer.simd.byte_filter import ByteFilter
from edgeinfer.simd.byte_tile import ByteTileOps, store_blocks_of
from edgeinfer.simd.pointers import advance, as_u8, buffer_f32, buffer_u8, bytes_as_f32, claim
from edgeinfer.simd.tile import TileOps
from edgeinfer.simd.vectors import bits_to_f32

# On AArch64 x is signed bytes here, which other levels like it do not take.
TILES: dict[str, list[tuple[int, int]]] = {
    "vnni": [(4, 4)], "avxvnni": [(2, 4)], "avx2": [(2, 4)], "dotprod": [(4, 2)], "neon": [(2, 4)], "rvv": []
}  # fmt: skip


@kernel_family("i8_dwconv3x3", QUANTIZED_CONV_PARAMS, TILES, width=4)
def i8_dwconv3x3(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """Depthwise convolution with 3x3 kernels, dilation 1, stride 1 or 2 both ways, at least a window of outputs."""
    return _depthwise(simd, 3, tile_rows, vectors)


@kernel_family("i8_dwconv5x5", QUANTIZED_CONV_PARAMS, TILES, width=4)
def i8_dwconv5x5(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """Depthwise convolution with 5x5 kernels, dilation 1, stride 1 or 2 both ways, at least a window of outputs."""
    return _depthwise(simd, 5, tile_rows, vectors)


def _row_copy(simd: Simd) -> Callable[..., None]:
    """``copy(y, at, x, start, count)``: at least a vector of bytes, four vectors at once."""
    load, store, octets = simd.load, simd.store, 4 * simd.lanes

    @njit(forceinline=True, error_model="numpy")
    def read(x: Any, at: Any) -> Any:
        return load(bytes_as_f32(advance(x, at)), 0)

    @njit(forceinline=True, error_model="numpy")
    def write(y: Any, at: Any, value: Any) -> None:
        store(bytes_as_f32(advance(y, at)), 0, value)

    @njit(forceinline=True, error_model="numpy")
    def copy(y: Any, at: Any, x: Any, start: Any, count: Any) -> None:
        done = 0
        while done + 4 * octets <= count:
            place = start + done
            a, b = read(x, place), read(x, place + octets)
            c, d = read(x, place + 2 * octets), read(x, place + 3 * octets)
            place = at + done
            write(y, place, a)
            write(y, place + octets, b)
            write(y, place + 2 * octets, c)
            write(y, place + 3 * octets, d)
            done += 4 * octets
        while done < count:
            first = min(done, count - octets)
            write(y, at + first, read(x, start + first))
            done = first + octets

    return copy


def _depthwise(simd: Simd, size: int, pixels: int, vectors: int) -> Callable[..., None]:
    sums, floats = ByteTileOps(simd, pixels, vectors), TileOps(simd, pixels, vectors)
    output, columns = byte_output(simd, floats), sums.columns
    splat_sums, load_scales, scaled_by = sums.splat_row, TileOps(simd, 1, vectors).splat_row, sums.scaled_by
    output_buffers, write_bytes = output.buffers, output.write
    by_blocks, store_blocks = not simd.level.by_lane, store_blocks_of(simd, floats.type)
    copy, splat_i32, octets = _row_copy(simd), simd.splat_i32, 4 * simd.lanes
    store = simd.store

    @njit(forceinline=True, error_model="numpy")
    def write(tile: Any, buffers: Any, place: Any) -> None:
        if by_blocks:
            y, y_pixel, zero_point, low, high, _ = buffers
            store_blocks(tile, y, place, y_pixel, zero_point, low, high)
        else:
            write_bytes(tile, buffers, place, pixels, columns)

    @njit(forceinline=True, error_model="numpy")
    def fill(patch: Any, at: Any, count: Any, value: Any) -> None:
        for done in range(0, count, octets):
            store(bytes_as_f32(advance(patch, at + min(done, count - octets))), 0, bits_to_f32(value))

    @njit(error_model="numpy")
    def read_row(
        patch: Any, at: Any, x: Any, row: Any, left: Any, pixels_of_row: Any, width: Any, channels: Any, pad_mode: Any,
        quad: Any,
    ) -> None:  # fmt: skip
        column = 0
        while column < pixels_of_row:
            position = left + column
            if 0 <= position < width:
                count = min(pixels_of_row - column, width - position)
                copy(patch, at + column * channels, x, row + position * channels, count * channels)
                column += count
                continue
            source = source_index(position, width, pad_mode)
            if source < 0:
                fill(patch, at + column * channels, channels, splat_i32(quad))
            else:
                copy(patch, at + column * channels, x, row + source * channels, channels)
            column += 1

    def rows_at(stride: int) -> Callable[..., None]:
        bytes_filter = ByteFilter(simd, size, stride, pixels, vectors)
        load_weights, apply, weight_bytes = bytes_filter.load_weights, bytes_filter.apply, bytes_filter.weight_bytes
        hold_weights, image_rows = bytes_filter.hold_weights, bytes_filter.image_rows

        @njit(forceinline=True, error_model="numpy")
        def window(
            begin: Any, weights: Any, scales: Any, patch: Any, source: Any, row_pitch: Any, channels: Any, buffers: Any,
            target: Any, y_row: Any,
        ) -> None:  # fmt: skip
            tiles = apply(begin, weights, patch, source, row_pitch, channels)
            write(scaled_by(tiles[0], scales), buffers, target)
            if image_rows == 2:
                write(scaled_by(tiles[-1], scales), buffers, target + y_row)

        @njit(error_model="numpy", forceinline=True)
        def run(
            patch: Any, w: Any, bias: Any, factors: Any, buffers: Any, start: Any, rows: Any, width: Any,
            channels: Any, row_pitch: Any, row_step: Any, y_row: Any, y_pixel: Any,
        ) -> None:  # fmt: skip
            packed, whole = 0, width // pixels
            over = (whole + 1) * pixels - width if whole * pixels < width else 0
            for c in range(0, channels, columns):
                channel = min(c, channels - columns)
                place = c if by_blocks else channel
                weights, begin, scales = load_weights(w, packed), splat_sums(bias, place), load_scales(factors, place)
                packed += weight_bytes
                for next_row in range(0, rows, image_rows):
                    row = min(next_row, rows - image_rows)
                    source, target = channel + row * row_step, start + channel + row * y_row
                    for at in range(whole):
                        if image_rows == 1 and not by_blocks:
                            weights = hold_weights(weights, at)
                        window(begin, weights, scales, patch, source, row_pitch, channels, buffers, target, y_row)
                        source, target = source + pixels * stride * channels, target + pixels * y_pixel
                    if over > 0:
                        # The last window overlaps the one before.
                        source, target = source - over * stride * channels, target - over * y_pixel
                        window(begin, weights, scales, patch, source, row_pitch, channels, buffers, target, y_row)

        return run

    run_1, run_2 = rows_at(1), rows_at(2)

    def body(p: Any, worker: Any) -> None:
        x, w, patch, buffers = (
            buffer_u8(worker, p.x),
            buffer_u8(worker, p.w),
            as_u8(worker.scratch),
            output_buffers(p, worker),
        )
        bias, factors, channels, width, stride = (
            buffer_f32(worker, p.bias),
            buffer_f32(worker, p.multipliers),
            p.channels,
            p.out_width,
            p.stride_x,
        )
        row_pixels = (width - 1) * stride + size
        row_pitch = row_pixels * channels
        while True:
            task = claim(worker, p.tiles)
            if task >= p.tiles:
                break
            # The last task overlaps the one before where rows are no multiple of a task's.
            rows, image = p.task_rows, task // p.row_tasks
            first_row = min(task % p.row_tasks * rows, p.out_height - rows)
            top, picture = first_row * p.stride_y - p.pad_top, image * p.height * p.width * channels
            for row in range((rows - 1) * p.stride_y + size):
                source = source_index(top + row, p.height, p.pad_mode)
                if source < 0:
                    fill(patch, row * row_pitch, row_pitch, splat_i32(np.int32(p.fill)))
                else:
                    start = picture + source * p.width * channels
                    read_row(
                        patch, row * row_pitch, x, start, -p.pad_left, row_pixels, p.width, channels, p.pad_mode,
                        np.int32(p.fill),
                    )  # fmt: skip
            start = p.y_start + image * p.y_image + first_row * p.y_row
            if stride == 1:
                run_1(
                    patch, w, bias, factors, buffers, start, rows, width, channels, row_pitch,
                    p.stride_y * row_pitch, p.y_row, p.y_pixel,
                )  # fmt: skip
            else:
                run_2(
                    patch, w, bias, factors, buffers, start, rows, width, channels, row_pitch,
                    p.stride_y * row_pitch, p.y_row, p.y_pixel,
                )  # fmt: skip

    return body
