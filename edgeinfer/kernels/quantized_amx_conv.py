"""Convolutions of 8-bit pictures by the tile registers of Intel's AMX; see ``amx_conv`` and ``quantized_conv``."""

from __future__ import annotations

from collections.abc import Callable

from edgeinfer.kernels.amx_conv import AMX_INTEGERS, PLANE_INTEGERS, amx_conv, of_images
from edgeinfer.kernels.patch import patch_reader
from edgeinfer.kernels.quantized_conv import quantized_arithmetic, zero_point_border
from edgeinfer.kernels.quantized_output import QUANTIZED_CONV_FLOATS, QUANTIZED_CONV_INTEGERS
from edgeinfer.kernels.quantized_packed_conv import packed_byte_reader, rows_of_taps
from edgeinfer.kernels.registry import Simd, kernel_family, struct
from edgeinfer.simd.amx_tile import BYTE_PRODUCTS, AmxTileOps
from edgeinfer.simd.byte_tile import ByteTileOps

PARAMS = struct(f"{QUANTIZED_CONV_INTEGERS} {AMX_INTEGERS} {PLANE_INTEGERS}", QUANTIZED_CONV_FLOATS)
TILES = {"amx": [(32, 2), (32, 1)]}
PACKED_TILES = {"amx": [(32, 2)]}

# Pixels whose sums become bytes together.
FINISHED_ROWS = 8


@kernel_family("qu8_amx_conv", PARAMS, TILES, width=4, adds=1)
def qu8_amx_conv(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """Convolution with any kernel size, stride and dilation, one group, whose channels are a multiple of 4."""
    reader = of_images(patch_reader(simd, zero_point_border))
    arithmetic = quantized_arithmetic(simd, FINISHED_ROWS, vectors, reader)
    load = ByteTileOps(simd, FINISHED_ROWS, vectors).load
    return amx_conv(arithmetic, AmxTileOps(vectors, BYTE_PRODUCTS), load)


@kernel_family("qu8_amx_packed_conv", PARAMS, PACKED_TILES, width=4)
def qu8_amx_packed_conv(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """Convolution with a dilation of 1, one group, no upsampling, whose pixels are no whole quads."""
    load, reader = ByteTileOps(simd, FINISHED_ROWS, vectors).load, of_images(packed_byte_reader(simd))
    arithmetic = quantized_arithmetic(simd, FINISHED_ROWS, vectors, reader, in_place=False, runs_of=rows_of_taps(1))
    return amx_conv(arithmetic, AmxTileOps(vectors, BYTE_PRODUCTS), load, unit_bytes=1)
