"""Direct convolution of float32 or float16 pictures: y[p, o] = act(bias[o] + residual[p, o] + sum of products)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from edgeinfer.kernels.direct_conv import CONV_FLOATS, CONV_INTEGERS, ConvArithmetic, direct_conv, runs_of_taps
from edgeinfer.kernels.epilogue import pixel_activation
from edgeinfer.kernels.patch import patch_reader
from edgeinfer.kernels.products import prefetching_products
from edgeinfer.kernels.registry import Simd, kernel_family, struct
from edgeinfer.simd.tile import TileOps

CONV_PARAMS = struct(CONV_INTEGERS, CONV_FLOATS)

TILES = {
    "avx512": [(8, 2), (4, 4), (14, 2), (7, 2), (7, 3), (14, 1), (1, 4)],
    "avx2": [(6, 2), (4, 3), (5, 2), (10, 1), (1, 4)],
    "v128": [(6, 2), (4, 3), (10, 1), (1, 4)],
    "neon": [(4, 4), (7, 3), (8, 2), (14, 1), (1, 4)],
    # 7x12 leaves no registers to load the next factors into: 81 % of what a Cortex-A53 can issue, where 8x8 has 95 %.
    "neon_in_order": [(4, 4), (8, 2), (14, 1), (1, 4)],
}

# Tiles of so many vectors are followed by a single row where one is left over: as many sums hide what a multiply-add
# takes.
REST_VECTORS = 4
FLOAT16_TILES = {"dotprod": [(8, 2), (4, 4), (7, 3), (1, 4)]}


@kernel_family("f32_conv", CONV_PARAMS, TILES, float16=FLOAT16_TILES, rest_vectors=REST_VECTORS)
def f32_conv(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """Convolution with any kernel size, stride, dilation and group; see ``direct_conv``."""

    def arithmetic(rows: int, rest: ConvArithmetic | None = None) -> ConvArithmetic:
        ops = TileOps(simd, rows, vectors)
        return float_output(simd, ops, patch_reader(simd), rest=rest)

    few = arithmetic(1) if tile_rows > 1 and vectors >= REST_VECTORS else None
    return direct_conv(arithmetic(tile_rows, few))


def float_output(
    simd: Simd,
    ops: TileOps,
    read_patch: Callable[..., None],
    inner: Callable[..., Any] | None = None,
    in_place: bool = True,
    rest: ConvArithmetic | None = None,
    runs_of: Callable[..., Any] = runs_of_taps,
) -> ConvArithmetic:
    """Sums in the format of ``simd``, bias, residual, activation; arguments as for ``ConvArithmetic``.

    ``inner`` is that of floats by default.
    """
    splat_row, clamp, add, load_tile, store_tile = ops.splat_row, ops.clamp, ops.add, ops.load, ops.store
    activate_pixels, tile_rows, tile_columns = pixel_activation(simd), ops.rows, ops.columns
    floats = simd.buffer

    @njit(forceinline=True, error_model="numpy")
    def buffers(p: Any, worker: Any) -> Any:
        y = floats(worker, p.y)
        residual = floats(worker, p.residual) if p.residual >= 0 else y
        low, high = np.float32(p.low), np.float32(p.high)
        bounded = low > -np.inf or high < np.inf
        return floats(worker, p.bias), residual, y, low, high, bounded, bounded and p.residual < 0

    @njit(forceinline=True, error_model="numpy")
    def begin(buffers: Any, index: Any) -> Any:
        return splat_row(buffers[0], index)

    @njit(forceinline=True, error_model="numpy")
    def finish(tile: Any, buffers: Any, p: Any, index: Any, place: Any, rows: Any, columns: Any) -> None:
        _, residual, y, low, high, bounded, usual = buffers
        if usual & (columns >= tile_columns) & (rows >= tile_rows):
            store_tile(clamp(tile, low, high), y, place, p.y_pixel, tile_rows, tile_columns)
        else:
            if p.residual >= 0:
                tile = add(tile, load_tile(residual, place, p.y_pixel, rows, columns))
            if bounded:
                tile = clamp(tile, low, high)
            store_tile(tile, y, place, p.y_pixel, rows, columns)

    @njit(forceinline=True, error_model="numpy")
    def finish_task(buffers: Any, p: Any, start: Any, rows: Any, columns: Any, channels: Any) -> None:
        if p.activation != 0:
            activate_pixels(buffers[2], start, p, rows, columns, channels)

    inner = inner or prefetching_products(ops)
    return ConvArithmetic(
        simd, ops.rows, ops.columns, read_patch, inner, buffers, begin, finish, finish_task, in_place, rest, runs_of
    )
