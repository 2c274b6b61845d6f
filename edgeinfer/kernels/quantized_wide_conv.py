"""Convolution of 8-bit pictures by products of 16 bits, for processors without exact products of bytes.

As ``qu8_conv``. Bytes of x are widened where a patch is read, once for all output channels, those of weights where they
are loaded. Two neighbouring channels make one pair, the unit of patches (four bytes) and weights (two). ``channels``
counts pairs of a pixel, ``x_channels`` its bytes, a multiple of 4; ``fill`` is the pair of the border.
"""

from __future__ import annotations

from collections.abc import Callable

from edgeinfer.kernels.direct_conv import direct_conv
from edgeinfer.kernels.products import with_prefetches
from edgeinfer.kernels.quantized_conv import quantized_arithmetic
from edgeinfer.kernels.quantized_output import QUANTIZED_CONV_PARAMS
from edgeinfer.kernels.registry import Simd, kernel_family
from edgeinfer.kernels.word_patch import word_patch_reader
from edgeinfer.simd.word_tile import word_products

TILES = {"avx2": [(6, 2), (5, 2), (4, 2), (7, 1)], "avxvnni": []}


@kernel_family("qu8_wide_conv", QUANTIZED_CONV_PARAMS, TILES, width=2, words=1, x_offset=128)
def qu8_wide_conv(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """Convolution with any kernel size, stride and dilation, one group."""
    inner = with_prefetches(word_products(simd, tile_rows, vectors), vectors * simd.lanes)
    return direct_conv(quantized_arithmetic(simd, tile_rows, vectors, word_patch_reader(simd), inner, in_place=False))
