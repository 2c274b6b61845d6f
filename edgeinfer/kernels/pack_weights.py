"""Bringing weights into the order in which convolutions read them, when a model is planned.

Weights [out, channel, row, column] are read through strides, counted in elements, so that views of others serve too. A
task is one block of output channels. Results equal those of the references in ``edgeinfer.plan.packing`` bit by bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from edgeinfer.kernels.registry import Simd, kernel_family, struct
from edgeinfer.simd.pointers import as_i32, buffer_f32, buffer_i32, claim, scratch_f32
from edgeinfer.simd.prefetch import LINE, prefetch
from edgeinfer.simd.transpose import transpose_block

_STRIDES = "x_output x_channel x_row x_column"
COLUMNS_PARAMS = struct(f"x y {_STRIDES} out_channels channels kernel_height kernel_width blocks columns tiles")
FILTERS_PARAMS = struct(f"x y {_STRIDES} out_channels channels output columns tiles")

# Weights of a channel that are read at a time: runs long enough to be fetched ahead, whose results fit the first-level
# cache.
_CHANNELS = 64
_FILTER_CHANNELS = 16
_TAPS = 9
_SIXTH = np.float32(1 / 6)


def transpose_run(simd: Simd) -> Callable[..., None]:
    """``transpose(y, y_at, y_step, x, x_at, x_step, x_pitch, columns, inside, count)`` for int32 pointers.

    ``y[y_at + i * y_step + c] = x[x_at + c * x_pitch + i * x_step]`` for ``count`` i and ``columns`` c, a multiple of
    the lanes; zero from column ``inside`` on.
    """
    lanes, transpose_whole = simd.lanes, transpose_block(simd)

    @njit(error_model="numpy")
    def transpose(
        y: Any, y_at: Any, y_step: Any, x: Any, x_at: Any, x_step: Any, x_pitch: Any, columns: Any, inside: Any,
        count: Any,
    ) -> None:  # fmt: skip
        for part in range(0, columns, lanes):
            first = 0
            if x_step == 1 and part + lanes <= inside:
                while first + lanes <= count:
                    transpose_whole(y, y_at + first * y_step + part, y_step, x, x_at + part * x_pitch + first, x_pitch)
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
def _taps_follow(p: Any, kernel_height: Any, kernel_width: Any) -> Any:
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
        follow = _taps_follow(p, p.kernel_height, p.kernel_width)
        while True:
            task = claim(worker)
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


@kernel_family("f32_pack_filters", FILTERS_PARAMS, channels=_FILTER_CHANNELS)
def f32_pack_filters(simd: Simd) -> Callable[..., None]:
    """``y[block, frequency, channel, c]``: the transform ``G g G^T`` of each 3x3 filter, for Winograd convolutions.

    What both passes share out is multiplied last, and all other factors are powers of two: nothing depends on
    whether a multiplication and an addition are rounded together.
    """
    lanes, load, store, splat = simd.lanes, simd.load, simd.store, simd.splat
    transpose = transpose_run(simd)

    @njit(forceinline=True, error_model="numpy")
    def factor_4(index: Any) -> Any:
        if index == 0:
            return np.float32(0.25)
        if index < 3:
            return -_SIXTH
        return _SIXTH if index < 5 else np.float32(1)

    @njit(forceinline=True, error_model="numpy")
    def factor_2(index: Any) -> Any:
        return np.float32(0.5) if index == 1 or index == 2 else np.float32(1)

    @njit(forceinline=True, error_model="numpy")
    def transform(
        y: Any, y_at: Any, y_stride: Any, x: Any, x_at: Any, x_stride: Any, output: Any, factor: Any, last: Any
    ) -> None:
        """Three vectors that lie ``x_stride`` apart to ``output + 2``; the last pass multiplies by their factors."""
        g0, g1, g2 = load(x, x_at), load(x, x_at + x_stride), load(x, x_at + 2 * x_stride)
        both = g0 + g2
        plus, minus = both + g1, both - g1
        if output == 2:
            if last:
                half = splat(factor * np.float32(0.5))
                g0, plus, minus, g2 = splat(factor) * g0, half * plus, half * minus, splat(factor) * g2
            store(y, y_at, g0)
            store(y, y_at + y_stride, plus)
            store(y, y_at + 2 * y_stride, minus)
            store(y, y_at + 3 * y_stride, g2)
        else:
            quarter, half = splat(np.float32(0.25)) * g0 + g2, splat(np.float32(0.5)) * g1
            far_plus, far_minus = quarter + half, quarter - half
            if last:
                sixth = splat(factor * _SIXTH)
                negative = splat(factor * -_SIXTH)
                g0, g2 = splat(factor * np.float32(0.25)) * g0, splat(factor) * g2
                plus, minus = negative * plus, negative * minus
                far_plus, far_minus = sixth * far_plus, sixth * far_minus
            store(y, y_at, g0)
            store(y, y_at + y_stride, plus)
            store(y, y_at + 2 * y_stride, minus)
            store(y, y_at + 3 * y_stride, far_plus)
            store(y, y_at + 4 * y_stride, far_minus)
            store(y, y_at + 5 * y_stride, g2)

    @njit(error_model="numpy")
    def gather(taps: Any, x: Any, source: Any, p: Any, outputs: Any, count: Any) -> None:
        """Filters of some channels as [channel][tap][c], zeros beyond the last output channel."""
        columns = p.columns
        if _taps_follow(p, 3, 3):
            transpose(taps, 0, columns, x, source, 1, p.x_output, columns, outputs, count * _TAPS)
            return
        for row in range(3):
            for across in range(3):
                place, at = (3 * row + across) * columns, source + row * p.x_row + across * p.x_column
                transpose(taps, place, _TAPS * columns, x, at, p.x_channel, p.x_output, columns, outputs, count)

    @njit(error_model="numpy")
    def write(y: Any, y_at: Any, y_pitch: Any, x: Any, x_at: Any, x_pitch: Any, rows: Any, count: Any) -> None:
        """Copy rows of whole vectors; each is a run of neighbours, and nothing lies between it and the next run."""
        for row in range(rows):
            for i in range(0, count, lanes):
                store(y, y_at + row * y_pitch + i, load(x, x_at + row * x_pitch + i))

    def body(p: Any, worker: Any) -> None:
        x, y, scratch = buffer_i32(worker, p.x), buffer_f32(worker, p.y), scratch_f32(worker)
        taps_scratch = as_i32(worker.scratch)
        columns, size = p.columns, p.output + 2
        between = _FILTER_CHANNELS * _TAPS * columns
        result, result_pitch = between + 3 * size * columns, _FILTER_CHANNELS * columns
        pitch = p.channels * columns
        while True:
            block = claim(worker)
            if block >= p.tiles:
                break
            outputs = min(columns, p.out_channels - block * columns)
            for first in range(0, p.channels, _FILTER_CHANNELS):
                count = min(p.channels - first, _FILTER_CHANNELS)
                gather(taps_scratch, x, block * columns * p.x_output + first * p.x_channel, p, outputs, count)
                for channel in range(count):
                    taps, place = channel * _TAPS * columns, result + channel * columns
                    for part in range(0, columns, lanes):
                        for across in range(3):
                            transform(
                                scratch, between + across * columns + part, 3 * columns,
                                scratch, taps + across * columns + part, 3 * columns, p.output, np.float32(1), False,
                            )  # fmt: skip
                    for i in range(size):
                        factor = factor_2(i) if p.output == 2 else factor_4(i)
                        for part in range(0, columns, lanes):
                            transform(
                                scratch, place + i * size * result_pitch + part, result_pitch,
                                scratch, between + 3 * i * columns + part, columns, p.output, factor, True,
                            )  # fmt: skip
                start = block * size * size * pitch + first * columns
                write(y, start, pitch, scratch, result, result_pitch, size * size, count * columns)

    return body
