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

from edgeinfer.kernels.activation import activate
from edgeinfer.kernels.direct_conv import CONV_FLOATS, CONV_INTEGERS, ConvArithmetic, direct_conv
from edgeinfer.kernels.epilogue import pixel_activation
from edgeinfer.kernels.patch import patch_reader
from edgeinfer.kernels.registry import Simd, kernel_family, struct
from edgeinfer.simd.byte_tile import ByteTileOps
from edgeinfer.simd.pointers import advance, buffer_f32, buffer_u8, scratch_f32
from edgeinfer.simd.tile import TileOps
from edgeinfer.simd.vectors import bits_to_f32

QUANTIZED_CONV_PARAMS = struct(
    # per output channel; four bytes of x_zero_point; whether y is float32; floats of scratch before a tile's place
    CONV_INTEGERS + " multipliers fill y_zero_point float_y tile_scratch",
    CONV_FLOATS + " y_scale",
)

TILES = {
    "vnni": [(14, 2), (8, 2), (4, 4), (14, 1), (1, 4)],
    "avx512": [(8, 2), (4, 4), (14, 1), (1, 4)],
    "avxvnni": [(6, 2), (4, 3), (10, 1), (1, 4)],
    "avx2": [(4, 2), (8, 1), (1, 4)],
    "v128": [(4, 2), (8, 1), (1, 4)],
    "neon": [(8, 2), (4, 4), (14, 1), (1, 4)],
}


def zero_point_border(simd: Simd) -> Callable[[Any], Any]:
    """``border(p)``: the bytes of ``p.fill`` in all quads."""
    splat = simd.splat_i32

    @njit(forceinline=True, error_model="numpy")
    def border(p: Any) -> Any:
        return bits_to_f32(splat(np.int32(p.fill)))

    return border


def inner_quads(ops: ByteTileOps) -> Callable[..., Any]:
    """``accumulate(tile, x, index, row_stride, w, w_index, count)``: adds the products of ``count`` quads to a tile.

    Quad k of row i is ``x[index + k + i * row_stride]``, of column j ``w[w_index + k * columns + j]``.
    """
    outer, columns = ops.outer, ops.columns

    @njit(forceinline=True, error_model="numpy")
    def accumulate(tile: Any, x: Any, index: Any, row_stride: Any, w: Any, w_index: Any, count: Any) -> Any:
        for k in range(count):
            tile = outer(tile, x, index + k, row_stride, w, w_index + k * columns)
        return tile

    return accumulate


def activated_tile(simd: Simd, ops: TileOps) -> Callable[..., Any]:
    """``run(tile, memory, p)``: the activation of a float tile and the division by ``y_scale``, through memory."""
    apply, splat, lanes = activate(simd), simd.splat, simd.lanes
    load, store, load_tile, store_tile, rows, columns = (
        simd.load,
        simd.store,
        ops.load,
        ops.store,
        ops.rows,
        ops.columns,
    )

    @njit(error_model="numpy")
    def run(tile: Any, memory: Any, code: Any, first: Any, second: Any, scale: Any) -> Any:
        store_tile(tile, memory, 0, columns, rows, columns)
        for at in range(0, rows * columns, lanes):
            store(memory, at, apply(load(memory, at), code, first, second) / splat(scale))
        return load_tile(memory, 0, columns, rows, columns)

    return run


@kernel_family("qu8_conv", QUANTIZED_CONV_PARAMS, TILES, width=4)
def qu8_conv(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """Convolution with any kernel size, stride, dilation and group whose channels are a multiple of 4."""
    sums, floats = ByteTileOps(simd, tile_rows, vectors), TileOps(simd, tile_rows, vectors)
    splat_row, scaled, store_bytes = sums.splat_row, sums.scaled, sums.store_bytes
    clamp, store_tile = floats.clamp, floats.store
    activate_pixels, activated = pixel_activation(simd), activated_tile(simd, floats)

    @njit(forceinline=True, error_model="numpy")
    def buffers(p: Any, worker: Any) -> Any:
        y = buffer_f32(worker, p.y)
        memory = advance(scratch_f32(worker), p.tile_scratch)
        return buffer_f32(worker, p.bias), buffer_f32(worker, p.multipliers), y, buffer_u8(worker, p.y), memory

    @njit(forceinline=True, error_model="numpy")
    def begin(buffers: Any, index: Any) -> Any:
        return splat_row(buffers[0], index)

    @njit(forceinline=True, error_model="numpy")
    def finish(tile: Any, buffers: Any, p: Any, index: Any, place: Any, rows: Any, columns: Any) -> None:
        _, multipliers, y, y_bytes, memory = buffers
        value = scaled(tile, multipliers, index)
        low, high = np.float32(p.low), np.float32(p.high)
        if p.float_y != 0:
            store_tile(clamp(value, low, high), y, place, p.y_pixel, rows, columns)
        else:
            if p.activation != 0:
                first, second = np.float32(p.parameter_0), np.float32(p.parameter_1)
                value = activated(value, memory, p.activation, first, second, np.float32(p.y_scale))
            store_bytes(clamp(value, low, high), y_bytes, place, p.y_pixel, rows, columns, p.y_zero_point)

    @njit(forceinline=True, error_model="numpy")
    def finish_task(buffers: Any, p: Any, start: Any, rows: Any, columns: Any, channels: Any) -> None:
        if p.activation != 0 and p.float_y != 0:
            activate_pixels(buffers[2], start, p, rows, columns, channels)

    return direct_conv(
        ConvArithmetic(
            tile_rows, sums.columns, patch_reader(simd, zero_point_border), inner_quads(sums), buffers, begin, finish,
            finish_task,
        )
    )  # fmt: skip
