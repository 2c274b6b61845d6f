"""Depthwise convolution, channels last: each channel with its own filter.

Vectors run along the channels; a register tile holds ``rows`` neighbouring output pixels of one vector of channels.
The picture is read in place: a task first writes down where each input pixel of its rows lies; for one in the padding
that is a pixel of zeros in scratch memory (an indirection buffer: Dukhan, "The Indirect Convolution Algorithm",
2019). Weights are packed as [tap][channel].
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
from edgeinfer.simd.pointers import as_i64, buffer_address, buffer_f32, claim, scratch_f32
from edgeinfer.simd.tile import TileOps

TILES = {"avx512": [(8, 1)], "avx2": [(4, 1)], "v128": [(4, 1)], "neon": [(4, 1)]}


@dataclass(frozen=True)
class DepthwiseArithmetic:
    """What a number format brings along: compiled functions.

    Attributes:
        element_bytes: size of an element of x.
        buffer: gives the pointer to x of a buffer reference.
        border_of: see ``edgeinfer.kernels.patch.patch_reader``.
        buffers: ``buffers(p, worker)``: a tuple with what the others need.
        finish: ``finish(tile, buffers, p, channel, place, rows, columns)``: writes the outputs of a float32 tile.
        finish_task: ``finish_task(buffers, p, start, rows, columns, channels)``: is called after a block of pixels.
    """

    element_bytes: int
    buffer: Callable[..., Any]
    border_of: Callable[[Simd], Callable[[Any], Any]]
    buffers: Callable[..., Any]
    finish: Callable[..., None]
    finish_task: Callable[..., None]


def depthwise_conv(
    simd: Simd, tile_rows: int, kernel_size: int, arithmetic: DepthwiseArithmetic
) -> Callable[..., None]:
    """The kernel's body; ``kernel_size`` is 0 where kernel, stride and dilation are to be read from the params.

    With a fixed kernel size the dilation is 1 and ``stride_x`` is 1 or 2. ``channels`` counts all channels here, at
    least ``lanes``. The last vector of channels overlaps the one before where they are no multiple of the lanes.
    """
    ops = TileOps(simd, tile_rows, 1)
    splat_row, lanes, fill, border = ops.splat_row, simd.lanes, fill_floats(simd), arithmetic.border_of(simd)
    copy = copy_floats(simd)
    element_bytes, buffer, buffers_of = arithmetic.element_bytes, arithmetic.buffer, arithmetic.buffers
    finish, finish_task = arithmetic.finish, arithmetic.finish_task
    octets = element_bytes == 1
    one_tap, row_by_1, row_by_2 = (
        ops.filter_row(1, 0, octets),
        ops.filter_row(kernel_size or 1, 1, octets),
        ops.filter_row(kernel_size or 1, 2, octets),
    )

    @njit(forceinline=True, error_model="numpy")
    def note_pixels(
        offsets: Any, p: Any, image: Any, zero_pixel: Any, top: Any, rows: Any, columns: Any, used_columns: Any
    ) -> None:
        """Offsets of pixels from x in elements, row by row; columns beyond the used ones repeat the last."""
        for row in range(rows):
            source_row = source_index(top + row, p.height, p.pad_mode)
            for column in range(columns):
                source_column = source_index(min(column, used_columns - 1) - p.pad_left, p.width, p.pad_mode)
                offset = image + (source_row * p.width + source_column) * p.channels
                offsets[row * columns + column] = zero_pixel if source_row < 0 or source_column < 0 else offset

    @njit(forceinline=True, error_model="numpy")
    def all_taps(tile: Any, x: Any, offsets: Any, first: Any, columns: Any, channel: Any, w: Any, p: Any) -> Any:
        channels, tap = p.channels, channel
        if kernel_size == 0:
            for ky in range(p.kernel_height):
                for kx in range(p.kernel_width):
                    at = first + ky * p.dilation_y * columns + kx * p.dilation_x
                    tile = one_tap(tile, x, offsets, at, channel, w, tap, channels, p.stride_x)
                    tap += channels
        elif p.stride_x == 1:
            for ky in range(kernel_size):
                tile = row_by_1(tile, x, offsets, first + ky * columns, channel, w, tap, channels, 1)
                tap += kernel_size * channels
        else:
            for ky in range(kernel_size):
                tile = row_by_2(tile, x, offsets, first + ky * columns, channel, w, tap, channels, 2)
                tap += kernel_size * channels
        return tile

    def body(p: Any, worker: Any) -> None:
        x, w, bias = buffer(worker, p.x), buffer_f32(worker, p.w), buffer_f32(worker, p.bias)
        buffers = buffers_of(p, worker)
        channels = p.channels
        tiled_columns = (p.out_width + tile_rows - 1) // tile_rows * tile_rows
        reach = (p.kernel_width - 1) * p.dilation_x + 1
        columns, used_columns = (tiled_columns - 1) * p.stride_x + reach, (p.out_width - 1) * p.stride_x + reach
        fill(scratch_f32(worker), 0, border(p), (channels * element_bytes + 3) // 4)
        if p.border >= 0:
            copy(scratch_f32(worker), 0, buffer_f32(worker, p.border), 0, channels)
        zero_pixel = (worker.scratch - buffer_address(worker, p.x)) // element_bytes
        offsets = as_i64(worker.scratch + (channels * element_bytes + 63) // 64 * 64)
        while True:
            task = claim(worker)
            if task >= p.tiles:
                break
            first_row, image = task % p.row_tasks * p.task_rows, task // p.row_tasks
            task_rows = min(p.task_rows, p.out_height - first_row)
            rows = (task_rows - 1) * p.stride_y + (p.kernel_height - 1) * p.dilation_y + 1
            image_start, top = image * p.height * p.width * channels, first_row * p.stride_y - p.pad_top
            note_pixels(offsets, p, image_start, zero_pixel, top, rows, columns, used_columns)
            y_start = p.y_start + image * p.y_image + first_row * p.y_row
            for row in range(task_rows):
                for column in range(0, p.out_width, tile_rows):
                    first = row * p.stride_y * columns + column * p.stride_x
                    place = y_start + row * p.y_row + column * p.y_pixel
                    count = p.out_width - column
                    for c in range(0, channels, lanes):
                        channel = min(c, channels - lanes)
                        tile = all_taps(splat_row(bias, channel), x, offsets, first, columns, channel, w, p)
                        finish(tile, buffers, p, channel, place + channel, count, lanes)
            finish_task(buffers, p, y_start, task_rows, p.out_width, channels)

    return body


@kernel_family("f32_dwconv3x3", CONV_PARAMS, TILES)
def f32_dwconv3x3(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """Depthwise convolution with 3x3 kernels: as ``f32_dwconv``, with the loops over taps unrolled."""
    return depthwise_conv(simd, tile_rows, 3, _float_arithmetic(simd, tile_rows))


@kernel_family("f32_dwconv5x5", CONV_PARAMS, TILES)
def f32_dwconv5x5(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """Depthwise convolution with 5x5 kernels: as ``f32_dwconv``, with the loops over taps unrolled."""
    return depthwise_conv(simd, tile_rows, 5, _float_arithmetic(simd, tile_rows))


@kernel_family("f32_dwconv", CONV_PARAMS, TILES)
def f32_dwconv(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """Depthwise convolution with any kernel, stride, dilation and padding, at least ``lanes`` channels."""
    return depthwise_conv(simd, tile_rows, 0, _float_arithmetic(simd, tile_rows))


def _float_arithmetic(simd: Simd, tile_rows: int) -> DepthwiseArithmetic:
    ops, activate_pixels = TileOps(simd, tile_rows, 1), pixel_activation(simd)
    load_tile, add, clamp, store_tile = ops.load, ops.add, ops.clamp, ops.store

    @njit(forceinline=True, error_model="numpy")
    def buffers(p: Any, worker: Any) -> Any:
        y = buffer_f32(worker, p.y)
        return y, buffer_f32(worker, p.residual) if p.residual >= 0 else y

    @njit(forceinline=True, error_model="numpy")
    def finish(tile: Any, buffers: Any, p: Any, channel: Any, place: Any, rows: Any, columns: Any) -> None:
        y, residual = buffers
        if p.residual >= 0:
            tile = add(tile, load_tile(residual, place, p.y_pixel, rows, columns))
        store_tile(clamp(tile, np.float32(p.low), np.float32(p.high)), y, place, p.y_pixel, rows, columns)

    @njit(forceinline=True, error_model="numpy")
    def finish_task(buffers: Any, p: Any, start: Any, rows: Any, columns: Any, channels: Any) -> None:
        if p.activation != 0:
            activate_pixels(buffers[0], start, p, rows, columns, channels)

    return DepthwiseArithmetic(4, buffer_f32, zero_border, buffers, finish, finish_task)
