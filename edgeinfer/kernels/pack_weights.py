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
from edgeinfer.simd.pointers import buffer_f32, buffer_i32, claim, scratch_f32

_STRIDES = "x_output x_channel x_row x_column"
COLUMNS_PARAMS = struct(f"x y {_STRIDES} out_channels channels kernel_height kernel_width blocks columns tiles")
FILTERS_PARAMS = struct(f"x y {_STRIDES} out_channels channels output columns tiles")

# Channels that are read at a time: runs long enough to be fetched ahead, whose results fit the first-level cache.
_CHANNELS = 64
_FILTER_CHANNELS = 16
_TAPS = 9
_SIXTH = np.float32(1 / 6)


@kernel_family("x32_pack_columns", COLUMNS_PARAMS)
def x32_pack_columns(simd: Simd) -> Callable[..., None]:
    """``y[group, block, row, column, channel, c] = x[output, channel, row, column]``, zero beyond the last output.

    ``output = group * out_channels + block * columns + c``; ``out_channels`` counts one group.
    """

    @njit(error_model="numpy")
    def pack_channels(y: Any, y_at: Any, x: Any, x_at: Any, p: Any, count: Any, inside: Any) -> None:
        """Some channels of one output channel; zeros beyond the last."""
        y_step, x_step = p.columns, p.x_channel
        for row in range(p.kernel_height):
            for column in range(p.kernel_width):
                place = y_at + (row * p.kernel_width + column) * p.channels * p.columns
                at = x_at + row * p.x_row + column * p.x_column
                if inside:
                    for channel in range(count):
                        y[place + channel * y_step] = x[at + channel * x_step]
                else:
                    for channel in range(count):
                        y[place + channel * y_step] = 0

    def body(p: Any, worker: Any) -> None:
        x, y = buffer_i32(worker, p.x), buffer_i32(worker, p.y)
        size = p.kernel_height * p.kernel_width * p.channels * p.columns
        while True:
            task = claim(worker)
            if task >= p.tiles:
                break
            first_output = task % p.blocks * p.columns
            source = (task // p.blocks * p.out_channels + first_output) * p.x_output
            for channel in range(0, p.channels, _CHANNELS):
                count = min(p.channels - channel, _CHANNELS)
                for column in range(p.columns):
                    pack_channels(
                        y, task * size + channel * p.columns + column, x,
                        source + column * p.x_output + channel * p.x_channel, p, count,
                        first_output + column < p.out_channels,
                    )  # fmt: skip

    return body


@kernel_family("f32_pack_filters", FILTERS_PARAMS, channels=_FILTER_CHANNELS)
def f32_pack_filters(simd: Simd) -> Callable[..., None]:
    """``y[block, frequency, channel, c]``: the transform ``G g G^T`` of each 3x3 filter, for Winograd convolutions.

    What both passes share out is multiplied last, and all other factors are powers of two: nothing depends on
    whether a multiplication and an addition are rounded together.
    """
    lanes, load, store, splat = simd.lanes, simd.load, simd.store, simd.splat

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
        step = _TAPS * p.columns
        for column in range(p.columns):
            for row in range(3):
                for across in range(3):
                    place = (3 * row + across) * p.columns + column
                    at = source + column * p.x_output + row * p.x_row + across * p.x_column
                    if column < outputs:
                        for channel in range(count):
                            taps[place + channel * step] = x[at + channel * p.x_channel]
                    else:
                        for channel in range(count):
                            taps[place + channel * step] = np.float32(0)

    @njit(error_model="numpy")
    def write(y: Any, y_at: Any, y_pitch: Any, x: Any, x_at: Any, x_pitch: Any, rows: Any, count: Any) -> None:
        """Copy rows of whole vectors; each is a run of neighbours, and nothing lies between it and the next run."""
        for row in range(rows):
            for i in range(0, count, lanes):
                store(y, y_at + row * y_pitch + i, load(x, x_at + row * x_pitch + i))

    def body(p: Any, worker: Any) -> None:
        x, y, scratch = buffer_f32(worker, p.x), buffer_f32(worker, p.y), scratch_f32(worker)
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
                gather(scratch, x, block * columns * p.x_output + first * p.x_channel, p, outputs, count)
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
