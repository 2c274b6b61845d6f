"""bfloat16 in registers: pairs of neighbouring channels, two products to a lane (AVX-512 BF16).

A pair takes the place of one float32, so pointers, strides and indices are those of float32 kernels. Sums are float32;
``vdpbf16ps`` rounds each to nearest and takes denormal factors for zero.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from edgeinfer.simd.foreign_intrinsics import call_intrinsic
from edgeinfer.simd.pointers import FLOAT32_POINTER
from edgeinfer.simd.simd import Simd
from edgeinfer.simd.tile import Tile, pack_tile, row_vectors, tile_vectors
from edgeinfer.simd.vectors import splat_value

_I64 = ir.IntType(64)


class _BFloat16(ir.Type):
    """LLVM's ``bfloat``, which llvmlite does not know."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BFloat16)

    def __hash__(self) -> int:
        return hash(_BFloat16)


def store_pairs(simd: Simd) -> Any:
    """``store(y, index, vector)``: ``lanes`` floats rounded to bfloat16, as pairs from ``y[index]`` on."""
    lanes = simd.lanes
    half = ir.VectorType(_BFloat16(), lanes)

    @intrinsic
    def store(typing_context: Any, y: Any, index: Any, vector: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            y, index, vector = args
            rounded = call_intrinsic(builder, f"x86.avx512bf16.cvtneps2bf16.{32 * lanes}", half, [vector])
            builder.store(rounded, builder.bitcast(builder.gep(y, [index]), half.as_pointer()), align=4)
            return context.get_dummy_value()

        return types.void(FLOAT32_POINTER, types.int64, simd.vector), codegen

    return store


def pair_products(simd: Simd, rows: int, vectors: int) -> Any:
    """``outer(tile, x, index, row_stride, w, w_index)``: adds two products to each float32 of a tile.

    To row i, column j those of pair ``x[index + i * row_stride]`` and pair ``w[w_index + j]``.
    """
    tile, lanes = Tile(rows, vectors, simd.lanes), simd.lanes
    pairs = ir.VectorType(_BFloat16(), 2 * lanes)

    @intrinsic
    def outer(typing_context: Any, accumulator: Any, x: Any, index: Any, row_stride: Any, w: Any, w_index: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            accumulator, x, index, row_stride, w, w_index = args
            sums = tile_vectors(builder, tile, accumulator)
            weights = [builder.bitcast(vector, pairs) for vector in row_vectors(builder, tile, w, w_index)]
            name = f"x86.avx512bf16.dpbf16ps.{32 * lanes}"
            for row in range(tile.rows):
                place = builder.add(index, builder.mul(row_stride, ir.Constant(_I64, row))) if row else index
                pair = splat_value(builder, tile.vector, builder.load(builder.gep(x, [place]), align=4))
                value = builder.bitcast(pair, pairs)
                for j, weight in enumerate(weights):
                    at = row * tile.vectors + j
                    sums[at] = call_intrinsic(builder, name, tile.vector.llvm, [sums[at], value, weight])
            return pack_tile(builder, tile, sums)

        arguments = (tile, FLOAT32_POINTER, types.int64, types.int64, FLOAT32_POINTER, types.int64)
        return tile(*arguments), codegen

    return outer
