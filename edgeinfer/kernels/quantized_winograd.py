"""Convolution of 8-bit pictures by Winograd's minimal filtering in words, with exact sums (ONNX QLinearConv).

As ``f32_winograd4x4`` with integers, see ``edgeinfer.kernels.word_transforms``.

Two neighbouring channels make one pair, the unit of patches, V and U; ``channels`` counts pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgeinfer.kernels.products import with_prefetches
from edgeinfer.kernels.quantized_output import QUANTIZED_CONV_PARAMS
from edgeinfer.kernels.registry import Simd, kernel_family
from edgeinfer.kernels.winograd import WinogradArithmetic, winograd_conv
from edgeinfer.kernels.word_patch import picture_word_reader
from edgeinfer.kernels.word_transforms import (
    F22,
    F23,
    F42,
    F43,
    IntegerFiltering,
    inverse_word_transform,
    word_transform,
)
from edgeinfer.simd.byte_tile import ByteTileOps
from edgeinfer.simd.word_tile import word_products
from edgeinfer.simd.words import Words

TILES = {"avx512": [(8, 2)], "avx2": [(6, 2)], "v128": [(6, 2)]}
# Where products of bytes are as quick as those of words, direct convolution is quicker than these; in vectors of 128
# bits they have not been measured.
SMALL_TILES = {"vnni": [], "avxvnni": [], "avx512": [(8, 2)], "avx2": [(6, 2)]}
# They multiply words, read unsigned bytes as signed ones, and add residuals.
TRAITS: dict[str, Any] = {"words": 1, "x_offset": 128, "adds": 1}


def word_arithmetic(simd: Simd, tile_rows: int, vectors: int, filtering: IntegerFiltering) -> WinogradArithmetic:
    """Words of x and filters, sums modulo 2**32."""
    ops, transform_input = ByteTileOps(simd, tile_rows, vectors), word_transform(Words(simd), filtering)
    inner = with_prefetches(word_products(simd, tile_rows, vectors, word_weights=True), ops.columns)
    return WinogradArithmetic(
        simd, tile_rows, ops.columns, filtering.output, 1, ops.zeros, ops.store, inner, transform_input,
        transform_input, picture_word_reader(simd), inverse_word_transform(simd, vectors, filtering), filtering.taps,
        filtering.stride,
    )  # fmt: skip


@kernel_family("qu8_winograd4x4", QUANTIZED_CONV_PARAMS, TILES, **TRAITS, output=4)
def qu8_winograd4x4(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """3x3 convolution with stride 1 and dilation 1, one group; ``task_rows`` and ``task_columns`` count tiles."""
    return winograd_conv(word_arithmetic(simd, tile_rows, vectors, F43))


@kernel_family("qu8_winograd2x2", QUANTIZED_CONV_PARAMS, SMALL_TILES, **TRAITS, output=2)
def qu8_winograd2x2(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """As ``qu8_winograd4x4``, with tiles of 2x2 pixels."""
    return winograd_conv(word_arithmetic(simd, tile_rows, vectors, F23))


@kernel_family("qu8_winograd4x4_stride2_3x3", QUANTIZED_CONV_PARAMS, SMALL_TILES, **TRAITS, output=4, taps=2, stride=2)
def qu8_winograd4x4_stride2_3x3(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """3x3 convolution with stride 2 and dilation 1, one group, by F(4, 2)."""
    return winograd_conv(word_arithmetic(simd, tile_rows, vectors, F42))


@kernel_family("qu8_winograd2x2_stride2_3x3", QUANTIZED_CONV_PARAMS, SMALL_TILES, **TRAITS, output=2, taps=2, stride=2)
def qu8_winograd2x2_stride2_3x3(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """As ``qu8_winograd4x4_stride2_3x3``, by F(2, 2)."""
    return winograd_conv(word_arithmetic(simd, tile_rows, vectors, F22))
