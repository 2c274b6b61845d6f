"""Depthwise convolution of 8-bit pictures in integers, for processors with products of vectors of bytes.

A task copies the rows that it needs into scratch memory, with the border around them. Then, block by block of channels,
all weights stay in registers while the filter runs over the rows.
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
from edgeinfer.simd.byte_tile import ByteTileOps
from edgeinfer.simd.pointers import advance, as_u8, buffer_f32, buffer_u8, bytes_as_f32, claim
from edgeinfer.simd.tile import TileOps
from edgeinfer.simd.vectors import bits_to_f32, bits_to_i32

# x is signed bytes here, which other levels like it do not take.
TILES: dict[str, list[tuple[int, int]]] = {"neon": [(4, 2)], "rvv": []}


@kernel_family("i8_dwconv3x3", QUANTIZED_CONV_PARAMS, TILES, width=4)
def i8_dwconv3x3(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """Depthwise convolution with 3x3 kernels, dilation 1, stride 1 or 2 along x, at least a tile of channels."""
    return _depthwise(simd, 3, tile_rows, vectors)


@kernel_family("i8_dwconv5x5", QUANTIZED_CONV_PARAMS, TILES, width=4)
def i8_dwconv5x5(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """Depthwise convolution with 5x5 kernels, dilation 1, stride 1 or 2 along x, at least a tile of channels."""
    return _depthwise(simd, 5, tile_rows, vectors)


def _row_copy(simd: Simd) -> Callable[..., None]:
    """``copy(y, at, x, start, count, flip)``: at least a vector of bytes, xor ``flip``, four vectors at once."""
    load, store, octets = simd.load, simd.store, 4 * simd.lanes

    @njit(forceinline=True, error_model="numpy")
    def move(y: Any, at: Any, x: Any, start: Any, flip: Any) -> None:
        value = bits_to_i32(load(bytes_as_f32(advance(x, start)), 0)) ^ flip
        store(bytes_as_f32(advance(y, at)), 0, bits_to_f32(value))

    @njit(forceinline=True, error_model="numpy")
    def copy(y: Any, at: Any, x: Any, start: Any, count: Any, flip: Any) -> None:
        done = 0
        while done + 4 * octets <= count:
            for part in range(4):
                move(y, at + done + part * octets, x, start + done + part * octets, flip)
            done += 4 * octets
        while done < count:
            first = min(done, count - octets)
            move(y, at + first, x, start + first, flip)
            done = first + octets

    return copy


def _depthwise(simd: Simd, size: int, pixels: int, vectors: int) -> Callable[..., None]:
    sums, floats = ByteTileOps(simd, pixels, vectors), TileOps(simd, pixels, vectors)
    output, columns = byte_output(simd, floats), sums.columns
    splat_sums, splat_floats, scaled_by = sums.splat_row, floats.splat_row, sums.scaled_by
    output_buffers, write = output.buffers, output.write
    copy, splat_i32, octets = _row_copy(simd), simd.splat_i32, 4 * simd.lanes
    store = simd.store
    flip_bits = np.int32(-0x7F7F7F80 if simd.level.byte_traits["x_offset"] else 0)

    @njit(forceinline=True, error_model="numpy")
    def fill(patch: Any, at: Any, count: Any, value: Any) -> None:
        for done in range(0, count, octets):
            store(bytes_as_f32(advance(patch, at + min(done, count - octets))), 0, bits_to_f32(value))

    @njit(error_model="numpy")
    def read_row(
        patch: Any, at: Any, x: Any, row: Any, left: Any, pixels_of_row: Any, width: Any, channels: Any, pad_mode: Any,
        quad: Any,
    ) -> None:  # fmt: skip
        flip, column = splat_i32(flip_bits), 0
        while column < pixels_of_row:
            position = left + column
            if 0 <= position < width:
                count = min(pixels_of_row - column, width - position)
                copy(patch, at + column * channels, x, row + position * channels, count * channels, flip)
                column += count
                continue
            source = source_index(position, width, pad_mode)
            if source < 0:
                fill(patch, at + column * channels, channels, splat_i32(quad) ^ flip)
            else:
                copy(patch, at + column * channels, x, row + source * channels, channels, flip)
            column += 1

    def rows_at(stride: int) -> Callable[..., None]:
        bytes_filter = ByteFilter(simd, size, stride, pixels, vectors)
        load_weights, apply, weight_bytes = bytes_filter.load_weights, bytes_filter.apply, bytes_filter.weight_bytes

        @njit(error_model="numpy", forceinline=True)
        def run(
            patch: Any, w: Any, bias: Any, factors: Any, buffers: Any, start: Any, rows: Any, width: Any,
            channels: Any, row_pitch: Any, row_step: Any, y_row: Any, y_pixel: Any,
        ) -> None:  # fmt: skip
            packed = 0
            for c in range(0, channels, columns):
                channel = min(c, channels - columns)
                weights, begin = load_weights(w, packed), splat_sums(bias, channel)
                scales = splat_floats(factors, channel)
                packed += weight_bytes
                for row in range(rows):
                    first, place = channel + row * row_step, start + channel + row * y_row
                    for at in range(0, width, pixels):
                        column = min(at, width - pixels)
                        tile = apply(begin, weights, patch, first + column * stride * channels, row_pitch, channels)
                        write(scaled_by(tile, scales), buffers, place + column * y_pixel, pixels, columns)

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
            task = claim(worker)
            if task >= p.tiles:
                break
            first_row, image = task % p.row_tasks * p.task_rows, task // p.row_tasks
            rows = min(p.task_rows, p.out_height - first_row)
            top, picture = first_row * p.stride_y - p.pad_top, image * p.height * p.width * channels
            for row in range((rows - 1) * p.stride_y + size):
                source = source_index(top + row, p.height, p.pad_mode)
                if source < 0:
                    fill(patch, row * row_pitch, row_pitch, splat_i32(np.int32(p.fill)) ^ splat_i32(flip_bits))
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
