"""Convolution of 8-bit pictures whose pixels are no whole quads: rows of a kernel's taps lie side by side in a patch.

As ``qu8_conv`` and ``qu8_wide_conv``, but a pixel of a patch has no more than its own channels: the taps of a row of
the kernel, ``kernel_width * channels`` numbers, are rounded up to quads or pairs, not those of every pixel. Weights are
zero where such a unit reaches beyond. ``channels`` counts bytes of a pixel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from edgeinfer.kernels.direct_conv import direct_conv
from edgeinfer.kernels.patch import copy_bytes, source_index
from edgeinfer.kernels.products import with_prefetches
from edgeinfer.kernels.quantized_conv import quantized_arithmetic
from edgeinfer.kernels.quantized_output import QUANTIZED_CONV_PARAMS
from edgeinfer.kernels.registry import Simd, kernel_family
from edgeinfer.kernels.word_patch import read_bytes
from edgeinfer.simd.byte_tile import ByteTileOps
from edgeinfer.simd.pointers import advance, as_bytes, bytes_as_f32
from edgeinfer.simd.word_tile import word_products

BYTE_TILES = {"vnni": [(8, 2)], "avxvnni": [(6, 2)]}
WORD_TILES = {"avx2": [(6, 2), (5, 2)], "avxvnni": []}


@kernel_family("qu8_packed_conv", QUANTIZED_CONV_PARAMS, BYTE_TILES, width=4)
def qu8_packed_conv(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """Convolution with a dilation of 1, one group, no upsampling, by products of bytes."""
    ops = ByteTileOps(simd, tile_rows, vectors)
    inner = with_prefetches(ops.outer_at, ops.columns, x_step=4)
    return direct_conv(
        quantized_arithmetic(
            simd, tile_rows, vectors, packed_byte_reader(simd), inner, in_place=False, runs_of=rows_of_taps(1)
        )
    )


@kernel_family("qu8_wide_packed_conv", QUANTIZED_CONV_PARAMS, WORD_TILES, width=2, words=1, x_offset=128)
def qu8_wide_packed_conv(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """The same by products of words."""

    @njit(forceinline=True, error_model="numpy")
    def read_pixels(patch: Any, place: Any, x: Any, at: Any, count: Any, flip: Any) -> None:
        whole = count - count % 4
        read_bytes(bytes_as_f32(advance(patch, place)), 0, x, at, whole, flip)
        for i in range(whole, count):
            byte = x[at + i] ^ flip
            patch[place + 2 * i], patch[place + 2 * i + 1] = byte, (byte >> 7) * 255

    inner = with_prefetches(
        word_products(simd, tile_rows, vectors, by_word=True), vectors * simd.lanes, unit_bytes=2, x_step=2
    )
    reader = _packed_reader(read_pixels, 2)
    return direct_conv(
        quantized_arithmetic(simd, tile_rows, vectors, reader, inner, in_place=False, runs_of=rows_of_taps(2))
    )


def rows_of_taps(size: int) -> Callable[..., Any]:
    """A ``runs_of`` of ``ConvArithmetic`` for patches of numbers of ``size`` bytes that lie side by side."""
    unit = 4 // size

    @njit(forceinline=True, error_model="numpy")
    def runs_of(p: Any, row_pitch: Any) -> Any:
        return p.kernel_height, 1, (p.kernel_width * p.channels + unit - 1) // unit, 0, p.dilation_y * row_pitch

    return runs_of


def packed_byte_reader(simd: Simd) -> Callable[..., None]:
    """A reader of patches of bytes as they are."""
    copy = copy_bytes(simd)

    @njit(forceinline=True, error_model="numpy")
    def read_pixels(patch: Any, place: Any, x: Any, at: Any, count: Any, flip: Any) -> None:
        copy(patch, place, x, at, count)

    return _packed_reader(read_pixels, 1)


def _packed_reader(read_pixels: Callable[..., None], size: int) -> Callable[..., None]:
    """A reader of patches of numbers of ``size`` bytes side by side.

    ``read_pixels(patch, place, x, at, count, flip)`` brings bytes of x to bytes of the patch.
    """

    @njit(forceinline=True, error_model="numpy")
    def fill(patch: Any, place: Any, count: Any, value: Any) -> None:
        for i in range(place, place + count * size, size):
            patch[i] = value
            if size == 2:
                patch[i + 1] = value >> 8

    @njit(error_model="numpy")
    def read_row(
        patch: Any, place: Any, x: Any, start: Any, left: Any, columns: Any, width: Any, channels: Any, pad_mode: Any,
        flip: Any, outside: Any,
    ) -> None:  # fmt: skip
        column, step = 0, channels * size
        while column < columns:
            position = left + column
            if 0 <= position < width:
                inside = min(columns - column, width - position)
                read_pixels(patch, place + column * step, x, start + position * channels, inside * channels, flip)
                column += inside
                continue
            pixel = source_index(position, width, pad_mode)
            if pixel < 0:
                fill(patch, place + column * step, channels, outside)
            else:
                read_pixels(patch, place + column * step, x, start + pixel * channels, channels, flip)
            column += 1

    @njit(forceinline=True, error_model="numpy")
    def read(
        patch: Any, x: Any, p: Any, image: Any, first_channel: Any, top: Any, left: Any, rows: Any, columns: Any
    ) -> None:
        octets, picture, pitch = as_bytes(patch), as_bytes(x), columns * p.channels
        for row in range(rows):
            source = source_index(top + row, p.height, p.pad_mode)
            if source < 0:
                fill(octets, row * pitch * size, pitch, p.fill)
            else:
                start = image + source * p.width * p.channels
                read_row(
                    octets, row * pitch * size, picture, start, left, columns, p.width, p.channels, p.pad_mode, p.flip,
                    p.fill,
                )  # fmt: skip

    return read
