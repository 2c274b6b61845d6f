"""Direct convolution, channels last, without an im2col buffer: the loops that all number formats share.

A task is a block of output pixels times some blocks of output channels. Its input pixels are read once
into a patch (padding and upsampling included), or used in place where no border is touched; then
register tiles of ``rows`` pixels x ``columns`` output channels run over it:

    y[p, o] = finish(begin(o) + sum over taps t and channels c of x[p * stride + t, c] * w[t, c, o])

Weights are packed as [output block][tap][channel][columns], zero beyond the last output channel. The unit of x
and w is four bytes: one float32, or as many narrower numbers of neighbouring channels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numba import njit

from edgeinfer.simd.pointers import buffer_f32, claim, scratch_f32

CONV_INTEGERS = (
    "x w bias residual y border"
    # input: whole picture, channels of one group, units from pixel to pixel
    " batch height width channels x_channels"
    # output: elements from pixel to pixel, row to row, picture to picture, and of the first pixel
    " out_height out_width out_channels y_pixel y_row y_image y_start groups"
    " kernel_height kernel_width stride_y stride_x dilation_y dilation_x"
    " pad_top pad_left pad_mode upsample_y upsample_x"
    # pixels of a task, tasks along each axis, blocks of output channels of a task
    " task_rows task_columns row_tasks column_tasks task_blocks block_tasks tiles"
    " activation"
)
CONV_FLOATS = "low high parameter_0 parameter_1"


@dataclass(frozen=True)
class ConvArithmetic:
    """What a number format brings along: compiled functions.

    Attributes:
        rows: pixels of a tile.
        columns: output channels of a tile.
        read_patch: see ``edgeinfer.kernels.patch.patch_reader``.
        inner: ``inner(tile, x, index, row_stride, w, w_index, count)``: adds ``count`` outer products to a tile.
        buffers: ``buffers(p, worker)``: a tuple with what the other functions need.
        begin: ``begin(buffers, index)``: the tile to start from for the output channels from packed ``index`` on.
        finish: ``finish(tile, buffers, p, index, place, rows, columns)``: writes the outputs of a tile.
        finish_task: ``finish_task(buffers, p, start, rows, columns, channels)``: is called after a block of pixels.
        in_place: whether tiles can read the picture itself, since it holds what a patch holds.
    """

    rows: int
    columns: int
    read_patch: Callable[..., None]
    inner: Callable[..., Any]
    buffers: Callable[..., Any]
    begin: Callable[..., Any]
    finish: Callable[..., None]
    finish_task: Callable[..., None]
    in_place: bool = True


def tap_loops(inner: Callable[..., Any], columns: int) -> Callable[..., Any]:
    """``accumulate(tile, x, start, row_pitch, pixel_pitch, w, w_index, p)``: adds the products of all taps.

    With a dilation of 1 the taps of one kernel row are neighbours in memory and run as one loop.
    """

    @njit(forceinline=True, error_model="numpy")
    def accumulate(
        tile: Any, x: Any, start: Any, row_pitch: Any, pixel_pitch: Any, w: Any, w_index: Any, p: Any
    ) -> Any:
        channels = p.channels
        runs, run = (1, p.kernel_width * channels) if p.dilation_x == 1 else (p.kernel_width, channels)
        tap_pitch = p.dilation_x * channels
        for ky in range(p.kernel_height):
            for kx in range(runs):
                tap = start + ky * p.dilation_y * row_pitch + kx * tap_pitch
                tile = inner(tile, x, tap, pixel_pitch, w, w_index, run)
                w_index += run * columns
        return tile

    return accumulate


def direct_conv(arithmetic: ConvArithmetic) -> Callable[..., None]:
    """The body of a convolution kernel with any kernel size, stride, dilation and group."""
    tile_rows, columns = arithmetic.rows, arithmetic.columns
    read_patch, buffers_of, begin = arithmetic.read_patch, arithmetic.buffers, arithmetic.begin
    finish, finish_task = arithmetic.finish, arithmetic.finish_task
    accumulate, may_read_in_place = tap_loops(arithmetic.inner, columns), arithmetic.in_place

    def body(p: Any, worker: Any) -> None:
        x, w = buffer_f32(worker, p.x), buffer_f32(worker, p.w)
        buffers = buffers_of(p, worker)
        group_channels = p.out_channels // p.groups
        blocks = (group_channels + columns - 1) // columns
        panel = p.kernel_height * p.kernel_width * p.channels * columns
        picture = p.height * p.width * p.x_channels
        pixel_pitch = p.stride_x * p.channels
        in_place = may_read_in_place and p.groups == 1 and p.upsample_x == 1 and p.upsample_y == 1
        while True:
            task = claim(worker)
            if task >= p.tiles:
                break
            block_task = task % p.block_tasks
            task //= p.block_tasks
            column_task = task % p.column_tasks
            task //= p.column_tasks
            row_task = task % p.row_tasks
            task //= p.row_tasks
            group = task % p.groups
            image = task // p.groups

            out_row, out_column = row_task * p.task_rows, column_task * p.task_columns
            task_rows = min(p.task_rows, p.out_height - out_row)
            task_columns = min(p.task_columns, p.out_width - out_column)
            tiled_columns = (task_columns + tile_rows - 1) // tile_rows * tile_rows
            top, left = out_row * p.stride_y - p.pad_top, out_column * p.stride_x - p.pad_left
            patch_rows = (task_rows - 1) * p.stride_y + (p.kernel_height - 1) * p.dilation_y + 1
            patch_columns = (tiled_columns - 1) * p.stride_x + (p.kernel_width - 1) * p.dilation_x + 1
            used_columns = (task_columns - 1) * p.stride_x + (p.kernel_width - 1) * p.dilation_x + 1

            first_read = (top * p.width + left) * p.channels
            last_read = first_read + ((patch_rows - 1) * p.width + patch_columns) * p.channels
            inside = (
                top >= 0 and left >= 0 and top + patch_rows <= p.height and left + used_columns <= p.width
                and image * picture + last_read <= p.batch * picture
            )  # fmt: skip
            if in_place and inside:
                source, start, row_pitch = x, image * picture + first_read, p.width * p.channels
            else:
                source, start, row_pitch = scratch_f32(worker), 0, patch_columns * p.channels
                read_patch(source, x, p, image * picture, group * p.channels, top, left, patch_rows, patch_columns)

            y_start = (
                p.y_start + image * p.y_image + out_row * p.y_row + out_column * p.y_pixel + group * group_channels
            )
            first_block = block_task * p.task_blocks
            last_block = min(blocks, first_block + p.task_blocks)
            for block in range(first_block, last_block):
                packed = group * blocks + block
                count = group_channels - block * columns
                for row in range(task_rows):
                    for column in range(0, task_columns, tile_rows):
                        at = start + row * p.stride_y * row_pitch + column * pixel_pitch
                        tile = begin(buffers, packed * columns)
                        tile = accumulate(tile, source, at, row_pitch, pixel_pitch, w, packed * panel, p)
                        place = y_start + row * p.y_row + column * p.y_pixel + block * columns
                        finish(tile, buffers, p, packed * columns, place, task_columns - column, count)
            channels = min(group_channels, last_block * columns) - first_block * columns
            finish_task(buffers, p, y_start + first_block * columns, task_rows, task_columns, channels)

    return body
