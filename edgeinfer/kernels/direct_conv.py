"""Direct convolution, channels last, without an im2col buffer: the loops that all number formats share.

A task is a block of output pixels times some blocks of output channels. Its input pixels are read once
into a patch (padding and upsampling included), or used in place where no border is touched; then
register tiles of ``rows`` pixels x ``columns`` output channels run over it:

    y[p, o] = finish(begin(o) + sum over taps t and channels c of x[p * stride + t, c] * w[t, c, o])

Weights are packed as [output block][tap][channel][columns], zero beyond the last output channel. The unit of x
and w is one float32 or float16, or in four bytes as many narrower numbers of neighbouring channels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numba import njit

from edgeinfer.kernels.registry import Simd
from edgeinfer.simd.pointers import claim
from edgeinfer.simd.prefetch import step_ahead

CONV_INTEGERS = (
    "x w bias residual y border"
    # input: whole picture, channels of one group, units from pixel to pixel
    " batch height width channels x_channels"
    # output: elements from pixel to pixel, row to row, picture to picture, and of the first pixel
    " out_height out_width out_channels y_pixel y_row y_image y_start groups"
    " kernel_height kernel_width stride_y stride_x dilation_y dilation_x"
    " pad_top pad_left pad_mode upsample_y upsample_x"
    # pixels of a task, tasks along each axis, blocks of output channels of a task, shares of rows
    " task_rows task_columns row_tasks column_tasks task_blocks block_tasks row_shares tiles"
    " activation"
)
CONV_FLOATS = "low high parameter_0 parameter_1"


@njit(forceinline=True, error_model="numpy")
def runs_of_taps(p: Any, row_pitch: Any) -> Any:
    """The tuple for ``tap_loops``: with a dilation of 1 the taps of a kernel row are neighbours in memory."""
    row_runs, run = (1, p.kernel_width * p.channels) if p.dilation_x == 1 else (p.kernel_width, p.channels)
    step = p.dilation_x * p.channels
    return p.kernel_height * row_runs, row_runs, run, step, p.dilation_y * row_pitch - (row_runs - 1) * step


@dataclass(frozen=True)
class ConvArithmetic:
    """What a number format brings along: compiled functions.

    Attributes:
        simd: vectors of the units of x and w.
        rows: pixels of a tile.
        columns: output channels of a tile.
        read_patch: see ``edgeinfer.kernels.patch.patch_reader``.
        inner: adds outer products to a tile, see ``prefetching_products``.
        buffers: ``buffers(p, worker)``: a tuple with what the other functions need.
        begin: ``begin(buffers, index)``: the tile to start from for the output channels from packed ``index`` on.
        finish: ``finish(tile, buffers, p, index, place, rows, columns)``: writes the outputs of a tile.
        finish_task: ``finish_task(buffers, p, start, rows, columns, channels)``: is called after a block of pixels.
        in_place: whether tiles can read the picture itself, since it holds what a patch holds.
        runs_of: ``runs_of(p, row_pitch)``: the tuple for ``tap_loops``, see ``runs_of_taps``.
        rest: arithmetic of a tile with fewer rows and as many columns, for the last pixels of a row where these are
            no more; its ``begin``, ``inner`` and ``finish`` are used, with the buffers of this one.
    """

    simd: Simd
    rows: int
    columns: int
    read_patch: Callable[..., None]
    inner: Callable[..., Any]
    buffers: Callable[..., Any]
    begin: Callable[..., Any]
    finish: Callable[..., None]
    finish_task: Callable[..., None]
    in_place: bool = True
    rest: ConvArithmetic | None = None
    runs_of: Callable[..., Any] = runs_of_taps


def tap_loops(inner: Callable[..., Any], columns: int) -> Callable[..., Any]:
    """``accumulate(tile, x, start, pixel_pitch, w, w_index, taps, ahead, ahead_step)``: adds the products of all taps.

    ``taps`` is a tuple: runs of neighbouring taps in all and in a kernel row, the numbers of x of a run, and the steps
    from run to run and from the last run of a kernel row to the first of the next. ``ahead`` and ``ahead_step`` are as
    for ``prefetching_products``.
    """

    @njit(forceinline=True, error_model="numpy")
    def accumulate(
        tile: Any, x: Any, start: Any, pixel_pitch: Any, w: Any, w_index: Any, taps: Any, ahead: Any, ahead_step: Any
    ) -> Any:
        left, row_runs, run, step, row_step = taps
        if left == 1:
            return inner(tile, x, start, pixel_pitch, w, w_index, run, ahead, ahead_step)
        left_of_row = row_runs
        while True:
            tile = inner(tile, x, start, pixel_pitch, w, w_index, run, ahead, ahead_step)
            left -= 1
            if left == 0:
                return tile
            w_index += run * columns
            ahead += run * ahead_step
            left_of_row -= 1
            if left_of_row == 0:
                left_of_row = row_runs
                start += row_step
            else:
                start += step

    return accumulate


def direct_conv(arithmetic: ConvArithmetic) -> Callable[..., None]:
    """The body of a convolution kernel with any kernel size, stride, dilation and group."""
    tile_rows, columns = arithmetic.rows, arithmetic.columns
    buffer, scratch = arithmetic.simd.buffer, arithmetic.simd.scratch
    read_patch, buffers_of, begin = arithmetic.read_patch, arithmetic.buffers, arithmetic.begin
    finish, finish_task = arithmetic.finish, arithmetic.finish_task
    accumulate, may_read_in_place = tap_loops(arithmetic.inner, columns), arithmetic.in_place
    rest, runs_of = arithmetic.rest or arithmetic, arithmetic.runs_of
    rest_rows = rest.rows if arithmetic.rest else 0
    begin_rest, finish_rest, accumulate_rest = rest.begin, rest.finish, tap_loops(rest.inner, columns)

    def body(p: Any, worker: Any) -> None:
        x, w = buffer(worker, p.x), buffer(worker, p.w)
        buffers = buffers_of(p, worker)
        group_channels = p.out_channels // p.groups
        blocks = (group_channels + columns - 1) // columns
        runs, _, run, _, _ = runs_of(p, 0)
        panel = runs * run * columns
        picture = p.height * p.width * p.x_channels
        pixel_pitch, y_pixel = p.stride_x * p.channels, p.y_pixel
        in_place = may_read_in_place and p.groups == 1 and p.upsample_x == 1 and p.upsample_y == 1
        while True:
            task = claim(worker, p.tiles)
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
            # Tiles may go beyond the task's columns.
            last_columns = task_columns % tile_rows
            read_columns = task_columns - last_columns
            if last_columns > 0:
                read_columns += rest_rows if last_columns <= rest_rows else tile_rows
            top, left = out_row * p.stride_y - p.pad_top, out_column * p.stride_x - p.pad_left
            patch_rows = (task_rows - 1) * p.stride_y + (p.kernel_height - 1) * p.dilation_y + 1
            patch_columns = (read_columns - 1) * p.stride_x + (p.kernel_width - 1) * p.dilation_x + 1
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
                source, start, row_pitch = scratch(worker), 0, patch_columns * p.channels
                read_patch(source, x, p, image * picture, group * p.channels, top, left, patch_rows, patch_columns)

            y_start = p.y_start + image * p.y_image + out_row * p.y_row + out_column * y_pixel + group * group_channels
            first_block = block_task * p.task_blocks
            last_block = min(blocks, first_block + p.task_blocks)
            taps = runs_of(p, row_pitch)
            for block in range(first_block, last_block):
                packed = group * blocks + block
                count = group_channels - block * columns
                index, w_index = packed * columns, packed * panel
                tiles = task_rows * ((task_columns + tile_rows - 1) // tile_rows)
                ahead = w_index + panel
                ahead_step = step_ahead(columns, tiles)
                for row in range(task_rows):
                    at = start + row * p.stride_y * row_pitch
                    place = y_start + row * p.y_row + block * columns
                    left = task_columns
                    while left > rest_rows:
                        tile = begin(buffers, index)
                        # The next weights, those of the next layer after the last block, are asked for meanwhile.
                        tile = accumulate(tile, source, at, pixel_pitch, w, w_index, taps, ahead, ahead_step)
                        ahead += ahead_step * (panel // columns)
                        finish(tile, buffers, p, index, place, left, count)
                        at += tile_rows * pixel_pitch
                        place += tile_rows * y_pixel
                        left -= tile_rows
                    if left > 0:
                        few = begin_rest(buffers, index)
                        few = accumulate_rest(few, source, at, pixel_pitch, w, w_index, taps, w_index, 0)
                        finish_rest(few, buffers, p, index, place, left, count)
            channels = min(group_channels, last_block * columns) - first_block * columns
            finish_task(buffers, p, y_start + first_block * columns, task_rows, task_columns, channels)

    return body
