"""Convolution of 8-bit pictures by Winograd's minimal filtering in words, with exact sums (ONNX QLinearConv).

As ``f32_winograd4x4`` with integers: F(4x4, 3x3) takes 36 products where direct convolution takes 144. Bytes of x, less
128 where they are unsigned, are transformed in 16 bits, which always have room: rows of B^T add up to at most 10 of
them. A filter's transform is made whole by factors r of the rows of G, ``U = (r G) g (r G)^T``, and fits 16 bits too.
Products are added up modulo 2**32, and multiplied by 1 / r on the way back:

    y * scale^2 = (scale A^T / r) [ U * (B^T d B) ] (scale A^T / r)^T   modulo 2**32

where ``scale`` makes ``A^T / r`` whole. Its square is a power of two times an odd number, which is divided by with the
odd number's inverse modulo 2**32, and the power with a shift. So y is exact if its magnitude is less than 2**31 over
that power; planners see to it.

Two neighbouring channels make one pair, the unit of patches, V and U; ``channels`` counts pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numba import njit

from edgeinfer.kernels.products import with_prefetches
from edgeinfer.kernels.quantized_output import QUANTIZED_CONV_PARAMS, quantized_output
from edgeinfer.kernels.registry import Simd, kernel_family
from edgeinfer.kernels.winograd import WinogradArithmetic, winograd_conv
from edgeinfer.kernels.winograd_transforms import input_transform, storing_each
from edgeinfer.kernels.word_patch import word_patch_reader
from edgeinfer.simd.byte_tile import ByteTileOps
from edgeinfer.simd.pointers import buffer_f32, opaque_pointer
from edgeinfer.simd.tile import TileOps
from edgeinfer.simd.vectors import bits_to_f32, bits_to_i32
from edgeinfer.simd.word_tile import finished_sums, word_products
from edgeinfer.simd.words import Words

TILES = {"avx512": [(8, 2)], "avx2": [(6, 2)], "v128": [(6, 2)]}


@dataclass(frozen=True)
class IntegerFiltering:
    """How integers come back from frequencies.

    Attributes:
        output: pixels of an output tile along one axis.
        transform: ``scale A^T / r``, from a tuple of int32 vectors to one.
        inverse: of the odd part of ``scale^2``, modulo 2**32.
        shift: the power of two in ``scale^2``.
    """

    output: int
    transform: Callable[..., Any]
    inverse: int
    shift: int


@njit(forceinline=True, error_model="numpy")
def _back_2(m: Any) -> Any:
    """F(2, 3) with a scale of 2 and r = (2, 2, 2, 2)."""
    m0, m1, m2, m3 = m
    return m0 + m1 + m2, m1 - m2 - m3


@njit(forceinline=True, error_model="numpy")
def _back_4(m: Any) -> Any:
    """F(4, 3) with a scale of 24 and r = (12, 12, 12, 24, 24, 12)."""
    m0, m1, m2, m3, m4, m5 = m
    sum_1, difference_1, sum_2, difference_2 = m1 + m2, m1 - m2, m3 + m4, m3 - m4
    first, second, third = m0 + sum_1, difference_1 + difference_2, sum_1 + sum_2 + sum_2
    four_times = difference_2 + difference_2 + difference_2 + difference_2
    last = difference_1 + four_times + m5
    return first + first + sum_2, second + second, third + third, last + last


# 24^2 is 9 * 2^6.
FILTERINGS = {2: IntegerFiltering(2, _back_2, 1, 2), 4: IntegerFiltering(4, _back_4, pow(9, -1, 1 << 32), 6)}


def word_arithmetic(simd: Simd, tile_rows: int, vectors: int, output: int) -> WinogradArithmetic:
    """Words of x and filters, sums modulo 2**32."""
    ops, words, size = ByteTileOps(simd, tile_rows, vectors), Words(simd), output + 2
    transform_input = input_transform(words, size, words.store)
    inner = with_prefetches(word_products(simd, tile_rows, vectors, word_weights=True), ops.columns)
    read_words = word_patch_reader(simd)

    @njit(forceinline=True, error_model="numpy")
    def read_patch(
        patch: Any, x: Any, p: Any, worker: Any, image: Any, top: Any, left: Any, rows: Any, columns: Any
    ) -> None:
        read_words(patch, x, p, image * p.height * p.width * p.x_channels, top, left, rows, columns)

    return WinogradArithmetic(
        simd, tile_rows, ops.columns, output, 1, ops.zeros, ops.store, inner, transform_input, transform_input,
        read_patch, inverse_word_transform(simd, vectors, FILTERINGS[output]),
    )  # fmt: skip


def inverse_word_transform(simd: Simd, vectors: int, filtering: IntegerFiltering) -> Callable[..., None]:
    """As ``inverse_transform``: from sums of products to pixels, which are scaled and rounded, or stay float32."""
    lanes, columns, output, size = simd.lanes, vectors * simd.lanes, filtering.output, filtering.output + 2
    load, transform, store_bits = simd.load, filtering.transform, storing_each(output, _store_bits_of(simd))
    finished, result = finished_sums(simd, output, filtering.inverse, filtering.shift), _load_bits_of(simd, size)
    written = quantized_output(simd, TileOps(simd, output, 1))
    buffers_of, write, finish_task = written.buffers, written.write, written.finish_task

    @njit(forceinline=True, error_model="numpy")
    def run(
        p: Any, worker: Any, m: Any, m_pitch: Any, tile_pitch: Any, buffer: Any, block: Any, row_tiles: Any,
        column_tiles: Any, row_pitch: Any, out_row: Any, out_column: Any, image: Any,
    ) -> None:  # fmt: skip
        bias, factors, buffers = buffer_f32(worker, p.bias), buffer_f32(worker, p.multipliers), buffers_of(p, worker)
        y_row, y_pixel = p.y_row, p.y_pixel
        y_start = p.y_start + image * p.y_image + out_row * y_row + out_column * y_pixel
        first_channel = block * columns
        channels = min(columns, p.out_channels - first_channel)
        for tile_row in range(row_tiles):
            rows = min(output, p.out_height - out_row - tile_row * output)
            for tile_column in range(column_tiles):
                across = min(output, p.out_width - out_column - tile_column * output)
                for part in range(0, channels, lanes):
                    channel = first_channel + part
                    add, multiply = bits_to_i32(load(bias, channel)), load(factors, channel)
                    at = (tile_row * row_pitch + tile_column) * tile_pitch + part
                    for j in range(size):
                        values = transform(result(opaque_pointer(m, at + j * m_pitch), 0, size * m_pitch))
                        store_bits(values, (buffer, j * lanes, size * lanes))
                    place = y_start + tile_row * output * y_row + tile_column * output * y_pixel + channel
                    for i in range(rows):
                        values = transform(result(buffer, i * size * lanes, lanes))
                        tile = finished(values, add, multiply)
                        write(tile, buffers, p, place + i * y_row, across, p.out_channels - channel)
        high = min(row_tiles * output, p.out_height - out_row)
        wide = min(column_tiles * output, p.out_width - out_column)
        finish_task((buffers,), p, y_start + first_channel, high, wide, channels)

    return run


def _store_bits_of(simd: Simd) -> Callable[..., None]:
    store = simd.store

    @njit(forceinline=True, error_model="numpy")
    def store_bits(y: Any, index: Any, vector: Any) -> None:
        store(y, index, bits_to_f32(vector))

    return store_bits


def _load_bits_of(simd: Simd, count: int) -> Callable[..., Any]:
    """``load(x, index, stride)``: a tuple of ``count`` int32 vectors."""
    load = simd.load

    @njit(forceinline=True, error_model="numpy")
    def load_4(x: Any, index: Any, stride: Any) -> Any:
        return (
            bits_to_i32(load(x, index)), bits_to_i32(load(x, index + stride)),
            bits_to_i32(load(x, index + 2 * stride)), bits_to_i32(load(x, index + 3 * stride)),
        )  # fmt: skip

    @njit(forceinline=True, error_model="numpy")
    def load_6(x: Any, index: Any, stride: Any) -> Any:
        first = load_4(x, index, stride)
        return (*first, bits_to_i32(load(x, index + 4 * stride)), bits_to_i32(load(x, index + 5 * stride)))

    return {4: load_4, 6: load_6}[count]


@kernel_family("qu8_winograd4x4", QUANTIZED_CONV_PARAMS, TILES, words=1, x_offset=128, output=4)
def qu8_winograd4x4(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """3x3 convolution with stride 1 and dilation 1, one group; ``task_rows`` and ``task_columns`` count tiles."""
    return winograd_conv(word_arithmetic(simd, tile_rows, vectors, 4))


@kernel_family("qu8_winograd2x2", QUANTIZED_CONV_PARAMS, TILES, words=1, x_offset=128, output=2)
def qu8_winograd2x2(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """As ``qu8_winograd4x4``, with tiles of 2x2 pixels."""
    return winograd_conv(word_arithmetic(simd, tile_rows, vectors, 2))
