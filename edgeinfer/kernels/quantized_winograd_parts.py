"""Large kernels on few input channels of bytes: cut into 3x3 parts as by ``f32_winograd_parts``, with exact sums.

Tiles of 3x3 pixels by F(3, 3) with whole numbers, see ``edgeinfer.kernels.word_transforms``: 25 products where the
direct form takes 81. They lie one part apart, so tile i of a row and part b read position i + b. Two neighbouring
channels make one pair, the unit of everything; ``channels`` counts pairs.
"""

from __future__ import annotations

from collections.abc import Callable

from edgeinfer.kernels.products import products_one_by_one
from edgeinfer.kernels.quantized_output import QUANTIZED_CONV_PARAMS
from edgeinfer.kernels.registry import Simd, kernel_family
from edgeinfer.kernels.winograd_parts import PART, PartsArithmetic, winograd_parts_conv
from edgeinfer.kernels.word_patch import word_patch_reader
from edgeinfer.kernels.word_transforms import F33, inverse_word_transform, phased_word_transform, word_transform
from edgeinfer.simd.byte_tile import ByteTileOps
from edgeinfer.simd.word_tile import word_products
from edgeinfer.simd.words import Words

# Where products of bytes are as quick as those of words, direct convolution is quicker.
TILES = {"vnni": [], "avxvnni": [], "avx512": [(8, 2)], "avx2": [(6, 2)]}


@kernel_family("qu8_winograd_parts", QUANTIZED_CONV_PARAMS, TILES, words=1, x_offset=128, output=PART)
def qu8_winograd_parts(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """Convolution with stride 1 and dilation 1, one group; kernel sizes are multiples of 3 (padded with zeros)."""
    ops, words = ByteTileOps(simd, tile_rows, vectors), Words(simd)
    inner = products_one_by_one(word_products(simd, tile_rows, vectors, word_weights=True), ops.columns)

    return winograd_parts_conv(
        PartsArithmetic(
            simd, tile_rows, ops.columns, PART, ops.zeros, ops.store, inner, word_transform(words, F33),
            phased_word_transform(words, F33, PART), word_patch_reader(simd),
            inverse_word_transform(simd, vectors, F33),
        )
    )  # fmt: skip
