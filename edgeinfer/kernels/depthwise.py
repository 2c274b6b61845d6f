"""Depthwise convolution, channels last: each channel with its own filter.

Vectors run along the channels; a register tile holds ``rows`` neighbouring output pixels of one vector of
channels. The input rows of a task are read into a patch first, so that borders need no code of their own
and the strided reads of the tiles hit the cache. Weights are packed as [tap][channel].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edgeinfer.kernels.conv import CONV_PARAMS
from edgeinfer.kernels.epilogue import pixel_activation
from edgeinfer.kernels.patch import patch_reader
from edgeinfer.kernels.registry import Simd, kernel_family
from edgeinfer.simd.pointers import buffer_f32, claim, scratch_f32
from edgeinfer.simd.tile import TileOps

TILES = {"avx512": [(8, 1)], "avx2": [(8, 1)], "v128": [(8, 1)]}


@kernel_family("f32_dwconv3x3", CONV_PARAMS, TILES)
def f32_dwconv3x3(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """Depthwise convolution with 3x3 kernels: as ``f32_dwconv``, with the loops over taps unrolled."""
    return _depthwise(simd, tile_rows, vectors, 3)


@kernel_family("f32_dwconv5x5", CONV_PARAMS, TILES)
def f32_dwconv5x5(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """Depthwise convolution with 5x5 kernels: as ``f32_dwconv``, with the loops over taps unrolled."""
    return _depthwise(simd, tile_rows, vectors, 5)


@kernel_family("f32_dwconv", CONV_PARAMS, TILES)
def f32_dwconv(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """Depthwise convolution with any kernel, stride, dilation and padding, at least ``lanes`` channels.

    ``channels`` counts all channels here. The last vector of channels overlaps the one before where the
    channels are no multiple of the lanes.
    """
    return _depthwise(simd, tile_rows, vectors, 0)


def _depthwise(simd: Simd, tile_rows: int, vectors: int, kernel_size: int) -> Callable[..., None]:
    """The kernel's body; ``kernel_size`` is 0 where it is to be read from the params."""
    ops = TileOps(simd, tile_rows, vectors)
    splat_row, multiply, load_tile, add, clamp, store_tile = (
        ops.splat_row, ops.multiply, ops.load, ops.add, ops.clamp, ops.store,
    )  # fmt: skip
    lanes = simd.lanes
    read_patch, activate_pixels = patch_reader(simd), pixel_activation(simd)

    def body(p: Any, worker: Any) -> None:
        x, w, bias, y = (
            buffer_f32(worker, p.x), buffer_f32(worker, p.w), buffer_f32(worker, p.bias), buffer_f32(worker, p.y),
        )  # fmt: skip
        has_residual = p.residual >= 0
        residual = buffer_f32(worker, p.residual) if has_residual else y
        low, high = np.float32(p.low), np.float32(p.high)
        channels = p.channels
        kernel_height, kernel_width = kernel_size or p.kernel_height, kernel_size or p.kernel_width
        tiled_columns = (p.out_width + tile_rows - 1) // tile_rows * tile_rows
        patch_columns = (tiled_columns - 1) * p.stride_x + (kernel_width - 1) * p.dilation_x + 1
        row_pitch, pixel_pitch, tap_pitch = patch_columns * channels, p.stride_x * channels, p.dilation_x * channels
        tap_row_pitch = p.dilation_y * row_pitch
        patch = scratch_f32(worker)
        while True:
            task = claim(worker)
            if task >= p.tiles:
                break
            row_task = task % p.row_tasks
            image = task // p.row_tasks
            first_row = row_task * p.task_rows
            task_rows = min(p.task_rows, p.out_height - first_row)
            patch_rows = (task_rows - 1) * p.stride_y + (kernel_height - 1) * p.dilation_y + 1
            read_patch(
                patch, x, p, image * p.height * p.width * channels, 0,
                first_row * p.stride_y - p.pad_top, -p.pad_left, patch_rows, patch_columns,
            )  # fmt: skip
            y_start = p.y_start + image * p.y_image + first_row * p.y_row
            for row in range(task_rows):
                for column in range(0, p.out_width, tile_rows):
                    start = row * p.stride_y * row_pitch + column * pixel_pitch
                    place = y_start + row * p.y_row + column * p.y_pixel
                    count = p.out_width - column
                    for c in range(0, channels, lanes):
                        channel = min(c, channels - lanes)
                        tile = splat_row(bias, channel)
                        tap = channel
                        for ky in range(kernel_height):
                            at = start + channel + ky * tap_row_pitch
                            for kx in range(kernel_width):
                                tile = multiply(tile, patch, at + kx * tap_pitch, pixel_pitch, w, tap)
                                tap += channels
                        if has_residual:
                            tile = add(tile, load_tile(residual, place + channel, p.y_pixel, count, lanes))
                        store_tile(clamp(tile, low, high), y, place + channel, p.y_pixel, count, lanes)
            if p.activation != 0:
                activate_pixels(y, y_start, p, task_rows, p.out_width, channels)

    return body
