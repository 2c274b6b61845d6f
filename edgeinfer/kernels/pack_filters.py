"""Bringing filters of Winograd convolutions into the order in which these read them: transformed, by blocks of columns.

Filters [out, channel, row, column] are read through strides, counted in elements. A task is one block of output
channels. Results equal those of ``edgeinfer.plan.lowering.packed_weights.pack_filters`` bit by bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from edgeinfer.kernels.pack_weights import SOURCE_STRIDES, taps_follow, transpose_run
from edgeinfer.kernels.registry import Simd, kernel_family, struct
from edgeinfer.simd.pointers import advance, as_i32, buffer_f32, buffer_i32, claim, scratch_f32
from edgeinfer.simd.prefetch import LINE, prefetch

# Frequencies along one axis that a transform may have.
MAX_SIZE = 8
_POINTS = " ".join(f"point_{index}" for index in range(MAX_SIZE - 1))
_FACTORS = " ".join(f"factor_{index}" for index in range(MAX_SIZE))
FILTERS_PARAMS = struct(
    f"x y {SOURCE_STRIDES} out_channels channels kernel_size taps stride size axes columns tiles",
    f"{_POINTS} {_FACTORS}",
)
# Channels that are transformed at a time: their results of a frequency are a run of whole lines, and what lies between
# the two passes fits the first-level cache.
CHANNELS = 8


@kernel_family("f32_pack_filters", FILTERS_PARAMS, channels=CHANNELS)
def f32_pack_filters(simd: Simd) -> Callable[..., None]:
    """``y[block, frequency, row's phase, column's phase, channel, c]``: ``G g G^T`` of each phase of each filter.

    Along one axis ``y[block, frequency, tap down, channel, c]``: ``g G^T``.

    A row of G is powers of a point times a factor. Powers are summed up by Horner's rule; since points are powers of
    two, nothing depends on whether a multiplication and an addition are rounded together. Factors are multiplied last.
    Odd phases have one tap less and nothing at the last frequency, see ``edgeinfer.kernels.winograd``.
    """
    lanes, load, store, splat, transpose = simd.lanes, simd.load, simd.store, simd.splat, transpose_run(simd)

    @njit(error_model="numpy")
    def gather(taps: Any, x: Any, source: Any, p: Any, outputs: Any, count: Any) -> None:
        """Filters of some channels as [channel][tap][c], zeros beyond the last output channel."""
        columns, kernel_size = p.columns, p.kernel_size
        kernel_taps = kernel_size * kernel_size
        if taps_follow(p, kernel_size, kernel_size):
            transpose(taps, 0, columns, x, source, 1, p.x_output, columns, outputs, count * kernel_taps)
            return
        for row in range(kernel_size):
            for across in range(kernel_size):
                place, at = (kernel_size * row + across) * columns, source + row * p.x_row + across * p.x_column
                transpose(taps, place, kernel_taps * columns, x, at, p.x_channel, p.x_output, columns, outputs, count)

    @njit(error_model="numpy")
    def ask_for(x: Any, source: Any, p: Any, outputs: Any, count: Any) -> None:
        """Ask for filters of some channels, whose short runs of memory the processor does not foresee."""
        if taps_follow(p, p.kernel_size, p.kernel_size):
            for output in range(outputs):
                for i in range(0, count * p.x_channel, LINE):
                    prefetch(x, source + output * p.x_output + i)

    @njit(error_model="numpy")
    def at_point(
        y: Any, y_at: Any, y_step: Any, x: Any, x_at: Any, x_step: Any, pitch: Any, terms: Any, point: Any,
        factor: Any, runs: Any, count: Any,
    ) -> None:  # fmt: skip
        """For runs of ``count`` neighbours polynomials of ``terms`` coefficients, ``pitch`` apart, lowest first."""
        at, by = splat(point), splat(factor)
        for run in range(runs):
            from_run, to_run = x_at + run * x_step, y_at + run * y_step
            if terms == 3:
                for i in range(0, count, lanes):
                    value = load(x, from_run + 2 * pitch + i) * at + load(x, from_run + pitch + i)
                    store(y, to_run + i, (value * at + load(x, from_run + i)) * by)
            else:
                for i in range(0, count, lanes):
                    value = load(x, from_run + (terms - 1) * pitch + i)
                    for k in range(terms - 2, -1, -1):
                        value = value * at + load(x, from_run + k * pitch + i)
                    store(y, to_run + i, value * by)

    @njit(error_model="numpy")
    def transform_columns(between: Any, taps: Any, points: Any, p: Any, row: Any, column: Any, count: Any) -> None:
        """``G g`` of one phase of ``count`` channels, without factors: [frequency][tap across][channel][c]."""
        columns, size, stride = p.columns, p.size, p.stride
        terms = (p.kernel_size - row + stride - 1) // stride
        pitch, channel_step = stride * p.kernel_size * columns, p.kernel_size * p.kernel_size * columns
        for tap in range((p.kernel_size - column + stride - 1) // stride):
            at = (row * p.kernel_size + column + tap * stride) * columns
            for i in range(size - min(row, 1)):
                place = (i * p.taps + tap) * CHANNELS * columns
                if i < size - 1:
                    at_point(
                        between, place, columns, taps, at, channel_step, pitch, terms, points[i], 1.0, count, columns
                    )
                else:
                    last = at + (terms - 1) * pitch
                    at_point(between, place, columns, taps, last, channel_step, 0, 1, 0.0, 1.0, count, columns)

    @njit(error_model="numpy")
    def transform_rows(
        y: Any, y_at: Any, between: Any, points: Any, factors: Any, p: Any, row: Any, column: Any, count: Any
    ) -> None:
        """Write ``(G g) G^T`` of one phase of ``count`` channels, with all factors, to their frequencies."""
        size, stride, pitch = p.size, p.stride, CHANNELS * p.columns
        terms = (p.kernel_size - column + stride - 1) // stride
        for i in range(size - min(row, 1)):
            phases_down = 1 if i == size - 1 else stride
            first = i * stride * (stride * (size - 1) + 1) + column
            at = i * p.taps * pitch
            for j in range(size - min(column, 1)):
                phases_across = 1 if j == size - 1 else stride
                slot = first + j * phases_down * stride + row * phases_across
                place, factor = y_at + slot * p.channels * p.columns, factors[i] * factors[j]
                if j < size - 1:
                    at_point(y, place, 0, between, at, 0, pitch, terms, points[j], factor, 1, count * p.columns)
                else:
                    last = at + (terms - 1) * pitch
                    at_point(y, place, 0, between, last, 0, 0, 1, 0.0, factor, 1, count * p.columns)

    @njit(error_model="numpy")
    def transform_along_rows(y: Any, y_at: Any, taps: Any, points: Any, factors: Any, p: Any, count: Any) -> None:
        """Write ``g G^T`` of ``count`` channels of 3x3 filters, without strides."""
        columns, last = p.columns, p.size - 1
        frequency_step = 3 * p.channels * columns
        for row in range(3):
            for channel in range(count):
                for part in range(0, columns, lanes):
                    at = (channel * 9 + row * 3) * columns + part
                    g0, g1, g2 = load(taps, at), load(taps, at + columns), load(taps, at + 2 * columns)
                    place = y_at + (row * p.channels + channel) * columns + part
                    for j in range(last):
                        point = splat(points[j])
                        store(y, place + j * frequency_step, ((g2 * point + g1) * point + g0) * splat(factors[j]))
                    store(y, place + last * frequency_step, g2 * splat(factors[last]))

    def body(p: Any, worker: Any) -> None:
        x, y, points = buffer_i32(worker, p.x), buffer_f32(worker, p.y), scratch_f32(worker)
        x_floats = buffer_f32(worker, p.x)
        factors, taps = advance(points, MAX_SIZE), advance(points, 2 * MAX_SIZE)
        points[0], points[1], points[2], points[3] = p.point_0, p.point_1, p.point_2, p.point_3
        points[4], points[5], points[6] = p.point_4, p.point_5, p.point_6
        factors[0], factors[1], factors[2], factors[3] = p.factor_0, p.factor_1, p.factor_2, p.factor_3
        factors[4], factors[5], factors[6], factors[7] = p.factor_4, p.factor_5, p.factor_6, p.factor_7
        columns = p.columns
        between = advance(taps, CHANNELS * p.kernel_size * p.kernel_size * columns)
        taps_i32 = as_i32(worker.scratch + 4 * 2 * MAX_SIZE)
        across = p.stride * (p.size - 1) + 1
        products = across * across if p.axes > 1 else p.size * p.kernel_size
        while True:
            block = claim(worker, p.tiles)
            if block >= p.tiles:
                break
            outputs, source = min(columns, p.out_channels - block * columns), block * columns * p.x_output
            ask_for(x_floats, source, p, outputs, min(p.channels, CHANNELS))
            for first in range(0, p.channels, CHANNELS):
                count, beyond = min(p.channels - first, CHANNELS), first + CHANNELS
                ask_for(x_floats, source + beyond * p.x_channel, p, outputs, min(p.channels - beyond, CHANNELS))
                gather(taps_i32, x, source + first * p.x_channel, p, outputs, count)
                y_at = (block * products * p.channels + first) * columns
                if p.axes == 1:
                    transform_along_rows(y, y_at, taps, points, factors, p, count)
                    continue
                for row in range(p.stride):
                    for column in range(p.stride):
                        transform_columns(between, taps, points, p, row, column, count)
                        transform_rows(y, y_at, between, points, factors, p, row, column, count)

    return body
