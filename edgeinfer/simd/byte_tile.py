"""Register tiles of int32 sums of products of bytes, four products to a lane.

Bytes come in quads: four neighbouring channels of one pixel, or the weights of four channels for one output, in the
place of one float32. So pointers, strides and indices are those of float32 kernels. How a level adds up the four
products of a lane is its ``dot``:

* ``vpdpbusd``: one instruction (AVX-512 VNNI, AVX-VNNI).
* ``pairs``: bytes are widened to 16 bits, even and odd ones apart, and multiplied by ``pmaddwd`` or what stands for
  it; no product or sum saturates.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from edgeinfer.simd.bytes import rounded_bytes
from edgeinfer.simd.pointers import FLOAT32_POINTER, UINT8_POINTER
from edgeinfer.simd.simd import Simd, element_pointer
from edgeinfer.simd.tile import (
    Tile,
    offset_by,
    pack_tile,
    row_vectors,
    splat_row_of,
    store_of,
    store_rows,
    tile_vectors,
    zeros_of,
)
from edgeinfer.simd.vectors import Vector, splat_value

_I8, _I16, _I32, _I64 = ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.IntType(64)

_MULTIPLY_PAIRS = {16: "llvm.x86.avx512.pmaddw.d.512", 8: "llvm.x86.avx2.pmadd.wd", 4: "llvm.x86.sse2.pmadd.wd"}


class ByteTileOps:
    """Operations on int32 tiles of one size; the counterpart of ``TileOps``.

    Attributes:
        rows: rows of the tile.
        columns: int32 sums of one row, ``vectors * lanes``.
        zeros: ``zeros()``.
        splat_row: ``splat_row(y, index)``: every row is the ``columns`` int32 at ``y[index]``.
        outer: ``outer(tile, x, index, row_stride, w, w_index)``: adds to row i, column j the four products of the
            unsigned bytes of quad ``x[index + i * row_stride]`` and the signed bytes of quad ``w[w_index + j]``.
        store: ``store(tile, y, index, row_stride, rows, columns)``: writes int32 sums.
        scaled: ``scaled(tile, y, index)``: the sums as a float32 tile, times the ``columns`` floats at ``y[index]``.
        float_tile: ``float_tile(vector)``: a float32 vector as a tile of one row and one vector.
        store_bytes: ``store_bytes(float_tile, y, index, row_stride, rows, columns, zero_point)``: rounds floats of
            magnitude below 2**22, half to even, adds the zero point and writes the low bytes.
    """

    def __init__(self, simd: Simd, rows: int, vectors: int) -> None:
        self.rows = rows
        self.columns = vectors * simd.lanes
        sums, floats = Tile(rows, vectors, simd.lanes, "i32"), Tile(rows, vectors, simd.lanes)
        self.zeros = zeros_of(sums)
        self.splat_row = splat_row_of(sums)
        self.outer = _outer(sums, simd)
        self.store = store_of(sums)
        self.scaled = _scaled(sums, floats)
        self.float_tile = _float_tile(floats)
        self.store_bytes = store_bytes_of(floats)


Dot = Callable[[Any, Any, Any, Any], Any]
Prepare = Callable[[Any, Any], Any]


def _vpdpbusd(lanes: int) -> tuple[Prepare, Prepare, Dot]:
    quads, octets = ir.VectorType(_I32, lanes), ir.VectorType(_I8, 4 * lanes)

    def as_bytes(builder: Any, value: Any) -> Any:
        return builder.bitcast(value, octets)

    def dot(builder: Any, sums: Any, x: Any, w: Any) -> Any:
        function_type = ir.FunctionType(quads, [quads, octets, octets])
        name = f"llvm.x86.avx512.vpdpbusd.{32 * lanes}"
        return builder.call(cgutils.get_or_insert_function(builder.module, function_type, name), [sums, x, w])

    return as_bytes, as_bytes, dot


def _pairs(lanes: int, architecture: str) -> tuple[Prepare, Prepare, Dot]:
    quads, words = ir.VectorType(_I32, lanes), ir.VectorType(_I16, 2 * lanes)
    eight = ir.Constant(words, [8] * (2 * lanes))

    def unsigned(builder: Any, value: Any) -> Any:
        value = builder.bitcast(value, words)
        return builder.and_(value, ir.Constant(words, [255] * (2 * lanes))), builder.lshr(value, eight)

    def signed(builder: Any, value: Any) -> Any:
        value = builder.bitcast(value, words)
        return builder.ashr(builder.shl(value, eight), eight), builder.ashr(value, eight)

    def multiply(builder: Any, a: Any, b: Any) -> Any:
        if architecture == "x86_64":
            function_type = ir.FunctionType(quads, [words, words])
            function = cgutils.get_or_insert_function(builder.module, function_type, _MULTIPLY_PAIRS[lanes])
            return builder.call(function, [a, b])
        wide = ir.VectorType(_I32, 2 * lanes)
        products = builder.mul(builder.sext(a, wide), builder.sext(b, wide))
        index = ir.VectorType(_I32, lanes)
        undefined = ir.Constant(wide, ir.Undefined)
        even = builder.shuffle_vector(products, undefined, ir.Constant(index, list(range(0, 2 * lanes, 2))))
        odd = builder.shuffle_vector(products, undefined, ir.Constant(index, list(range(1, 2 * lanes, 2))))
        return builder.add(even, odd)

    def dot(builder: Any, sums: Any, x: Any, w: Any) -> Any:
        for a, b in zip(x, w, strict=True):
            sums = builder.add(sums, multiply(builder, a, b))
        return sums

    return unsigned, signed, dot


def _outer(tile: Tile, simd: Simd) -> Any:
    lanes = simd.lanes
    prepare_x, prepare_w, dot = (
        _vpdpbusd(lanes) if simd.level.dot == "vpdpbusd" else _pairs(lanes, simd.level.architecture)
    )

    @intrinsic
    def outer(typing_context: Any, accumulator: Any, x: Any, index: Any, row_stride: Any, w: Any, w_index: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            accumulator, x, index, row_stride, w, w_index = args
            sums = tile_vectors(builder, tile, accumulator)
            weights = [prepare_w(builder, vector) for vector in row_vectors(builder, tile, w, w_index)]
            x = builder.bitcast(x, _I32.as_pointer())
            for row in range(tile.rows):
                place = builder.add(index, builder.mul(row_stride, ir.Constant(_I64, row))) if row else index
                quad = splat_value(builder, tile.vector, builder.load(builder.gep(x, [place]), align=4))
                value = prepare_x(builder, quad)
                for j, weight in enumerate(weights):
                    at = row * tile.vectors + j
                    sums[at] = dot(builder, sums[at], value, weight)
            return pack_tile(builder, tile, sums)

        arguments = (tile, FLOAT32_POINTER, types.int64, types.int64, FLOAT32_POINTER, types.int64)
        return tile(*arguments), codegen

    return outer


def _scaled(sums: Tile, floats: Tile) -> Any:
    @intrinsic
    def scaled(typing_context: Any, value: Any, y: Any, index: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            value, y, index = args
            scales = row_vectors(builder, floats, y, index)
            vectors = [builder.sitofp(vector, floats.vector.llvm) for vector in tile_vectors(builder, sums, value)]
            products = [builder.fmul(vector, scales[at % sums.vectors]) for at, vector in enumerate(vectors)]
            return pack_tile(builder, floats, products)

        return floats(sums, FLOAT32_POINTER, types.int64), codegen

    return scaled


def _float_tile(tile: Tile) -> Any:
    @intrinsic
    def float_tile(typing_context: Any, vector: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return pack_tile(builder, tile, [args[0]])

        return tile(tile.vector), codegen

    return float_tile


def store_bytes_of(tile: Tile) -> Any:
    """An intrinsic ``store_bytes`` for float tiles, see ``ByteTileOps``."""
    lanes = tile.vector.lanes
    octet = Vector("i8", lanes)

    @intrinsic
    def store_bytes(
        typing_context: Any, value: Any, y: Any, index: Any, row_stride: Any, rows: Any, columns: Any, zero_point: Any
    ) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            value, y, index, row_stride, rows, columns, zero_point = args
            bytes_of = [
                rounded_bytes(builder, vector, zero_point, lanes) for vector in tile_vectors(builder, tile, value)
            ]

            def place(row: int, j: int) -> Any:
                at = builder.add(index, builder.mul(row_stride, ir.Constant(_I64, row)))
                return element_pointer(builder, y, offset_by(builder, at, j * lanes), octet)

            store_rows(builder, tile, octet, bytes_of, place, rows, columns)
            return context.get_dummy_value()

        arguments = (tile, UINT8_POINTER, *[types.int64] * 5)
        return types.void(*arguments), codegen

    return store_bytes
