"""Depthwise convolution of 8-bit pictures: bytes become float32 in registers, where the sums are exact.

A sum of up to 500 products of bytes is a whole number below 2**24. Weights and bias, from which the zero point of x is
taken, are float32 whole numbers too. The bias comes in two parts: a small one that sums begin with, and a multiple of
2**16 that is added last, where the one rounding happens that int32 sums have on their way to float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from edgeinfer.kernels.depthwise import TILES, DepthwiseArithmetic, depthwise_conv
from edgeinfer.kernels.quantized_conv import zero_point_border
from edgeinfer.kernels.quantized_output import QUANTIZED_CONV_PARAMS, quantized_output
from edgeinfer.kernels.registry import Simd, kernel_family
from edgeinfer.simd.pointers import advance, buffer_f32
from edgeinfer.simd.tile import TileOps

# Where sums in integers are the rule, what is left of these takes the kernel for any size.
FIXED_SIZE_TILES = {**TILES, "dotprod": []}
# The same for 5x5 where x86 has them: few layers have less than its block of channels.
LARGE_TILES = {**FIXED_SIZE_TILES, "vnni": [], "avxvnni": []}


@kernel_family("qu8_dwconv3x3", QUANTIZED_CONV_PARAMS, FIXED_SIZE_TILES)
def qu8_dwconv3x3(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """Depthwise convolution with 3x3 kernels, dilation 1, stride 1 or 2 along x."""
    return depthwise_conv(simd, tile_rows, 3, _byte_arithmetic(simd, tile_rows))


@kernel_family("qu8_dwconv5x5", QUANTIZED_CONV_PARAMS, LARGE_TILES)
def qu8_dwconv5x5(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """Depthwise convolution with 5x5 kernels, dilation 1, stride 1 or 2 along x."""
    return depthwise_conv(simd, tile_rows, 5, _byte_arithmetic(simd, tile_rows))


@kernel_family("qu8_dwconv", QUANTIZED_CONV_PARAMS, TILES)
def qu8_dwconv(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """Depthwise convolution with any kernel, stride, dilation and padding, at least ``lanes`` channels."""
    return depthwise_conv(simd, tile_rows, 0, _byte_arithmetic(simd, tile_rows))


def _byte_arithmetic(simd: Simd, tile_rows: int) -> DepthwiseArithmetic:
    ops = TileOps(simd, tile_rows, 1)
    output, multiply_row = quantized_output(simd, ops), ops.multiply_row
    output_buffers, write, add_row = output.buffers, output.write, ops.add_row

    @njit(forceinline=True, error_model="numpy")
    def buffers(p: Any, worker: Any) -> Any:
        return (
            advance(buffer_f32(worker, p.bias), p.channels),
            buffer_f32(worker, p.multipliers),
            output_buffers(p, worker),
        )

    @njit(forceinline=True, error_model="numpy")
    def finish(tile: Any, buffers: Any, p: Any, channel: Any, place: Any, rows: Any, columns: Any) -> None:
        large_bias, factors, rest = buffers
        write(multiply_row(add_row(tile, large_bias, channel), factors, channel), rest, p, place, rows, columns)

    return DepthwiseArithmetic(1, zero_point_border, buffers, finish, output.finish_task)
