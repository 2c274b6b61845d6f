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

from edgeinfer.kernels.direct_conv import ConvArithmetic, direct_conv
from edgeinfer.kernels.patch import patch_reader
from edgeinfer.kernels.products import inner_products
from edgeinfer.kernels.quantized_output import QUANTIZED_CONV_PARAMS, quantized_output
from edgeinfer.kernels.registry import Simd, kernel_family
from edgeinfer.simd.byte_tile import ByteTileOps
from edgeinfer.simd.pointers import buffer_f32
from edgeinfer.simd.tile import TileOps
from edgeinfer.simd.vectors import bits_to_f32

TILES = {
    "vnni": [(8, 2), (7, 2), (7, 3), (14, 1), (1, 4)],
    "avx512": [(8, 2), (4, 4), (14, 1), (1, 4)],
    "avxvnni": [(6, 2), (4, 3), (10, 1), (1, 4)],
    "avx2": [(4, 2), (8, 1), (1, 4)],
    "v128": [(4, 2), (8, 1), (1, 4)],
    "dotprod": [(8, 2), (7, 3), (4, 4), (14, 1), (1, 4)],
    "neon": [(4, 4), (7, 2), (8, 1), (1, 4)],
}


def zero_point_border(simd: Simd) -> Callable[[Any], Any]:
    """``border(p)``: the bytes of ``p.fill`` in all quads."""
    splat = simd.splat_i32

    @njit(forceinline=True, error_model="numpy")
    def border(p: Any) -> Any:
        return bits_to_f32(splat(np.int32(p.fill)))

    return border


@kernel_family("qu8_conv", QUANTIZED_CONV_PARAMS, TILES, width=4)
def qu8_conv(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """Convolution with any kernel size, stride, dilation and group whose channels are a multiple of 4."""
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

    return direct_conv(
        ConvArithmetic(
            tile_rows, sums.columns, patch_reader(simd, zero_point_border), inner_products(sums), buffers, begin,
            finish, output.finish_task,
        )
    )  # fmt: skip
