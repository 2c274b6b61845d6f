"""Depthwise convolution, channels last: each channel with its own filter.

Vectors run along the channels; a register tile holds ``rows`` neighbouring output pixels. Zero padding
costs nothing: taps outside the picture are left out. Weights are packed as [tap][channel].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from edgeinfer.kernels.conv import CONV_PARAMS
from edgeinfer.kernels.epilogue import pixel_activation
from edgeinfer.kernels.registry import Simd, kernel_family
from edgeinfer.simd.pointers import buffer_f32, claim
from edgeinfer.simd.tile import TileOps

TILES = {"avx512": [(8, 1)], "avx2": [(8, 1)], "v128": [(8, 1)]}


@njit(forceinline=True, error_model="numpy")
def _first_tap(position: Any, dilation: Any) -> Any:
    """The first tap whose pixel ``position + tap * dilation`` is not before the picture."""
    return 0 if position >= 0 else (-position + dilation - 1) // dilation


@njit(forceinline=True, error_model="numpy")
def _last_tap(position: Any, dilation: Any, size: Any, taps: Any) -> Any:
    """One beyond the last tap whose pixel is inside the picture."""
    return 0 if position >= size else min(taps, (size - 1 - position) // dilation + 1)


def _pixels(ops: TileOps) -> Callable[..., None]:
    """``run(...)``: ``ops.rows`` output pixels of one vector of channels, taps ``[ky0, ky1)`` x ``[kx0, kx1)``."""
    splat_row, multiply, load_tile, add, clamp, store, rows, columns = (
        ops.splat_row, ops.multiply, ops.load, ops.add, ops.clamp, ops.store, ops.rows, ops.columns,
    )  # fmt: skip

    @njit(forceinline=True, error_model="numpy")
    def run(
        x: Any, at: Any, row_pitch: Any, pixel_pitch: Any, tap_pitch: Any, w: Any, bias: Any, channel: Any, channels: Any,
        ky0: Any, ky1: Any, kx0: Any, kx1: Any, kernel_width: Any,
        y: Any, place: Any, y_pixel: Any, residual: Any, has_residual: Any, low: Any, high: Any,
    ) -> None:  # fmt: skip
        tile = splat_row(bias, channel)
        for ky in range(ky0, ky1):
            for kx in range(kx0, kx1):
                tap = (ky * kernel_width + kx) * channels + channel
                tile = multiply(tile, x, at + ky * row_pitch + kx * tap_pitch, pixel_pitch, w, tap)
        if has_residual:
            tile = add(tile, load_tile(residual, place, y_pixel, rows, columns))
        store(clamp(tile, low, high), y, place, y_pixel, rows, columns)

    return run


@kernel_family("f32_dwconv", CONV_PARAMS, TILES)
def f32_dwconv(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """Depthwise convolution with zero padding, any kernel, stride and dilation, at least ``lanes`` channels.

    The last vector of channels overlaps the one before where the channels are no multiple of the lanes.
    """
    lanes = simd.lanes
    many, single = _pixels(TileOps(simd, tile_rows, vectors)), _pixels(TileOps(simd, 1, vectors))
    activate_pixels = pixel_activation(simd)

    def body(p: Any, worker: Any) -> None:
        x, w, bias, y = (
            buffer_f32(worker, p.x), buffer_f32(worker, p.w), buffer_f32(worker, p.bias), buffer_f32(worker, p.y),
        )  # fmt: skip
        has_residual = p.residual >= 0
        residual = buffer_f32(worker, p.residual) if has_residual else y
        low, high = np.float32(p.low), np.float32(p.high)
        channels = p.out_channels
        row_pitch, pixel_pitch, tap_pitch = p.width * channels, p.stride_x * channels, p.dilation_x * channels
        reach = (p.kernel_width - 1) * p.dilation_x
        while True:
            task = claim(worker)
            if task >= p.tiles:
                break
            row_task = task % p.row_tasks
            image = task // p.row_tasks
            first_row = row_task * p.task_rows
            last_row = min(p.out_height, first_row + p.task_rows)
            for row in range(first_row, last_row):
                top = row * p.stride_y - p.pad_top
                ky0 = _first_tap(top, p.dilation_y)
                ky1 = _last_tap(top, p.dilation_y, p.height, p.kernel_height)
                line = (image * p.height + top) * row_pitch
                y_row = p.y_start + image * p.y_image + row * p.y_row
                column = 0
                while column < p.out_width:
                    left = column * p.stride_x - p.pad_left
                    right = left + (tile_rows - 1) * p.stride_x + reach
                    at, place = line + left * channels, y_row + column * p.y_pixel
                    if left >= 0 and right < p.width and column + tile_rows <= p.out_width:
                        for c in range(0, channels, lanes):
                            channel = min(c, channels - lanes)
                            many(
                                x, at + channel, p.dilation_y * row_pitch, pixel_pitch, tap_pitch, w, bias, channel,
                                channels, ky0, ky1, 0, p.kernel_width, p.kernel_width,
                                y, place + channel, p.y_pixel, residual, has_residual, low, high,
                            )  # fmt: skip
                        column += tile_rows
                        continue
                    kx0 = _first_tap(left, p.dilation_x)
                    kx1 = _last_tap(left, p.dilation_x, p.width, p.kernel_width)
                    for c in range(0, channels, lanes):
                        channel = min(c, channels - lanes)
                        single(
                            x, at + channel, p.dilation_y * row_pitch, pixel_pitch, tap_pitch, w, bias, channel,
                            channels, ky0, ky1, kx0, kx1, p.kernel_width,
                            y, place + channel, p.y_pixel, residual, has_residual, low, high,
                        )  # fmt: skip
                    column += 1
            if p.activation != 0:
                start = p.y_start + image * p.y_image + first_row * p.y_row
                activate_pixels(y, start, p, last_row - first_row, p.out_width, channels)

    return body
