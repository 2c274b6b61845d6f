"""Direct convolution by the tile registers of Intel's AMX: the loops that bytes and bfloat16 share.

As ``direct_conv``: a task is a block of output pixels times some blocks of output channels, and its input pixels are
read into a patch, once for all of a worker's tasks of the same pixels, or used in place. One instruction multiplies 16
output pixels, so a task is done by bands of at most ``BAND`` of them: their sums are added up in tile registers and
written to scratch memory, from where smaller register tiles take them, finish them and write them.

    y[p, o] = finish(bias[o] + sum over taps t and channels c of x[p * stride + t, c] * w[t, c, o])

Channels may be sorted into planes of one instruction's units each: those of many channels lie far apart, in few sets of
the caches, and all taps of a plane read the same few lines.

Pixels of an instruction lie at equal distances. Where rows of a band are no multiple of 16 pixels it can take fewer
instructions to compute the pixels between two rows too, those of the border, as if the rows were one:

    row by row   [0 … 13 - -] [0 … 13 - -] …        as one row   [0 … 13 b b] [0 … 13 b b] …   (b: border, not used)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from edgeinfer.kernels.direct_conv import ConvArithmetic
from edgeinfer.kernels.registry import Simd
from edgeinfer.simd.amx_tile import TILE_PIXELS, AmxTileOps
from edgeinfer.simd.pointers import advance, as_bytes, as_i64, claim
from edgeinfer.simd.prefetch import LINE_BYTES, prefetch

# chunk: units that one instruction multiplies, a divisor of a run of taps; sums, offsets: floats of scratch before the
# sums and the offsets of all chunks.
AMX_INTEGERS = "chunk sums offsets"
# planes: into how many planes of ``chunk`` units pixels of a patch are sorted, 1 where they stay whole; sorted_patch:
# floats of scratch before the planes.
PLANE_INTEGERS = "planes sorted_patch"

# Most pixels of a band; the planner has this number too.
BAND = 256
# Weights that stay in the first-level cache while they are multiplied with a band's pixels.
PART_BYTES = 24 * 1024
# So many weights of a layer are not in the second-level cache any more when it is run again.
MANY_WEIGHT_BYTES = 512 * 1024
UNIT_BYTES = 4


@njit(error_model="numpy")
def fill_offsets(offsets: Any, taps: Any, chunk: Any, unit_bytes: Any, planes: Any, plane_pitch: Any) -> None:
    """Write how many bytes from a pixel's first tap each chunk begins, in the order of the weights.

    ``taps`` is the tuple for ``tap_loops`` of one plane. Its steps and ``plane_pitch``, from plane to plane, count
    ``unit_bytes``.
    """
    runs, row_runs, run, step, row_step = taps
    index = 0
    for plane in range(planes):
        at, left_of_row = plane * plane_pitch, row_runs
        for _ in range(runs):
            for k in range(run // chunk):
                offsets[index] = at * unit_bytes + k * chunk * UNIT_BYTES
                index += 1
            left_of_row -= 1
            at += step if left_of_row > 0 else row_step
            left_of_row = left_of_row if left_of_row > 0 else row_runs


def band_products(ops: AmxTileOps) -> Callable[..., None]:
    """``multiply(sums, x, start, pixel, row_step, tiles, row_tiles, w, w_at, bias, index, offsets, …)``.

    Writes the sums of a band, those of its groups of 16 pixels one behind another.

    ``tiles`` counts groups of 16 pixels, ``row_tiles`` those of a row; ``start``, ``pixel`` and ``row_step`` count
    bytes, as do the ``offsets`` of ``steps`` chunks of ``chunk`` units. The weights of a part of the chunks, which fit
    into the first-level cache, are multiplied with all pixels of the band before the next; meanwhile the sums wait in
    memory. With ``asks`` memory of the weights behind them is asked for.
    """
    columns = ops.columns
    begin_one, begin_two = ops.begin[1], ops.begin[2]
    load_one, load_two = ops.load[1], ops.load[2]
    multiply_one, multiply_two = ops.multiply[1], ops.multiply[2]
    store_one, store_two = ops.store[1], ops.store[2]

    @njit(error_model="numpy")
    def multiply(
        sums: Any, x: Any, start: Any, pixel: Any, row_step: Any, tiles: Any, row_tiles: Any, w: Any, w_at: Any,
        bias: Any, index: Any, offsets: Any, steps: Any, chunk: Any, asks: Any,
    ) -> None:  # fmt: skip
        octets = as_bytes(w)
        w_bytes = chunk * columns * UNIT_BYTES
        part = part_of(steps, w_bytes)
        first_step = 0
        while first_step < steps:
            count = min(part, steps - first_step)
            # The weights of the next part, or block, are asked for evenly while these are multiplied.
            lines, ahead = 0, w_at + count * w_bytes
            if asks:
                products = count * ((tiles + 1) // 2)
                lines = (count * w_bytes // LINE_BYTES + products - 1) // products
            row = column = 0
            for tile in range(0, tiles, 2):
                first = start + row * row_step + column * TILE_PIXELS * pixel
                column += 1
                if column == row_tiles:
                    row, column = row + 1, 0
                second = start + row * row_step + column * TILE_PIXELS * pixel
                column += 1
                if column == row_tiles:
                    row, column = row + 1, 0
                own, place = tile * TILE_PIXELS * columns, w_at
                if tile + 1 < tiles:
                    if first_step == 0:
                        begin_two(bias, index)
                    else:
                        load_two(sums, own)
                    for step in range(first_step, first_step + count):
                        at = offsets[step]
                        multiply_two(x, first + at, second + at, pixel, w, place)
                        place += w_bytes
                        for _ in range(lines):
                            prefetch(octets, ahead)
                            ahead += LINE_BYTES
                    store_two(sums, own)
                else:
                    if first_step == 0:
                        begin_one(bias, index)
                    else:
                        load_one(sums, own)
                    for step in range(first_step, first_step + count):
                        multiply_one(x, first + offsets[step], pixel, w, place)
                        place += w_bytes
                        for _ in range(lines):
                            prefetch(octets, ahead)
                            ahead += LINE_BYTES
                    store_one(sums, own)
            w_at += count * w_bytes
            first_step += count

    return multiply


@njit(forceinline=True, error_model="numpy")
def part_of(steps: Any, w_bytes: Any) -> Any:
    """Chunks of a part: as many as the first-level cache should hold, or all where these are not many more."""
    part = max(1, PART_BYTES // w_bytes)
    return part if 2 * steps > 3 * part else steps


def of_images(read_patch: Callable[..., None]) -> Callable[..., None]:
    """A reader as ``normalised_patch_reader`` describes it, of one for ``direct_conv`` that normalises nothing."""

    @njit(forceinline=True, error_model="numpy")
    def read(patch: Any, x: Any, p: Any, worker: Any, image: Any, top: Any, left: Any, rows: Any, columns: Any) -> None:
        read_patch(patch, x, p, image * p.height * p.width * p.x_channels, 0, top, left, rows, columns)

    return read


def plane_sorter(simd: Simd) -> Callable[..., None]:
    """``sort(y, plane_pitch, x, at, row_pitch, rows, columns, channels)``: pixels into planes of a vector each.

    ``y[plane * plane_pitch + pixel * lanes + i] = x[at + row * row_pitch + column * channels + plane * lanes + i]``
    """
    lanes, load, store = simd.lanes, simd.load, simd.store

    @njit(error_model="numpy")
    def sort(y: Any, plane_pitch: Any, x: Any, at: Any, row_pitch: Any, rows: Any, columns: Any, channels: Any) -> None:
        place = 0
        for row in range(rows):
            first = at + row * row_pitch
            for column in range(columns):
                to = place
                for channel in range(0, channels, lanes):
                    store(y, to, load(x, first + column * channels + channel))
                    to += plane_pitch
                place += lanes

    return sort


def amx_conv(
    arithmetic: ConvArithmetic, ops: AmxTileOps, load: Callable[..., Any], unit_bytes: int = UNIT_BYTES
) -> Callable[..., None]:
    """The body of a convolution kernel with any kernel size, stride and dilation, one group.

    Args:
        arithmetic: what a number format brings along; its ``begin`` and ``inner`` are not used. ``read_patch`` is as
            ``normalised_patch_reader`` describes it, ``buffers`` gives the bias first, and ``rows`` are those of the
            tiles that finish sums.
        ops: the tile registers.
        load: ``load(sums, index, row_stride, rows, columns)``: a tile of sums that ``arithmetic.finish`` takes.
        unit_bytes: bytes of what ``channels`` counts.
    """
    tile_rows, columns = arithmetic.rows, ops.columns
    buffer, scratch = arithmetic.simd.buffer, arithmetic.simd.scratch
    read_patch, buffers_of, runs_of = arithmetic.read_patch, arithmetic.buffers, arithmetic.runs_of
    finish, finish_task, may_read_in_place = arithmetic.finish, arithmetic.finish_task, arithmetic.in_place
    configure, release, multiply = ops.configure, ops.release, band_products(ops)
    sort = plane_sorter(arithmetic.simd)

    @njit(forceinline=True, error_model="numpy")
    def taps_of(p: Any, row_pitch: Any) -> Any:
        if p.planes == 1:
            return runs_of(p, row_pitch)
        # The pixels of a plane are neighbours, of one chunk each.
        step = p.dilation_x * p.chunk
        row_step = p.dilation_y * row_pitch - (p.kernel_width - 1) * step
        return p.kernel_height * p.kernel_width, p.kernel_width, p.chunk, step, row_step

    def body(p: Any, worker: Any) -> None:
        x, w = buffer(worker, p.x), buffer(worker, p.w)
        buffers = buffers_of(p, worker)
        sums = advance(scratch(worker), p.sums)
        offsets = as_i64(worker.scratch + p.offsets * UNIT_BYTES)
        configure(sums, p.chunk)
        blocks = (p.out_channels + columns - 1) // columns
        runs, _, run, _, _ = runs_of(p, 0)
        panel, steps = runs * run * columns * UNIT_BYTES, runs * run // p.chunk
        picture = p.height * p.width * p.x_channels
        is_whole = p.planes == 1
        pixel_pitch = p.stride_x * (p.channels if is_whole else p.chunk)
        in_place = may_read_in_place and p.upsample_x == 1 and p.upsample_y == 1
        # The block of pixels that lies in the patch.
        in_patch = -1
        while True:
            task = claim(worker, p.tiles)
            if task >= p.tiles:
                break
            block_task = task % p.block_tasks
            task //= p.block_tasks
            pixel_task = task
            column_task = task % p.column_tasks
            task //= p.column_tasks
            row_task = task % p.row_tasks
            image = task // p.row_tasks

            out_row, out_column = row_task * p.task_rows, column_task * p.task_columns
            task_rows = min(p.task_rows, p.out_height - out_row)
            task_columns = min(p.task_columns, p.out_width - out_column)
            top, left = out_row * p.stride_y - p.pad_top, out_column * p.stride_x - p.pad_left
            patch_rows = (task_rows - 1) * p.stride_y + (p.kernel_height - 1) * p.dilation_y + 1
            reach = (p.kernel_width - 1) * p.dilation_x + 1
            patch_columns = (task_columns - 1) * p.stride_x + reach
            # Instructions go beyond the task's columns.
            read_columns = (task_columns + TILE_PIXELS - 2) * p.stride_x + reach

            first_read = (top * p.width + left) * p.channels
            last_read = first_read + ((patch_rows - 1) * p.width + read_columns) * p.channels
            inside = (
                top >= 0 and left >= 0 and top + patch_rows <= p.height and left + patch_columns <= p.width
                and image * picture + last_read <= p.batch * picture
            )  # fmt: skip
            source, start, row_pitch, plane_pitch = scratch(worker), 0, patch_columns * p.channels, 0
            is_new, in_patch = pixel_task != in_patch, pixel_task
            if in_place and inside:
                source, start, row_pitch = x, image * picture + first_read, p.width * p.channels
            elif is_new:
                read_patch(source, x, p, worker, image, top, left, patch_rows, patch_columns)
            if not is_whole:
                planes = advance(scratch(worker), p.sorted_patch)
                # A chunk more: planes that lie a power of two apart compete for lines of the caches.
                plane_pitch = (patch_rows * patch_columns + 1) * p.chunk
                if is_new:
                    sort(planes, plane_pitch, source, start, row_pitch, patch_rows, patch_columns, p.channels)
                source, start, row_pitch = planes, 0, patch_columns * p.chunk

            y_start = p.y_start + image * p.y_image + out_row * p.y_row + out_column * p.y_pixel
            first_block = block_task * p.task_blocks
            last_block = min(blocks, first_block + p.task_blocks)
            fill_offsets(offsets, taps_of(p, row_pitch), p.chunk, unit_bytes, p.planes, plane_pitch)
            row_step = p.stride_y * row_pitch
            # Pixels from row to row where all are computed as one.
            joined_pitch = row_step // pixel_pitch if row_step % pixel_pitch == 0 else 0
            band_columns = min(BAND, task_columns)
            row_tiles = (band_columns + TILE_PIXELS - 1) // TILE_PIXELS
            band_rows = max(1, BAND // (row_tiles * TILE_PIXELS)) if band_columns == task_columns else 1
            row_bands = (task_rows + band_rows - 1) // band_rows
            # Where the picture is one band each weight is read once, and many come from beyond the second-level cache.
            is_one_band = p.row_tasks * p.column_tasks * row_bands == 1 and task_columns <= BAND
            asks = is_one_band and blocks * panel > MANY_WEIGHT_BYTES
            for block in range(first_block, last_block):
                index, count = block * columns, p.out_channels - block * columns
                for row_band in range(row_bands):
                    band_row = row_band * band_rows
                    rows = min(band_rows, task_rows - band_row)
                    for band_column in range(0, task_columns, BAND):
                        pixels = min(band_columns, task_columns - band_column)
                        row_tiles = (pixels + TILE_PIXELS - 1) // TILE_PIXELS
                        tiles, sums_pitch = rows * row_tiles, row_tiles * TILE_PIXELS
                        joined = ((rows - 1) * joined_pitch + pixels + TILE_PIXELS - 1) // TILE_PIXELS
                        if joined_pitch > 0 and joined < tiles:
                            tiles, row_tiles, sums_pitch = joined, joined, joined_pitch
                        at = start + band_row * row_step + band_column * pixel_pitch
                        multiply(
                            sums, source, at * unit_bytes, pixel_pitch * unit_bytes, row_step * unit_bytes, tiles,
                            row_tiles, w, block * panel, buffers[0], index, offsets, steps, p.chunk, asks,
                        )  # fmt: skip
                        for row in range(rows):
                            place = y_start + (band_row + row) * p.y_row + band_column * p.y_pixel + index
                            for pixel in range(0, pixels, tile_rows):
                                first = (row * sums_pitch + pixel) * columns
                                tile = load(sums, first, columns, tile_rows, columns)
                                finish(tile, buffers, p, index, place + pixel * p.y_pixel, pixels - pixel, count)
            channels = min(p.out_channels, last_block * columns) - first_block * columns
            finish_task(buffers, p, y_start + first_block * columns, task_rows, task_columns, channels)
        release()

    return body
