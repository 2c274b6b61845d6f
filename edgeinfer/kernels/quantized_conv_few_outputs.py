"""Quantized convolution with few output channels: kernel taps along x become output columns.

As ``f32_conv_few_outputs`` with the arithmetic of ``qu8_conv``: partial sums are int32, and so exact.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from edgeinfer.kernels.activation import activate
from edgeinfer.kernels.conv_few_outputs import FewOutputsArithmetic, few_outputs_conv, tile_products
from edgeinfer.kernels.patch import patch_reader
from edgeinfer.kernels.products import inner_products
from edgeinfer.kernels.quantized_conv import zero_point_border
from edgeinfer.kernels.quantized_output import QUANTIZED_CONV_PARAMS
from edgeinfer.kernels.registry import Simd, kernel_family
from edgeinfer.simd.byte_tile import ByteTileOps
from edgeinfer.simd.pointers import as_i32, buffer_f32, buffer_i32, buffer_u8
from edgeinfer.simd.vectors import to_f32

TILES = {"avx512": [(8, 2)], "avx2": [(4, 2)], "v128": [(4, 2)], "neon": [(8, 2)]}


@kernel_family("qu8_conv_few_outputs", QUANTIZED_CONV_PARAMS, TILES, width=4)
def qu8_conv_few_outputs(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """Convolution with stride and dilation 1 along x, one group, at most ``lanes`` output channels."""
    ops = ByteTileOps(simd, tile_rows, vectors)
    return few_outputs_conv(simd, byte_output(simd, tile_rows, ops.columns, tile_products(ops, inner_products(ops))))


def byte_output(simd: Simd, rows: int, columns: int, products: Callable[..., None]) -> FewOutputsArithmetic:
    """Exact sums, and what makes bytes or float32 of them; arguments as for ``FewOutputsArithmetic``."""
    pixel = ByteTileOps(simd, 1, 1)
    as_tile, store_bytes = pixel.float_tile, pixel.store_bytes
    load, load_i32, store_first, splat, clamp = simd.load, simd.load_i32, simd.store_first, simd.splat, simd.clamp
    apply = activate(simd)

    @njit(forceinline=True, error_model="numpy")
    def buffers(p: Any, worker: Any) -> Any:
        bias = load_i32(buffer_i32(worker, p.bias), 0)
        multipliers = load(buffer_f32(worker, p.multipliers), 0)
        return bias, multipliers, as_i32(worker.scratch), buffer_f32(worker, p.y), buffer_u8(worker, p.y)

    @njit(forceinline=True, error_model="numpy")
    def finish(buffers: Any, p: Any, sums: Any, at: Any, pitch: Any, place: Any) -> None:
        total, multipliers, integers, y, y_bytes = buffers
        outputs = p.out_channels
        for kx in range(p.kernel_width):
            total = total + load_i32(integers, at + kx * (pitch + outputs))
        value = to_f32(total) * multipliers
        low, high = np.float32(p.low), np.float32(p.high)
        if p.activation != 0:
            value = apply(value, p.activation, np.float32(p.parameter_0), np.float32(p.parameter_1))
            value = value / splat(np.float32(p.y_scale))
        if p.float_y != 0:
            store_first(y, place, clamp(value, splat(low), splat(high)), outputs)
        else:
            store_bytes(as_tile(value), y_bytes, place, 0, 1, outputs, p.y_zero_point, low, high)

    reader = patch_reader(simd, zero_point_border)
    return FewOutputsArithmetic(rows, columns, reader, products, buffers, finish)
