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

# Channels that are read at a time: a line of the cache of each output channel.
_CHANNELS = 16
_FILTER_CHANNELS = 8
_TAPS = 9
_SIXTH = np.float32(1 / 6)


@kernel_family("x32_pack_columns", COLUMNS_PARAMS)
def x32_pack_columns(simd: Simd) -> Callable[..., None]:
    """``y[group, block, row, column, channel, c] = x[output, channel, row, column]``, zero beyond the last output.

    ``output = group * out_channels + block * columns + c``; ``out_channels`` counts one group.
    """

    @njit(error_model="numpy")
    def pack_channels(y: Any, y_at: Any, x: Any, x_at: Any, p: Any, first: Any, last: Any) -> None:
        """One output channel of some channels; zeros if ``x_at`` is negative."""
        tap_pitch = p.channels * p.columns
        for channel in range(first, last):
            place = y_at + channel * p.columns
            for row in range(p.kernel_height):
                for column in range(p.kernel_width):
                    at = x_at + channel * p.x_channel + row * p.x_row + column * p.x_column
                    y[place] = x[at] if x_at >= 0 else 0
                    place += tap_pitch

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
                last = min(p.channels, channel + _CHANNELS)
                for column in range(p.columns):
                    x_at = source + column * p.x_output if first_output + column < p.out_channels else -1
                    pack_channels(y, task * size + column, x, x_at, p, channel, last)

    return body


@kernel_family("f32_pack_filters", FILTERS_PARAMS)
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
    def gather(taps: Any, x: Any, source: Any, p: Any, outputs: Any, first: Any, last: Any) -> None:
        """Filters of some channels as [channel][tap][c], zeros beyond the last output channel."""
        for column in range(p.columns):
            for channel in range(first, last):
                place = (channel - first) * _TAPS * p.columns + column
                at = source + column * p.x_output + channel * p.x_channel
                for row in range(3):
                    for across in range(3):
                        inside = column < outputs
                        taps[place] = x[at + row * p.x_row + across * p.x_column] if inside else np.float32(0)
                        place += p.columns

    def body(p: Any, worker: Any) -> None:
        x, y, taps = buffer_f32(worker, p.x), buffer_f32(worker, p.y), scratch_f32(worker)
        columns, size = p.columns, p.output + 2
        between = _FILTER_CHANNELS * _TAPS * columns
        pitch = p.channels * columns
        while True:
            block = claim(worker)
            if block >= p.tiles:
                break
            outputs = min(columns, p.out_channels - block * columns)
            for first in range(0, p.channels, _FILTER_CHANNELS):
                last = min(p.channels, first + _FILTER_CHANNELS)
                gather(taps, x, block * columns * p.x_output, p, outputs, first, last)
                for channel in range(first, last):
                    at = (channel - first) * _TAPS * columns
                    for part in range(0, columns, lanes):
                        for across in range(3):
                            transform(
                                taps, between + across * columns + part, 3 * columns,
                                taps, at + across * columns + part, 3 * columns, p.output, np.float32(1), False,
                            )  # fmt: skip
                    for i in range(size):
                        factor = factor_2(i) if p.output == 2 else factor_4(i)
                        place = ((block * size + i) * size * p.channels + channel) * columns
                        for part in range(0, columns, lanes):
                            transform(
                                y, place + part, pitch, taps, between + 3 * i * columns + part, columns,
                                p.output, factor, True,
                            )  # fmt: skip

    return body
