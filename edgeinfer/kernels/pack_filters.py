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

# Frequencies along one axis that a transform may have.
MAX_SIZE = 8
_POINTS = " ".join(f"point_{index}" for index in range(MAX_SIZE - 1))
_FACTORS = " ".join(f"factor_{index}" for index in range(MAX_SIZE))
FILTERS_PARAMS = struct(
    f"x y {SOURCE_STRIDES} out_channels channels kernel_size taps stride size columns tiles", f"{_POINTS} {_FACTORS}"
)
# Channels that are transformed at a time: what is written of a frequency is a run long enough to be written fast.
CHANNELS = 16


@kernel_family("f32_pack_filters", FILTERS_PARAMS, channels=CHANNELS)
def f32_pack_filters(simd: Simd) -> Callable[..., None]:
    """``y[block, frequency, row's phase, column's phase, channel, c]``: ``G g G^T`` of each phase of each filter.

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

    @njit(forceinline=True, error_model="numpy")
    def at_point(x: Any, last: Any, stride: Any, count: Any, point: Any) -> Any:
        """The polynomial with the coefficients ``x[last]`` (the highest), ``x[last - stride]``, … at a point."""
        value, factor = load(x, last), splat(point)
        for k in range(1, count):
            value = value * factor + load(x, last - k * stride)
        return value

    @njit(error_model="numpy")
    def transform_phase(
        result: Any, result_at: Any, between: Any, taps: Any, at: Any, points: Any, factors: Any, p: Any, row: Any,
        column: Any,
    ) -> None:  # fmt: skip
        """One phase of one channel's filters; ``between`` has space for ``size * taps`` rows of columns."""
        columns, size, stride = p.columns, p.size, p.stride
        rows_of_taps = (p.kernel_size - row + stride - 1) // stride
        columns_of_taps = (p.kernel_size - column + stride - 1) // stride
        row_pitch, column_pitch = stride * p.kernel_size * columns, stride * columns
        first = at + (row * p.kernel_size + column) * columns
        used_rows, used_columns = size - min(row, 1), size - min(column, 1)
        for tap in range(columns_of_taps):
            for part in range(0, columns, lanes):
                last = first + tap * column_pitch + (rows_of_taps - 1) * row_pitch + part
                for i in range(used_rows):
                    place = (i * p.taps + tap) * columns + part
                    if i < size - 1:
                        store(between, place, at_point(taps, last, row_pitch, rows_of_taps, points[i]))
                    else:
                        store(between, place, load(taps, last))
        pitch = CHANNELS * columns
        for i in range(used_rows):
            phases_down = 1 if i == size - 1 else stride
            row_place = i * stride * (stride * (size - 1) + 1)
            for j in range(used_columns):
                phases_across = 1 if j == size - 1 else stride
                slot = row_place + j * phases_down * stride + row * phases_across + column
                factor = splat(factors[i] * factors[j])
                for part in range(0, columns, lanes):
                    last = (i * p.taps + columns_of_taps - 1) * columns + part
                    if j < size - 1:
                        value = at_point(between, last, columns, columns_of_taps, points[j])
                    else:
                        value = load(between, last)
                    store(result, result_at + slot * pitch + part, value * factor)

    @njit(error_model="numpy")
    def write(y: Any, y_at: Any, y_pitch: Any, x: Any, rows: Any, count: Any, x_pitch: Any) -> None:
        """Copy rows of whole vectors; each is a run of neighbours, and nothing lies between it and the next run."""
        for row in range(rows):
            for i in range(0, count, lanes):
                store(y, y_at + row * y_pitch + i, load(x, row * x_pitch + i))

    def body(p: Any, worker: Any) -> None:
        x, y, points = buffer_i32(worker, p.x), buffer_f32(worker, p.y), scratch_f32(worker)
        factors, taps = advance(points, MAX_SIZE), advance(points, 2 * MAX_SIZE)
        points[0], points[1], points[2], points[3] = p.point_0, p.point_1, p.point_2, p.point_3
        points[4], points[5], points[6] = p.point_4, p.point_5, p.point_6
        factors[0], factors[1], factors[2], factors[3] = p.factor_0, p.factor_1, p.factor_2, p.factor_3
        factors[4], factors[5], factors[6], factors[7] = p.factor_4, p.factor_5, p.factor_6, p.factor_7
        columns, kernel_taps = p.columns, p.kernel_size * p.kernel_size
        between = advance(taps, CHANNELS * kernel_taps * columns)
        result = advance(between, p.size * p.taps * columns)
        taps_i32 = as_i32(worker.scratch + 4 * 2 * MAX_SIZE)
        products = (p.stride * (p.size - 1) + 1) * (p.stride * (p.size - 1) + 1)
        while True:
            block = claim(worker, p.tiles)
            if block >= p.tiles:
                break
            outputs = min(columns, p.out_channels - block * columns)
            for first in range(0, p.channels, CHANNELS):
                count = min(p.channels - first, CHANNELS)
                gather(taps_i32, x, block * columns * p.x_output + first * p.x_channel, p, outputs, count)
                for channel in range(count):
                    at = channel * kernel_taps * columns
                    for row in range(p.stride):
                        for column in range(p.stride):
                            transform_phase(
                                result, channel * columns, between, taps, at, points, factors, p, row, column
                            )
                start = (block * products * p.channels + first) * columns
                write(y, start, p.channels * columns, result, products, count * columns, CHANNELS * columns)

    return body
