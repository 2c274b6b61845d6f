"""Products of bytes that were widened to 16 bits, two to a lane, with exact int32 sums (x86 ``pmaddwd``).

A pair of neighbouring channels takes the place of one float32, so pointers, strides and indices are those of float32
kernels. Widened once for all output channels, x needs nothing but a broadcast before it is multiplied.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from edgeinfer.simd.foreign_intrinsics import call_intrinsic
from edgeinfer.simd.pointers import FLOAT32_POINTER, UINT8_POINTER
from edgeinfer.simd.simd import Simd, element_pointer
from edgeinfer.simd.tile import Tile, offset_by, pack_tile, tile_vectors
from edgeinfer.simd.vectors import Vector, splat_value

_I8, _I16, _I32, _I64 = ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.IntType(64)

# By lanes.
MULTIPLY_PAIRS = {16: "x86.avx512.pmaddw.d.512", 8: "x86.avx2.pmadd.wd", 4: "x86.sse2.pmadd.wd"}


def widen(count: int) -> Any:
    """An intrinsic ``widen(y, index, x, x_index)``: ``count`` unsigned bytes as words from ``y[index]`` on."""
    octets = Vector("i8", count)
    words = ir.VectorType(_I16, count)

    @intrinsic
    def widen_bytes(typing_context: Any, y: Any, index: Any, x: Any, x_index: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            y, index, x, x_index = args
            value = builder.zext(builder.load(element_pointer(builder, x, x_index, octets), align=1), words)
            builder.store(value, builder.bitcast(builder.gep(y, [index]), words.as_pointer()), align=4)
            return context.get_dummy_value()

        return types.void(FLOAT32_POINTER, types.int64, UINT8_POINTER, types.int64), codegen

    return widen_bytes


def word_products(simd: Simd, rows: int, vectors: int) -> Any:
    """``outer(tile, x, index, row_stride, w, w_index)``: adds two products to each int32 of a tile.

    To row i, column j those of pair ``x[index + i * row_stride]`` and pair ``w[w_index + j]``, of signed bytes: ``w``
    counts units of two bytes.
    """
    tile, lanes = Tile(rows, vectors, simd.lanes, "i32"), simd.lanes
    words = ir.VectorType(_I16, 2 * lanes)

    @intrinsic
    def outer(typing_context: Any, accumulator: Any, x: Any, index: Any, row_stride: Any, w: Any, w_index: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            accumulator, x, index, row_stride, w, w_index = args
            sums = tile_vectors(builder, tile, accumulator)
            octets, start = Vector("i8", 2 * lanes), builder.mul(w_index, ir.Constant(_I64, 2))
            w = builder.bitcast(w, _I8.as_pointer())
            weights = []
            for j in range(tile.vectors):
                place = element_pointer(builder, w, offset_by(builder, start, 2 * lanes * j), octets)
                weights.append(builder.sext(builder.load(place, align=2), words))
            x = builder.bitcast(x, _I32.as_pointer())
            for row in range(tile.rows):
                place = builder.add(index, builder.mul(row_stride, ir.Constant(_I64, row))) if row else index
                pair = splat_value(builder, tile.vector, builder.load(builder.gep(x, [place]), align=4))
                value = builder.bitcast(pair, words)
                for j, weight in enumerate(weights):
                    at = row * tile.vectors + j
                    products = call_intrinsic(builder, MULTIPLY_PAIRS[lanes], tile.vector.llvm, [value, weight])
                    sums[at] = builder.add(sums[at], products)
            return pack_tile(builder, tile, sums)

        arguments = (tile, FLOAT32_POINTER, types.int64, types.int64, FLOAT32_POINTER, types.int64)
        return tile(*arguments), codegen

    return outer
