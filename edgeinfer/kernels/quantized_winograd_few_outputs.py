"""Convolution of bytes with few output channels by minimal filtering down the columns, with exact sums.

As ``f32_winograd_few_outputs`` with whole numbers, see ``edgeinfer.kernels.word_transforms``.
Two neighbouring channels make one pair, the unit of patches and filters; ``channels`` counts pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from edgeinfer.kernels.products import products_one_by_one
from edgeinfer.kernels.quantized_output import QUANTIZED_CONV_PARAMS, quantized_output
from edgeinfer.kernels.registry import Simd, kernel_family
from edgeinfer.kernels.winograd_few_outputs import (
    FREQUENCIES,
    OUTPUT,
    FewOutputsFiltering,
    winograd_few_outputs_conv,
)
from edgeinfer.kernels.word_patch import picture_word_reader
from edgeinfer.kernels.word_transforms import F43_DOWN, bits_loader, bits_storer, vectors_loader, word_transform
from edgeinfer.simd.byte_tile import ByteTileOps
from edgeinfer.simd.pointers import buffer_f32
from edgeinfer.simd.tile import TileOps
from edgeinfer.simd.vectors import bits_to_i32
from edgeinfer.simd.word_tile import finished_sums, word_products
from edgeinfer.simd.words import Words

# As those of ``qu8_winograd_parts``.
TILES = {"vnni": [], "avxvnni": [], "avx512": [(8, 2)], "avx2": [(6, 2)]}


@kernel_family("qu8_winograd_few_outputs", QUANTIZED_CONV_PARAMS, TILES, words=1, x_offset=128, output=OUTPUT)
def qu8_winograd_few_outputs(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """Convolution with stride and dilation 1, one group, at most ``lanes`` outputs, kernel height a multiple of 3.

    ``task_rows`` counts groups of four output rows.
    """
    ops, lanes, load = ByteTileOps(simd, tile_rows, vectors), simd.lanes, simd.load
    load_sums, filtering, written = bits_loader(simd), F43_DOWN, quantized_output(simd, TileOps(simd, OUTPUT, 1), True)
    load_all, back, finished = (
        vectors_loader(load_sums, FREQUENCIES),
        filtering.back,
        finished_sums(simd, OUTPUT, filtering.inverse, filtering.shift),
    )
    output_buffers, write = written.buffers, written.write

    @njit(forceinline=True, error_model="numpy")
    def buffers(p: Any, worker: Any) -> Any:
        bias, factors = load(buffer_f32(worker, p.bias), 0), load(buffer_f32(worker, p.multipliers), 0)
        return bits_to_i32(bias), factors, output_buffers(p, worker)

    @njit(forceinline=True, error_model="numpy")
    def finish(buffers: Any, p: Any, sums: Any, place: Any, rows: Any) -> None:
        bias, factors, output = buffers
        tile = finished(back(load_all(sums, 0, lanes)), bias, factors)
        write(tile, output, p, place, rows, p.out_channels)

    return winograd_few_outputs_conv(
        FewOutputsFiltering(
            simd, tile_rows, ops.columns, ops.zeros, ops.store,
            products_one_by_one(word_products(simd, tile_rows, vectors, word_weights=True), ops.columns),
            word_transform(Words(simd), filtering), picture_word_reader(simd), load_sums, bits_storer(simd),
            buffers, finish,
        )
    )  # fmt: skip
