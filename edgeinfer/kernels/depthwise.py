"""Depthwise convolution, channels last: each channel with its own filter.

Vectors run along the channels; register tiles hold ``rows`` neighbouring output pixels of one vector of channels, in
one row of the picture or in two at once where there are registers enough. The picture is read in place: a task first
writes down where each input pixel of its rows lies; for one in the padding that is a pixel of zeros in scratch memory
(an indirection buffer: Dukhan, "The Indirect Convolution Algorithm", 2019). Weights are packed as [vector of
channels][tap][lanes], where the last vector may overlap the one before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from edgeinfer.kernels.conv import CONV_PARAMS
from edgeinfer.kernels.epilogue import pixel_activation
from edgeinfer.kernels.patch import copy_floats, fill_floats, source_index, zero_border
from edgeinfer.kernels.registry import Simd, kernel_family
from edgeinfer.simd.filter_window import FilterWindow, filter_tap
from edgeinfer.simd.pointers import as_i64, buffer_address, claim
from edgeinfer.simd.tile import TileOps

TILES = {"avx512": [(4, 1)], "avx2": [(4, 1)], "v128": [(4, 1)], "neon": [(2, 1)]}
# Vectors of channels that are done at once, by kernels with few enough pixels for a register each.
WIDE_VECTORS = 2
# Vector registers with which two rows of the picture are made at once.
PAIR_REGISTERS = 32


@dataclass(frozen=True)
class DepthwiseArithmetic:
    """What a number format brings along: compiled functions.

    Attributes:
        element_bytes: size of an element of x.
        border_of: see ``edgeinfer.kernels.patch.patch_reader``.
        buffers: ``buffers(p, worker)``: a tuple with what the others need.
        finish: ``finish(tile, buffers, p, channel, place, rows, columns)``: writes the outputs of a tile of sums.
        finish_task: ``finish_task(buffers, p, start, rows, columns, channels)``: is called after a block of pixels.
    """

    element_bytes: int
    border_of: Callable[[Simd], Callable[[Any], Any]]
    buffers: Callable[..., Any]
    finish: Callable[..., None]
    finish_task: Callable[..., None]


def depthwise_conv(
    simd: Simd,
    tile_rows: int,
    kernel_size: int,
    arithmetic: DepthwiseArithmetic,
    finish_wide: Callable[..., None] | None = None,
) -> Callable[..., None]:
    """The kernel's body; ``kernel_size`` is 0 where kernel, stride and dilation are to be read from the params.

    With a fixed kernel size the dilation is 1 and the stride 1 or 2 along both axes. ``channels`` counts all channels
    here, at least ``lanes``. The last vector of channels overlaps the one before where they are no multiple of the
    lanes. With ``finish_wide(tile, buffers, p, place)`` tiles of ``WIDE_VECTORS`` do as many vectors of channels at
    once, where they are whole and there is no residual: it writes the outputs of a tile of sums.
    """
    ops = TileOps(simd, tile_rows, 1)
    floats, scratch, float_bytes = simd.buffer, simd.scratch, simd.element_bytes
    splat_row, lanes, fill, border = ops.splat_row, simd.lanes, fill_floats(simd), arithmetic.border_of(simd)
    copy = copy_floats(simd)
    element_bytes, buffers_of = arithmetic.element_bytes, arithmetic.buffers
    finish, finish_task = arithmetic.finish, arithmetic.finish_task
    octets = element_bytes == 1
    add_tap = filter_tap(ops.type, octets)
    window_rows = 2 if simd.level.registers >= PAIR_REGISTERS else 1
    # Two rows by a stride of 2 have too many pixels for a register each beside what wide tiles need.
    pairs_by_2 = finish_wide is None
    has_wide, wide_lanes, store_wide = finish_wide is not None, WIDE_VECTORS * lanes, finish_wide or finish

    def row_of_tiles(image_rows: int, stride: int) -> Callable[..., None]:
        """``run(pixels, first, columns, w, bias, buffers, p, place, column)``: all channels of some tiles."""
        window = FilterWindow(ops.type, image_rows, kernel_size or 1, stride, octets, by_offset=simd.level.by_lane)
        addresses_of, apply = window.addresses, window.filter
        taps = kernel_size * kernel_size
        wide_tile = TileOps(simd, tile_rows, WIDE_VECTORS).type
        apply_next = FilterWindow(wide_tile, image_rows, kernel_size or 1, stride, octets).filter_next

        @njit(forceinline=True, error_model="numpy")
        def run_wide(pixels: Any, first: Any, columns: Any, w: Any, bias: Any, buffers: Any, p: Any, place: Any) -> Any:
            """Do what is there of channels in tiles of several vectors; returns how many channels these are."""
            addresses, done = addresses_of(pixels, first, columns), p.channels - p.channels % wide_lanes
            for channel in range(0, done, wide_lanes):
                tiles, addresses = apply_next(addresses, bias, channel, w, channel * taps)
                store_wide(tiles[0], buffers, p, place + channel)
                if image_rows == 2:
                    store_wide(tiles[image_rows - 1], buffers, p, place + p.y_row + channel)
            return done

        @njit(forceinline=True, error_model="numpy")
        def run(
            pixels: Any, first: Any, columns: Any, w: Any, bias: Any, buffers: Any, p: Any, place: Any, column: Any
        ) -> None:
            channels, count = p.channels, p.out_width - column
            first_channel, end = 0, channels - channels % lanes
            if has_wide and p.residual < 0 and count >= tile_rows:
                first_channel = run_wide(pixels, first, columns, w, bias, buffers, p, place)
                if first_channel == channels:
                    return
            addresses, w_index = addresses_of(pixels, first, columns), first_channel * taps
            while True:
                for c in range(0, end - first_channel, lanes):
                    channel = first_channel + c
                    tiles = apply(addresses, channel * element_bytes, bias, channel, w, w_index + c * taps)
                    finish(tiles[0], buffers, p, channel, place + channel, count, lanes)
                    if image_rows == 2:
                        finish(tiles[image_rows - 1], buffers, p, channel, place + p.y_row + channel, count, lanes)
                if end == channels:
                    break
                w_index = end * taps
                first_channel, end = channels - lanes, channels

        return run

    pair_by_1, pair_by_2 = row_of_tiles(window_rows, 1), row_of_tiles(window_rows, 2)
    single_by_1, single_by_2 = row_of_tiles(1, 1), row_of_tiles(1, 2)

    @njit(error_model="numpy")
    def note_border(
        addresses: Any, place: Any, p: Any, start: Any, zero_pixel: Any, first: Any, last: Any, used_columns: Any
    ) -> None:
        """Addresses of some columns of a row, where pixels may lie outside; ``start`` is -1 if all of them do."""
        for column in range(first, last):
            source = source_index(min(column, used_columns - 1) - p.pad_left, p.width, p.pad_mode)
            address = start + source * p.channels * element_bytes
            addresses[place + column] = zero_pixel if source < 0 or start < 0 else address

    @njit(forceinline=True, error_model="numpy")
    def note_pixels(
        addresses: Any, p: Any, image: Any, zero_pixel: Any, top: Any, rows: Any, columns: Any, used_columns: Any
    ) -> None:
        """Addresses of pixels, row by row; columns beyond the used ones repeat the last."""
        pixel_bytes = p.channels * element_bytes
        before = min(max(p.pad_left, 0), columns)
        inside = max(before, min(used_columns, p.pad_left + p.width))
        for row in range(rows):
            source_row, place = source_index(top + row, p.height, p.pad_mode), row * columns
            start = image + source_row * p.width * pixel_bytes if source_row >= 0 else -1
            note_border(addresses, place, p, start, zero_pixel, 0, before, used_columns)
            if start < 0:
                note_border(addresses, place, p, start, zero_pixel, before, inside, used_columns)
            else:
                for column in range(before, inside):
                    addresses[place + column] = start + (column - p.pad_left) * pixel_bytes
            note_border(addresses, place, p, start, zero_pixel, inside, columns, used_columns)

    @njit(forceinline=True, error_model="numpy")
    def any_tiles(
        pixels: Any, first: Any, columns: Any, w: Any, bias: Any, buffers: Any, p: Any, place: Any, column: Any
    ) -> None:
        channels, count, w_index = p.channels, p.out_width - column, 0
        for c in range(0, channels, lanes):
            channel = min(c, channels - lanes)
            tile = splat_row(bias, channel)
            for ky in range(p.kernel_height):
                for kx in range(p.kernel_width):
                    at = first + ky * p.dilation_y * columns + kx * p.dilation_x
                    tile = add_tap(tile, pixels, at, p.stride_x, channel * element_bytes, w, w_index)
                    w_index += lanes
            finish(tile, buffers, p, channel, place + channel, count, lanes)

    def body(p: Any, worker: Any) -> None:
        x, w, bias = buffer_address(worker, p.x), floats(worker, p.w), floats(worker, p.bias)
        buffers = buffers_of(p, worker)
        channels = p.channels
        tiled_columns = (p.out_width + tile_rows - 1) // tile_rows * tile_rows
        reach = (p.kernel_width - 1) * p.dilation_x + 1
        columns, used_columns = (tiled_columns - 1) * p.stride_x + reach, (p.out_width - 1) * p.stride_x + reach
        fill(scratch(worker), 0, border(p), (channels * element_bytes + float_bytes - 1) // float_bytes)
        if p.border >= 0:
            copy(scratch(worker), 0, floats(worker, p.border), 0, channels)
        pixels = as_i64(worker.scratch + (channels * element_bytes + 63) // 64 * 64)
        while True:
            task = claim(worker, p.tiles)
            if task >= p.tiles:
                break
            first_row, image = task % p.row_tasks * p.task_rows, task // p.row_tasks
            task_rows = min(p.task_rows, p.out_height - first_row)
            rows = (task_rows - 1) * p.stride_y + (p.kernel_height - 1) * p.dilation_y + 1
            start, top = x + image * p.height * p.width * channels * element_bytes, first_row * p.stride_y - p.pad_top
            note_pixels(pixels, p, start, worker.scratch, top, rows, columns, used_columns)
            y_start = p.y_start + image * p.y_image + first_row * p.y_row
            row = 0
            while row < task_rows:
                pair = kernel_size > 0 and row + window_rows <= task_rows and (pairs_by_2 or p.stride_x == 1)
                for column in range(0, p.out_width, tile_rows):
                    first = row * p.stride_y * columns + column * p.stride_x
                    place = y_start + row * p.y_row + column * p.y_pixel
                    if kernel_size == 0:
                        any_tiles(pixels, first, columns, w, bias, buffers, p, place, column)
                    elif p.stride_x == 1:
                        if pair:
                            pair_by_1(pixels, first, columns, w, bias, buffers, p, place, column)
                        else:
                            single_by_1(pixels, first, columns, w, bias, buffers, p, place, column)
                    elif pair:
                        pair_by_2(pixels, first, columns, w, bias, buffers, p, place, column)
                    else:
                        single_by_2(pixels, first, columns, w, bias, buffers, p, place, column)
                row += window_rows if pair else 1
            finish_task(buffers, p, y_start, task_rows, p.out_width, channels)

    return body


@kernel_family("f32_dwconv3x3", CONV_PARAMS, TILES, float16=True)
def f32_dwconv3x3(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """Depthwise convolution with 3x3 kernels: as ``f32_dwconv``, with the loops over taps unrolled."""
    # Elsewhere than on AArch64, loads do not move their addresses on.
    finish_wide = _finish_wide(simd, tile_rows) if simd.level.by_lane else None
    return depthwise_conv(simd, tile_rows, 3, _float_arithmetic(simd, tile_rows), finish_wide)


@kernel_family("f32_dwconv5x5", CONV_PARAMS, TILES, float16=True)
def f32_dwconv5x5(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """Depthwise convolution with 5x5 kernels: as ``f32_dwconv``, with the loops over taps unrolled."""
    return depthwise_conv(simd, tile_rows, 5, _float_arithmetic(simd, tile_rows))


@kernel_family("f32_dwconv", CONV_PARAMS, TILES, float16=True)
def f32_dwconv(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """Depthwise convolution with any kernel, stride, dilation and padding, at least ``lanes`` channels."""
    return depthwise_conv(simd, tile_rows, 0, _float_arithmetic(simd, tile_rows))


def _finish_wide(simd: Simd, tile_rows: int) -> Callable[..., None]:
    ops = TileOps(simd, tile_rows, WIDE_VECTORS)
    clamp, store_tile, columns = ops.clamp, ops.store, ops.columns

    @njit(forceinline=True, error_model="numpy")
    def finish_wide(tile: Any, buffers: Any, p: Any, place: Any) -> None:
        y, _, low, high = buffers
        store_tile(clamp(tile, low, high), y, place, p.y_pixel, tile_rows, columns)

    return finish_wide


def _float_arithmetic(simd: Simd, tile_rows: int) -> DepthwiseArithmetic:
    ops, activate_pixels, lanes = TileOps(simd, tile_rows, 1), pixel_activation(simd), simd.lanes
    buffer = simd.buffer
    load_tile, add, clamp, store_tile = ops.load, ops.add, ops.clamp, ops.store

    @njit(forceinline=True, error_model="numpy")
    def buffers(p: Any, worker: Any) -> Any:
        y = buffer(worker, p.y)
        return y, buffer(worker, p.residual) if p.residual >= 0 else y, np.float32(p.low), np.float32(p.high)

    @njit(forceinline=True, error_model="numpy")
    def finish(tile: Any, buffers: Any, p: Any, channel: Any, place: Any, rows: Any, columns: Any) -> None:
        y, residual, low, high = buffers
        if (p.residual < 0) & (rows >= tile_rows):
            store_tile(clamp(tile, low, high), y, place, p.y_pixel, tile_rows, lanes)
        else:
            if p.residual >= 0:
                tile = add(tile, load_tile(residual, place, p.y_pixel, rows, columns))
            store_tile(clamp(tile, low, high), y, place, p.y_pixel, rows, columns)

    @njit(forceinline=True, error_model="numpy")
    def finish_task(buffers: Any, p: Any, start: Any, rows: Any, columns: Any, channels: Any) -> None:
        if p.activation != 0:
            activate_pixels(buffers[0], start, p, rows, columns, channels)

    return DepthwiseArithmetic(simd.element_bytes, zero_border, buffers, finish, finish_task)
