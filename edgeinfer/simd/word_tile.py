"""Products of words, such as widened bytes, two to a lane, with exact int32 sums (x86 ``pmaddwd``).

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
from edgeinfer.simd.simd import Simd, element_pointer, four_bytes
from edgeinfer.simd.tile import Tile, offset_by, pack_tile, row_vectors, tile_vectors
from edgeinfer.simd.vectors import Vector, splat_value

_I8, _I16, _I32, _I64 = ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.IntType(64)

# By lanes.
_MULTIPLY_PAIRS = {16: "x86.avx512.pmaddw.d.512", 8: "x86.avx2.pmadd.wd", 4: "x86.sse2.pmadd.wd"}


def multiply_pairs(builder: Any, architecture: str, lanes: int, a: Any, b: Any) -> Any:
    """LLVM value: ``<lanes x i32>`` sums of two products, of neighbouring words of ``a`` and ``b``."""
    quads = ir.VectorType(_I32, lanes)
    if architecture == "x86_64":
        return call_intrinsic(builder, _MULTIPLY_PAIRS[lanes], quads, [a, b])
    wide = ir.VectorType(_I32, 2 * lanes)
    products = builder.mul(builder.sext(a, wide), builder.sext(b, wide))
    undefined = ir.Constant(wide, ir.Undefined)
    even = builder.shuffle_vector(products, undefined, ir.Constant(quads, list(range(0, 2 * lanes, 2))))
    odd = builder.shuffle_vector(products, undefined, ir.Constant(quads, list(range(1, 2 * lanes, 2))))
    return builder.add(even, odd)


def widen(count: int) -> Any:
    """An intrinsic ``widen(y, index, x, x_index, flip)``: ``count`` signed bytes as words from ``y[index]`` on.

    With a ``flip`` of 128 the bytes are unsigned, and the words 128 less.
    """
    octets = Vector("i8", count)
    words = ir.VectorType(_I16, count)

    @intrinsic
    def widen_bytes(typing_context: Any, y: Any, index: Any, x: Any, x_index: Any, flip: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            y, index, x, x_index, flip = args
            value = builder.load(element_pointer(builder, x, x_index, octets), align=1)
            flipped = builder.xor(value, splat_value(builder, octets, builder.trunc(flip, _I8)))
            place = builder.bitcast(builder.gep(y, [index]), words.as_pointer())
            builder.store(builder.sext(flipped, words), place, align=4)
            return context.get_dummy_value()

        return types.void(FLOAT32_POINTER, types.int64, UINT8_POINTER, types.int64, types.int64), codegen

    return widen_bytes


def word_products(simd: Simd, rows: int, vectors: int, word_weights: bool = False, by_word: bool = False) -> Any:
    """``outer(tile, x, index, row_stride, w, w_index)``: adds two products to each int32 of a tile.

    To row i, column j those of pair ``x[index + i * row_stride]`` and pair ``w[w_index + j]``, of signed bytes: ``w``
    counts units of two bytes. With ``word_weights`` both are pairs of words. With ``by_word`` indices and strides of x
    count words, wherever pairs lie.
    """
    element = _I16 if by_word else _I32
    tile, lanes = Tile(rows, vectors, simd.lanes, "i32"), simd.lanes
    words, octets = ir.VectorType(_I16, 2 * lanes), Vector("i8", 2 * lanes)

    def widened_weights(builder: Any, w: Any, w_index: Any) -> list[Any]:
        start, w = builder.mul(w_index, ir.Constant(_I64, 2)), builder.bitcast(w, _I8.as_pointer())
        weights = []
        for j in range(tile.vectors):
            place = element_pointer(builder, w, offset_by(builder, start, 2 * lanes * j), octets)
            weights.append(builder.sext(builder.load(place, align=2), words))
        return weights

    @intrinsic
    def outer(typing_context: Any, accumulator: Any, x: Any, index: Any, row_stride: Any, w: Any, w_index: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            accumulator, x, index, row_stride, w, w_index = args
            sums = tile_vectors(builder, tile, accumulator)
            if word_weights:
                weights = [builder.bitcast(vector, words) for vector in row_vectors(builder, tile, w, w_index)]
            else:
                weights = widened_weights(builder, w, w_index)
            x = builder.bitcast(x, element.as_pointer())
            for row in range(tile.rows):
                place = builder.add(index, builder.mul(row_stride, ir.Constant(_I64, row))) if row else index
                pair = splat_value(builder, tile.vector, four_bytes(builder, x, place))
                value = builder.bitcast(pair, words)
                for j, weight in enumerate(weights):
                    at = row * tile.vectors + j
                    products = multiply_pairs(builder, simd.level.architecture, lanes, value, weight)
                    sums[at] = builder.add(sums[at], products)
            return pack_tile(builder, tile, sums)

        arguments = (tile, FLOAT32_POINTER, types.int64, types.int64, FLOAT32_POINTER, types.int64)
        return tile(*arguments), codegen

    return outer


def finished_sums(simd: Simd, rows: int, inverse: int, shift: int) -> Any:
    """``finish(sums, bias, factors)``: a float32 tile of ``rows`` x ``lanes`` from as many int32 vectors.

    Sums are multiples of ``2**shift / inverse`` modulo 2**32; they are divided by that, the int32 vector ``bias`` is
    added, and as float32 they are multiplied by the vector ``factors``.
    """
    sums, tile = Vector("i32", simd.lanes), Tile(rows, 1, simd.lanes)

    def constant(value: int) -> ir.Constant:
        return ir.Constant(sums.llvm, [value] * simd.lanes)

    @intrinsic
    def finish(typing_context: Any, values: Any, bias: Any, factors: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            values, bias, factors = args
            vectors = []
            for row in range(rows):
                value = builder.mul(builder.extract_value(values, row), constant(inverse))
                value = builder.add(builder.ashr(value, constant(shift)), bias)
                vectors.append(builder.fmul(builder.sitofp(value, simd.vector.llvm), factors))
            return pack_tile(builder, tile, vectors)

        return tile(types.UniTuple(sums, rows), sums, simd.vector), codegen

    return finish
