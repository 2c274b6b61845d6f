"""Convolutions with bfloat16 products by the tile registers of Intel's AMX; see ``amx_conv`` and ``bfloat16_conv``."""

from __future__ import annotations

from collections.abc import Callable

from edgeinfer.kernels.amx_conv import AMX_INTEGERS, PLANE_INTEGERS, amx_conv, of_images
from edgeinfer.kernels.bfloat16_patch import bfloat16_patch_reader, normalised_bfloat16_patch_reader
from edgeinfer.kernels.conv import float_output
from edgeinfer.kernels.direct_conv import CONV_FLOATS, CONV_INTEGERS
from edgeinfer.kernels.normalised_patch import NORMALISED_FLOATS, NORMALISED_INTEGERS
from edgeinfer.kernels.quantized_packed_conv import rows_of_taps
from edgeinfer.kernels.registry import Simd, kernel_family, struct
from edgeinfer.simd.amx_tile import BFLOAT16_PRODUCTS, AmxTileOps
from edgeinfer.simd.tile import TileOps

PARAMS = struct(f"{NORMALISED_INTEGERS} {AMX_INTEGERS} {PLANE_INTEGERS}", NORMALISED_FLOATS)
PACKED_PARAMS = struct(f"{CONV_INTEGERS} {AMX_INTEGERS} {PLANE_INTEGERS}", CONV_FLOATS)
TILES = {"amx": [(32, 2), (32, 1)]}
PACKED_TILES = {"amx": [(32, 2), (32, 1)]}

# Pixels whose sums are finished together.
FINISHED_ROWS = 8
_BYTES = 2


@kernel_family("bf16_amx_conv", PARAMS, TILES, width=2, normalises=1)
def bf16_amx_conv(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """Convolution with any kernel size, stride and dilation, one group."""
    ops, reader = TileOps(simd, FINISHED_ROWS, vectors), normalised_bfloat16_patch_reader(simd)
    return amx_conv(float_output(simd, ops, reader, in_place=False), AmxTileOps(vectors, BFLOAT16_PRODUCTS), ops.load)


@kernel_family("bf16_amx_packed_conv", PACKED_PARAMS, PACKED_TILES, width=2)
def bf16_amx_packed_conv(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """Convolution with a dilation of 1, one group, no upsampling, whose pixels are no whole pairs."""
    ops, reader = TileOps(simd, FINISHED_ROWS, vectors), of_images(bfloat16_patch_reader(simd, packed=True))
    arithmetic = float_output(simd, ops, reader, in_place=False, runs_of=rows_of_taps(_BYTES))
    return amx_conv(arithmetic, AmxTileOps(vectors, BFLOAT16_PRODUCTS), ops.load, unit_bytes=_BYTES)
