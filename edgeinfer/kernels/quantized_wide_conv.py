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
from edgeinfer.kernels.products import with_prefetches
from edgeinfer.kernels.quantized_conv import quantized_arithmetic
from edgeinfer.kernels.quantized_output import QUANTIZED_CONV_PARAMS, byte_output
from edgeinfer.kernels.registry import Simd, kernel_family
from edgeinfer.kernels.word_patch import read_bytes, word_patch_reader
from edgeinfer.simd.byte_tile import ByteTileOps
from edgeinfer.simd.pointers import as_bytes, buffer_f32, claim, scratch_f32
from edgeinfer.simd.prefetch import step_ahead
from edgeinfer.simd.tile import TileOps
from edgeinfer.simd.word_tile import word_products

TILES = {"avx2": [(6, 2), (5, 2), (4, 2), (7, 1)], "avxvnni": []}
POINTWISE_TILES = {"avx2": [(6, 2), (5, 2)], "avxvnni": []}


@kernel_family("qu8_wide_conv", QUANTIZED_CONV_PARAMS, TILES, width=2, words=1, x_offset=128, adds=1)
def qu8_wide_conv(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """Convolution with any kernel size, stride and dilation, one group."""
    inner = with_prefetches(word_products(simd, tile_rows, vectors), vectors * simd.lanes, 2)
    return direct_conv(quantized_arithmetic(simd, tile_rows, vectors, word_patch_reader(simd), inner, in_place=False))


@kernel_family("qu8_wide_pointwise", QUANTIZED_CONV_PARAMS, POINTWISE_TILES, width=2, words=1, x_offset=128)
def qu8_wide_pointwise(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """As ``qu8_pointwise``: one row of at least ``rows`` pixels to bytes, with no activation but bounds.

    A task's pixels are widened once for all output channels. The last tile of pixels overlaps the one before where they
    are no multiple of its rows.
    """
    sums, output = ByteTileOps(simd, tile_rows, vectors), byte_output(simd, TileOps(simd, tile_rows, vectors))
    splat_sums, scaled, columns = sums.splat_row, sums.scaled, sums.columns
    inner = with_prefetches(word_products(simd, tile_rows, vectors), columns, 2)
    buffers_of, write = output.buffers, output.write

    @njit(error_model="numpy")
    def multiply(
        patch: Any, w: Any, bias: Any, factors: Any, buffers: Any, pixels: Any, pairs: Any, channel: Any, count: Any,
        place: Any, y_pixel: Any,
    ) -> None:  # fmt: skip
        """All pixels of a task by one block of output channels; the filters of the next one are asked for meanwhile."""
        tiles, ahead = (pixels + tile_rows - 1) // tile_rows, (channel + columns) * pairs
        ahead_step = step_ahead(columns, tiles)
        for at in range(0, pixels, tile_rows):
            pixel = min(at, pixels - tile_rows)
            begin = splat_sums(bias, channel)
            tile = inner(begin, patch, pixel * pairs, pairs, w, channel * pairs, pairs, ahead, ahead_step)
            ahead += ahead_step * pairs
            write(scaled(tile, factors, channel), buffers, place + pixel * y_pixel, tile_rows, count)

    def body(p: Any, worker: Any) -> None:
        x, w, patch = as_bytes(buffer_f32(worker, p.x)), buffer_f32(worker, p.w), scratch_f32(worker)
        buffers = buffers_of(p, worker)
        bias, factors = buffer_f32(worker, p.bias), buffer_f32(worker, p.multipliers)
        pixels, pairs, octets, task_pixels, y_pixel = p.out_width, p.channels, p.x_channels, p.task_columns, p.y_pixel
        blocks, in_patch = (p.out_channels + columns - 1) // columns, -1
        while True:
            task = claim(worker, p.tiles)
            if task >= p.tiles:
                break
            first_block = task % p.block_tasks * p.task_blocks
            first = min(task // p.block_tasks * task_pixels, pixels - tile_rows)
            stop = min(pixels, task // p.block_tasks * task_pixels + task_pixels)
            stop = max(stop, first + tile_rows)
            if first != in_patch:
                in_patch = first
                read_bytes(patch, 0, x, first * octets, (stop - first) * octets, p.flip)
            for block in range(first_block, min(blocks, first_block + p.task_blocks)):
                channel = block * columns
                place = p.y_start + first * y_pixel + channel
                multiply(
                    patch, w, bias, factors, buffers, stop - first, pairs, channel, p.out_channels - channel, place,
                    y_pixel,
                )  # fmt: skip

    return body
