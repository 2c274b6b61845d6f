"""Convolutions with bfloat16 products and float32 sums; pictures stay float32 in memory.

Input pixels are rounded to bfloat16 where a patch is read, or behind Winograd's input transform; weights are packed
as bfloat16. Two neighbouring channels make one pair, the unit of patches and weights. ``channels`` counts pairs of a
pixel of the patch in the direct kernels and floats in Winograd's, ``x_channels`` always floats.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgeinfer.kernels import conv, conv_few_outputs
from edgeinfer.kernels.bfloat16_patch import bfloat16_patch_reader
from edgeinfer.kernels.conv import CONV_PARAMS
from edgeinfer.kernels.conv_few_outputs import few_outputs_conv, tile_products
from edgeinfer.kernels.direct_conv import direct_conv
from edgeinfer.kernels.normalised_patch import NORMALISED_CONV_PARAMS
from edgeinfer.kernels.products import products_one_by_one, with_prefetches
from edgeinfer.kernels.registry import Simd, kernel_family
from edgeinfer.kernels.winograd import float_arithmetic, winograd_conv
from edgeinfer.simd.bfloat16 import pair_products, store_pairs
from edgeinfer.simd.tile import TileOps

# None with AMX: it multiplies faster, and on processors that have it these take as long as float32's.
TILES = {"amx": [], "bf16": [(14, 2), (8, 2), (4, 4), (14, 1), (1, 4)]}
FEW_OUTPUTS_TILES = {"amx": [], "bf16": [(8, 2)]}
WINOGRAD_TILES = {"amx": [], "bf16": [(8, 2)]}


def _prefetching_pairs(simd: Simd, rows: int, vectors: int) -> Callable[..., Any]:
    """``prefetching_products`` of pairs."""
    return with_prefetches(pair_products(simd, rows, vectors), vectors * simd.lanes)


@kernel_family("bf16_conv", CONV_PARAMS, TILES, width=2)
def bf16_conv(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """Convolution with any kernel size, stride and dilation, one group."""
    ops, inner = TileOps(simd, tile_rows, vectors), _prefetching_pairs(simd, tile_rows, vectors)
    return direct_conv(conv.float_output(simd, ops, bfloat16_patch_reader(simd), inner, in_place=False))


@kernel_family("bf16_conv_few_outputs", CONV_PARAMS, FEW_OUTPUTS_TILES, width=2)
def bf16_conv_few_outputs(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """Convolution with stride and dilation 1 along x, one group, at most ``lanes`` output channels."""
    ops, reader = TileOps(simd, tile_rows, vectors), bfloat16_patch_reader(simd)
    products = tile_products(ops, products_one_by_one(pair_products(simd, tile_rows, vectors), ops.columns))
    return few_outputs_conv(simd, conv_few_outputs.float_output(simd, tile_rows, ops.columns, reader, products))


@kernel_family("bf16_winograd4x4", NORMALISED_CONV_PARAMS, WINOGRAD_TILES, output=4, width=2, normalises=1)
def bf16_winograd4x4(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """3x3 convolution with stride 1 and dilation 1, one group, an even number of channels."""
    inner = _prefetching_pairs(simd, tile_rows, vectors)
    return winograd_conv(
        float_arithmetic(simd, tile_rows, vectors, 4, inner=inner, width=2, store_units=store_pairs(simd))
    )
