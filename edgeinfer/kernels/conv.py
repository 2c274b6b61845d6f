"""Direct convolution of float32 pictures: y[p, o] = act(bias[o] + residual[p, o] + sum of products)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from edgeinfer.kernels.direct_conv import CONV_FLOATS, CONV_INTEGERS, ConvArithmetic, direct_conv
from edgeinfer.kernels.epilogue import pixel_activation
from edgeinfer.kernels.patch import patch_reader
from edgeinfer.kernels.products import inner_products
from edgeinfer.kernels.registry import Simd, kernel_family, struct
from edgeinfer.simd.pointers import buffer_f32
from edgeinfer.simd.tile import TileOps

CONV_PARAMS = struct(CONV_INTEGERS, CONV_FLOATS)

TILES = {
    "avx512": [(8, 2), (4, 4), (14, 2), (7, 2), (14, 1), (1, 4)],
    "avx2": [(6, 2), (4, 3), (10, 1), (1, 4)],
    "v128": [(6, 2), (4, 3), (10, 1), (1, 4)],
    "neon": [(8, 2), (4, 4), (7, 3), (14, 1), (1, 4)],
}


@kernel_family("f32_conv", CONV_PARAMS, TILES)
def f32_conv(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """Convolution with any kernel size, stride, dilation and group; see ``direct_conv``."""
    ops = TileOps(simd, tile_rows, vectors)
    return direct_conv(float_output(simd, ops, patch_reader(simd), inner_products(ops)))


def float_output(
    simd: Simd, ops: TileOps, read_patch: Callable[..., None], inner: Callable[..., Any], in_place: bool = True
) -> ConvArithmetic:
    """Arithmetic with float32 sums: bias, residual, activation; arguments as for ``ConvArithmetic``."""
    splat_row, clamp, add, load_tile, store_tile = ops.splat_row, ops.clamp, ops.add, ops.load, ops.store
    activate_pixels = pixel_activation(simd)

    @njit(forceinline=True, error_model="numpy")
    def buffers(p: Any, worker: Any) -> Any:
        y = buffer_f32(worker, p.y)
        residual = buffer_f32(worker, p.residual) if p.residual >= 0 else y
        return buffer_f32(worker, p.bias), residual, y

    @njit(forceinline=True, error_model="numpy")
    def begin(buffers: Any, index: Any) -> Any:
        return splat_row(buffers[0], index)

    @njit(forceinline=True, error_model="numpy")
    def finish(tile: Any, buffers: Any, p: Any, index: Any, place: Any, rows: Any, columns: Any) -> None:
        _, residual, y = buffers
        if p.residual >= 0:
            tile = add(tile, load_tile(residual, place, p.y_pixel, rows, columns))
        tile = clamp(tile, np.float32(p.low), np.float32(p.high))
        store_tile(tile, y, place, p.y_pixel, rows, columns)

    @njit(forceinline=True, error_model="numpy")
    def finish_task(buffers: Any, p: Any, start: Any, rows: Any, columns: Any, channels: Any) -> None:
        if p.activation != 0:
            activate_pixels(buffers[2], start, p, rows, columns, channels)

    return ConvArithmetic(ops.rows, ops.columns, read_patch, inner, buffers, begin, finish, finish_task, in_place)
