"""Convolution of 8-bit pictures by products of 16 bits, for processors without exact products of bytes.

As ``qu8_conv``. Bytes of x are widened where a patch is read, once for all output channels, those of weights where they
are loaded. Two neighbouring channels make one pair, the unit of patches (four bytes) and weights (two). ``channels``
counts pairs of a pixel, ``x_channels`` its bytes, a multiple of 4; ``fill`` is the pair of the border.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from edgeinfer.kernels.direct_conv import direct_conv
from edgeinfer.kernels.patch import fill_floats, source_index
from edgeinfer.kernels.products import with_prefetches
from edgeinfer.kernels.quantized_conv import quantized_arithmetic, zero_point_border
from edgeinfer.kernels.quantized_output import QUANTIZED_CONV_PARAMS
from edgeinfer.kernels.registry import Simd, kernel_family
from edgeinfer.simd.pointers import as_bytes
from edgeinfer.simd.word_tile import widen, word_products

TILES = {"avx2": [(6, 2), (5, 2), (4, 2), (7, 1)], "avxvnni": []}

_WHOLE, _LEAST = 16, 4


def wide_patch_reader(simd: Simd) -> Callable[..., None]:
    """``read(patch, x, p, image, first_channel, top, left, rows, columns)``: fills a patch with pairs of words.

    As ``patch_reader``, for one group without upsampling.
    """
    fill, border, widen_whole, widen_least = fill_floats(simd), zero_point_border(simd), widen(_WHOLE), widen(_LEAST)

    @njit(error_model="numpy")
    def read_bytes(patch: Any, place: Any, x: Any, at: Any, count: Any) -> None:
        whole = count - count % _WHOLE
        for i in range(0, whole, _WHOLE):
            widen_whole(patch, place + i // 2, x, at + i)
        for i in range(whole, count, _LEAST):
            widen_least(patch, place + i // 2, x, at + i)

    @njit(forceinline=True, error_model="numpy")
    def read(
        patch: Any, x: Any, p: Any, image: Any, first_channel: Any, top: Any, left: Any, rows: Any, columns: Any
    ) -> None:
        picture, width, pairs, octets, outside = as_bytes(x), p.width, p.channels, p.x_channels, border(p)
        pitch = columns * pairs
        for row in range(rows):
            source = source_index(top + row, p.height, p.pad_mode)
            if source < 0:
                fill(patch, row * pitch, outside, pitch)
                continue
            start = image + source * width * octets
            column = 0
            while column < columns:
                position = left + column
                place = row * pitch + column * pairs
                if 0 <= position < width:
                    inside = min(columns - column, width - position)
                    read_bytes(patch, place, picture, start + position * octets, inside * octets)
                    column += inside
                    continue
                pixel = source_index(position, width, p.pad_mode)
                if pixel < 0:
                    fill(patch, place, outside, pairs)
                else:
                    read_bytes(patch, place, picture, start + pixel * octets, octets)
                column += 1

    return read


@kernel_family("qu8_wide_conv", QUANTIZED_CONV_PARAMS, TILES, width=2)
def qu8_wide_conv(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """Convolution with any kernel size, stride and dilation, one group, no upsampling."""
    inner = with_prefetches(word_products(simd, tile_rows, vectors), vectors * simd.lanes)
    return direct_conv(quantized_arithmetic(simd, tile_rows, vectors, wide_patch_reader(simd), inner, in_place=False))
