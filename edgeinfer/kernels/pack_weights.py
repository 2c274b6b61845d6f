"""Bringing weights into the order in which convolutions read them, when a model is planned.

Weights [out, channel, row, column] are read through strides, counted in elements, so that views of others serve too. A
task is one block of output channels. Results equal those of the references in ``edgeinfer.plan.packing`` bit by bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from edgeinfer.kernels.registry import Simd, kernel_family, struct
from edgeinfer.simd.pointers import as_i32, buffer_f32, buffer_i32, claim
from edgeinfer.simd.prefetch import LINE, prefetch
from edgeinfer.simd.transpose import transpose_block

SOURCE_STRIDES = "x_output x_channel x_row x_column"
COLUMNS_PARAMS = struct(f"x y {SOURCE_STRIDES} out_channels channels kernel_height kernel_width blocks columns tiles")

# Weights of a channel that are read at a time: runs long enough to be fetched ahead, whose results fit the first-level
# cache.
_CHANNELS = 64
# Rows that are asked for ahead while runs of a matrix are copied, which lie a row of it apart.
_ROWS_AHEAD = 16


def transpose_run(simd: Simd) -> Callable[..., None]:
    """``transpose(y, y_at, y_step, x, x_at, x_step, x_pitch, columns, inside, count)`` for int32 pointers.

    ``y[y_at + i * y_step + c] = x[x_at + c * x_pitch + i * x_step]`` for ``count`` i and ``columns`` c, a multiple of
    the lanes; zero from column ``inside`` on.
    """
    lanes, load, store, transpose_whole = simd.lanes, simd.load_i32, simd.store_i32, transpose_block(simd)

    @njit(error_model="numpy")
    def copy(
        y: Any, y_at: Any, y_step: Any, x: Any, x_at: Any, x_step: Any, columns: Any, count: Any
    ) -> None:  # fmt: skip
        """As ``transpose`` for columns that are neighbours in x."""
        for i in range(count):
            for part in range(0, columns, LINE):
                prefetch(x, x_at + (i + _ROWS_AHEAD) * x_step + part)
            for part in range(0, columns, lanes):
                store(y, y_at + i * y_step + part, load(x, x_at + i * x_step + part))

    @njit(error_model="numpy")
    def transpose(
        y: Any, y_at: Any, y_step: Any, x: Any, x_at: Any, x_step: Any, x_pitch: Any, columns: Any, inside: Any,
        count: Any,
    ) -> None:  # fmt: skip
        whole = inside // lanes * lanes if x_pitch == 1 else 0
        copy(y, y_at, y_step, x, x_at, x_step, whole, count)
        for part in range(whole, columns, lanes):
            first = 0
            if x_step == 1 and part + lanes <= inside and count >= lanes:
                while first < count:
                    # The last block overlaps the one before it where the run does not end with a whole one.
                    at = min(first, count - lanes)
                    transpose_whole(y, y_at + at * y_step + part, y_step, x, x_at + part * x_pitch + at, x_pitch)
                    first += lanes
            for column in range(part, part + lanes):
                at = x_at + column * x_pitch
                if column < inside:
                    for i in range(first, count):
                        y[y_at + i * y_step + column] = x[at + i * x_step]
                else:
                    for i in range(first, count):
                        y[y_at + i * y_step + column] = 0

    return transpose


@njit(forceinline=True, error_model="numpy")
def taps_follow(p: Any, kernel_height: Any, kernel_width: Any) -> Any:
    """Whether the weights of an output channel lie in memory as [channel][row][column] without gaps."""
    return p.x_column == 1 and p.x_row == kernel_width and p.x_channel == kernel_height * kernel_width


@kernel_family("x32_pack_columns", COLUMNS_PARAMS, channels=_CHANNELS)
def x32_pack_columns(simd: Simd) -> Callable[..., None]:
    """``y[group, block, row, column, channel, c] = x[output, channel, row, column]``, zero beyond the last output.

    ``output = group * out_channels + block * columns + c``; ``out_channels`` counts one group.
    """
    lanes, load, store, transpose = simd.lanes, simd.load_i32, simd.store_i32, transpose_run(simd)

    @njit(error_model="numpy")
    def pack_runs(y: Any, y_at: Any, x: Any, x_at: Any, p: Any, inside: Any, scratch: Any) -> None:
        """A block whose weights lie without gaps: transposed in runs, whose rows go to their taps."""
        columns, taps = p.columns, p.kernel_height * p.kernel_width
        channel = tap = 0
        for first in range(0, p.channels * taps, _CHANNELS):
            count = min(p.channels * taps - first, _CHANNELS)
            if taps == 1:
                transpose(y, y_at + first * columns, columns, x, x_at + first, 1, p.x_output, columns, inside, count)
                continue
            transpose(scratch, 0, columns, x, x_at + first, 1, p.x_output, columns, inside, count)
            for i in range(count):
                place = y_at + (tap * p.channels + channel) * columns
                for part in range(0, columns, lanes):
                    store(y, place + part, load(scratch, i * columns + part))
                tap += 1
                if tap == taps:
                    tap, channel = 0, channel + 1

    @njit(error_model="numpy")
    def pack_taps(y: Any, y_at: Any, x: Any, x_at: Any, p: Any, inside: Any) -> None:
        """A block whose weights lie anyhow."""
        for channel in range(0, p.channels, _CHANNELS):
            count = min(p.channels - channel, _CHANNELS)
            for row in range(p.kernel_height):
                for column in range(p.kernel_width):
                    place = y_at + ((row * p.kernel_width + column) * p.channels + channel) * p.columns
                    at = x_at + channel * p.x_channel + row * p.x_row + column * p.x_column
                    transpose(y, place, p.columns, x, at, p.x_channel, p.x_output, p.columns, inside, count)

    def body(p: Any, worker: Any) -> None:
        x, y, scratch = buffer_i32(worker, p.x), buffer_i32(worker, p.y), as_i32(worker.scratch)
        x_floats = buffer_f32(worker, p.x)
        size = p.kernel_height * p.kernel_width * p.channels * p.columns
        follow = taps_follow(p, p.kernel_height, p.kernel_width)
        while True:
            task = claim(worker, p.tiles)
            if task >= p.tiles:
                break
            first_output = task % p.blocks * p.columns
            inside = min(p.columns, p.out_channels - first_output)
            source = (task // p.blocks * p.out_channels + first_output) * p.x_output
            if follow:
                # Transposing reads lines in an order that the processor does not foresee.
                for i in range(0, inside * p.x_output, LINE):
                    prefetch(x_floats, source + i)
                pack_runs(y, task * size, x, source, p, inside, scratch)
            else:
                pack_taps(y, task * size, x, source, p, inside)

    return body
