"""Direct convolution of 8-bit pictures with 8-bit weights, exact sums in int32 (ONNX QLinearConv).

    sum[p, o] = bias[o] + sum over taps t and channels c of x[p * stride + t, c] * w[t, c, o]
    y[p, o] = round(sum[p, o] * multipliers[o]) + y_zero_point, between low and high

x is unsigned, w signed; the zero point of x is in the bias. Four channels of a pixel make one quad, the unit of x and
w. ``multipliers`` is x_scale * w_scale[o] / y_scale in float32, or without y_scale where y is float32 or has an
activation that does more than clamp; that y is divided by y_scale afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from edgeinfer.kernels.direct_conv import ConvArithmetic, direct_conv, runs_of_taps
from edgeinfer.kernels.patch import patch_reader
from edgeinfer.kernels.products import inner_products, prefetching_products
from edgeinfer.kernels.quantized_output import QUANTIZED_CONV_PARAMS, byte_output, quantized_output
from edgeinfer.kernels.registry import Simd, kernel_family
from edgeinfer.simd.byte_tile import ByteTileOps
from edgeinfer.simd.pointers import buffer_f32, claim
from edgeinfer.simd.tile import TileOps
from edgeinfer.simd.vectors import bits_to_f32

TILES = {
    "vnni": [(8, 2), (7, 2), (7, 3), (14, 1), (1, 4)],
    "avx512": [(8, 2), (4, 4), (14, 1), (1, 4)],
    "avxvnni": [(6, 2), (4, 3), (10, 1), (1, 4)],
    "avx2": [(4, 2), (8, 1), (1, 4)],
    "v128": [(4, 2), (8, 1), (1, 4)],
    "i8mm": [(8, 2), (4, 4), (1, 4)],
    "dotprod": [(8, 2), (7, 3), (4, 4), (1, 4)],
    "neon": [(4, 4), (7, 2), (8, 1), (1, 4)],
}


# Of at least two rows of pixels; there are other kernels for one.
POINTWISE_TILES = {
    "vnni": [(8, 2), (7, 2), (7, 3), (14, 1)],
    "avx512": [(8, 2), (4, 4), (14, 1)],
    "avxvnni": [(6, 2), (4, 3), (10, 1)],
    "avx2": [(4, 2), (8, 1)],
    "v128": [(4, 2), (8, 1)],
    "i8mm": [(6, 4), (8, 2)],
    "dotprod": [(5, 4), (7, 3), (8, 2)],
    "neon": [(3, 6), (4, 4), (7, 2)],
}


def zero_point_border(simd: Simd) -> Callable[[Any], Any]:
    """``border(p)``: the bytes of ``p.fill`` in all quads."""
    splat = simd.splat_i32

    @njit(forceinline=True, error_model="numpy")
    def border(p: Any) -> Any:
        return bits_to_f32(splat(np.int32(p.fill)))

    return border


def quantized_arithmetic(
    simd: Simd, tile_rows: int, vectors: int, read_patch: Callable[..., None], inner: Callable[..., Any] | None = None,
    in_place: bool = True, runs_of: Callable[..., Any] = runs_of_taps,
) -> ConvArithmetic:  # fmt: skip
    """Exact sums of products and what makes bytes or float32 of them; ``inner`` is that of quads by default."""
    sums, floats = ByteTileOps(simd, tile_rows, vectors), TileOps(simd, tile_rows, vectors)
    splat_row, scaled, output = sums.splat_row, sums.scaled, quantized_output(simd, floats)
    output_buffers, write = output.buffers, output.write

    @njit(forceinline=True, error_model="numpy")
    def buffers(p: Any, worker: Any) -> Any:
        return buffer_f32(worker, p.bias), buffer_f32(worker, p.multipliers), output_buffers(p, worker)

    @njit(forceinline=True, error_model="numpy")
    def begin(buffers: Any, index: Any) -> Any:
        return splat_row(buffers[0], index)

    @njit(forceinline=True, error_model="numpy")
    def finish(tile: Any, buffers: Any, p: Any, index: Any, place: Any, rows: Any, columns: Any) -> None:
        write(scaled(tile, buffers[1], index), buffers[2], p, place, rows, columns)

    inner = inner or prefetching_products(sums, by_matrix=True)
    return ConvArithmetic(
        simd,
        tile_rows,
        sums.columns,
        read_patch,
        inner,
        buffers,
        begin,
        finish,
        output.finish_task,
        in_place,
        runs_of=runs_of,
    )


@kernel_family("qu8_conv", QUANTIZED_CONV_PARAMS, TILES, width=4, by_matrix=1, adds=1)
def qu8_conv(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """Convolution with any kernel size, stride, dilation and group whose channels are a multiple of 4."""
    return direct_conv(quantized_arithmetic(simd, tile_rows, vectors, patch_reader(simd, zero_point_border)))


@kernel_family("qu8_pointwise", QUANTIZED_CONV_PARAMS, POINTWISE_TILES, width=4, grouped=1, by_matrix=1)
def qu8_pointwise(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """Pointwise convolution of one row of at least ``rows`` pixels to bytes, with no activation but bounds.

    The last tile of pixels overlaps the one before where they are no multiple of its rows.
    """
    sums, floats = ByteTileOps(simd, tile_rows, vectors), TileOps(simd, tile_rows, vectors)
    splat_sums, load_scales, scaled_by = sums.splat_row, TileOps(simd, 1, vectors).splat_row, sums.scaled_by
    reloads = sums.by_lane
    inner = sums.grouped_products if simd.level.dot == "smull" else inner_products(sums, by_matrix=True)
    columns, output = sums.columns, byte_output(simd, floats)
    buffers_of, write = output.buffers, output.write

    def body(p: Any, worker: Any) -> None:
        x, w, buffers = buffer_f32(worker, p.x), buffer_f32(worker, p.w), buffers_of(p, worker)
        bias, factors = buffer_f32(worker, p.bias), buffer_f32(worker, p.multipliers)
        pixels, channels, out_channels, task_pixels = p.out_width, p.channels, p.out_channels, p.task_columns
        task_blocks, block_tasks, tasks, y_pixel, y_start = p.task_blocks, p.block_tasks, p.tiles, p.y_pixel, p.y_start
        blocks = (out_channels + columns - 1) // columns
        while True:
            task = claim(worker, tasks)
            if task >= tasks:
                break
            first_block = task % block_tasks * task_blocks
            first = task // block_tasks * task_pixels
            stop = min(pixels, first + task_pixels)
            for block in range(first_block, min(blocks, first_block + task_blocks)):
                channel = block * columns
                first_sums, scales = splat_sums(bias, channel), load_scales(factors, channel)
                for at in range(first, stop, tile_rows):
                    pixel = min(at, pixels - tile_rows)
                    begin = splat_sums(bias, channel) if reloads else first_sums
                    tile = inner(begin, x, pixel * channels, channels, w, channel * channels, channels)
                    place = y_start + pixel * y_pixel + channel
                    write(scaled_by(tile, scales), buffers, place, tile_rows, out_channels - channel)

    return body
