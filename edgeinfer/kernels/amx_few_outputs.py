"""Convolutions with few output channels by the tile registers of Intel's AMX.

As ``conv_few_outputs``: taps of a kernel row are output columns too, here of one block of 32 at most.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from edgeinfer.kernels import conv_few_outputs, quantized_conv_few_outputs
from edgeinfer.kernels.amx_conv import AMX_INTEGERS, UNIT_BYTES, band_products, fill_offsets
from edgeinfer.kernels.bfloat16_patch import bfloat16_patch_reader
from edgeinfer.kernels.conv_few_outputs import FewOutputsArithmetic, few_outputs_conv
from edgeinfer.kernels.direct_conv import CONV_FLOATS, CONV_INTEGERS
from edgeinfer.kernels.patch import fill_floats
from edgeinfer.kernels.quantized_output import QUANTIZED_CONV_FLOATS, QUANTIZED_CONV_INTEGERS
from edgeinfer.kernels.registry import Simd, kernel_family, struct
from edgeinfer.simd.amx_tile import BFLOAT16_PRODUCTS, BYTE_PRODUCTS, TILE_PIXELS, AmxTileOps
from edgeinfer.simd.pointers import advance, f32_as_i64, scratch_f32

# sums: floats of scratch before ``columns`` zeros, which sums begin with.
PARAMS = struct(f"{CONV_INTEGERS} {AMX_INTEGERS}", CONV_FLOATS)
QUANTIZED_PARAMS = struct(f"{QUANTIZED_CONV_INTEGERS} {AMX_INTEGERS}", QUANTIZED_CONV_FLOATS)
TILES = {"amx": [(16, 2)]}


def _row_products(ops: AmxTileOps) -> Callable[..., None]:
    """As ``tile_products``."""
    multiply_band = band_products(ops)

    @njit(forceinline=True, error_model="numpy")
    def multiply(sums: Any, patch: Any, start: Any, row_pitch: Any, w: Any, pixels: Any, blocks: Any, p: Any) -> None:
        tiles = (pixels + TILE_PIXELS - 1) // TILE_PIXELS
        offsets = f32_as_i64(advance(sums, p.offsets))
        taps = p.kernel_height, 1, p.channels, 0, p.dilation_y * row_pitch
        fill_offsets(offsets, taps, p.chunk, UNIT_BYTES, 1, 0)
        multiply_band(
            sums, patch, start * UNIT_BYTES, p.channels * UNIT_BYTES, 0, tiles, tiles, w, 0, advance(sums, p.sums), 0,
            offsets, p.kernel_height * p.channels // p.chunk, p.chunk, False,
        )  # fmt: skip

    return multiply


def _with_tile_registers(simd: Simd, ops: AmxTileOps, arithmetic: FewOutputsArithmetic) -> Callable[..., None]:
    """The kernel's body; sums lie at the start of scratch memory."""
    convolve = njit(forceinline=True, error_model="numpy")(few_outputs_conv(simd, arithmetic))
    configure, release, fill, splat, columns = ops.configure, ops.release, fill_floats(simd), simd.splat, ops.columns

    def body(p: Any, worker: Any) -> None:
        zeros = advance(scratch_f32(worker), p.sums)
        configure(zeros, p.chunk)
        fill(zeros, 0, splat(np.float32(0)), columns)
        convolve(p, worker)
        release()

    return body


@kernel_family("bf16_amx_few_outputs", PARAMS, TILES, width=2)
def bf16_amx_few_outputs(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """Convolution with stride and dilation 1 along x, one group, at most ``columns`` pairs of tap and output."""
    ops, reader = AmxTileOps(vectors, BFLOAT16_PRODUCTS), bfloat16_patch_reader(simd)
    arithmetic = conv_few_outputs.float_output(simd, tile_rows, ops.columns, reader, _row_products(ops))
    return _with_tile_registers(simd, ops, arithmetic)


@kernel_family("qu8_amx_few_outputs", QUANTIZED_PARAMS, TILES, width=4)
def qu8_amx_few_outputs(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """The same of bytes, whose channels are a multiple of 4."""
    ops = AmxTileOps(vectors, BYTE_PRODUCTS)
    arithmetic = quantized_conv_few_outputs.byte_output(simd, tile_rows, ops.columns, _row_products(ops))
    return _with_tile_registers(simd, ops, arithmetic)
