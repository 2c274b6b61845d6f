"""Register tiles of int32 sums of products of bytes, four products to a lane.

Bytes come in quads: four neighbouring channels of one pixel, or the weights of four channels for one output, in the
place of one float32. So pointers, strides and indices are those of float32 kernels. How a level adds up the four
products of a lane is its ``dot``:

* ``vpdpbusd``: one instruction (AVX-512 VNNI, AVX-VNNI).
* ``usdot``: one instruction too (Arm i8mm).
* ``sdot``: one instruction for signed bytes (Arm dotprod): 128 is taken off x, which the bias has to make up for.
* ``smull``: signed bytes as well; two products are added in 16 bits, and pairs of those to the sums (Arm v8.0). The
  weights of a vector of quads lie with the first two bytes of all its quads before the last two, and none is -128.
  Groups of four vectors of quads can do with less: x holds eight pairs of bytes, which are multiplied by weights of
  pairs j and j + 4 for column j, and turned by a pair for the next vector of weights, until all have met.
* ``pairs``: bytes are widened to 16 bits, even and odd ones apart, and multiplied by ``pmaddwd`` or what stands for
  it; no product or sum saturates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from edgeinfer.simd.foreign_intrinsics import call_intrinsic
from edgeinfer.simd.pointers import FLOAT32_POINTER, UINT8_POINTER
from edgeinfer.simd.rounding import GROUP, ByteRounder
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
from edgeinfer.simd.word_tile import MULTIPLY_PAIRS

_I8, _I16, _I32, _I64 = ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.IntType(64)


class ByteTileOps:
    """Operations on int32 tiles of one size; the counterpart of ``TileOps``.

    Attributes:
        rows: rows of the tile.
        columns: int32 sums of one row, ``vectors * lanes``.
        zeros: ``zeros()``.
        splat_row: ``splat_row(y, index)``: every row is the ``columns`` int32 at ``y[index]``.
        outer: ``outer(tile, x, index, row_stride, w, w_index)``: adds to row i, column j the four products of the
            unsigned bytes of quad ``x[index + i * row_stride]`` and the signed bytes of quad ``w[w_index + j]``.
        outer_lanes: ``lanes`` outer products at once, of the quads from ``x[index + i * row_stride]`` on; where
            ``by_lane``.
        outer_half: as ``outer_lanes`` for half as many.
        outer_group: as ``outer_lanes``, with weights that are packed for it where the level's trait ``rotated`` is set.
        prefetches: as that of ``TileOps``.
        store: ``store(tile, y, index, row_stride, rows, columns)``: writes int32 sums.
        scaled: ``scaled(tile, y, index)``: the sums as a float32 tile, times the ``columns`` floats at ``y[index]``.
        scaled_by: ``scaled_by(tile, factors)``: the same with the float32 tile ``factors``.
        float_tile: ``float_tile(vector)``: a float32 vector as a tile of one row and one vector.
        store_bytes: ``store_bytes(float_tile, y, index, row_stride, rows, columns, zero_point, low, high)``: writes
            floats rounded to bytes, see ``edgeinfer.simd.rounding``.
    """

    def __init__(self, simd: Simd, rows: int, vectors: int) -> None:
        self.rows = rows
        self.columns = vectors * simd.lanes
        sums, floats = Tile(rows, vectors, simd.lanes, "i32"), Tile(rows, vectors, simd.lanes)
        self.zeros = zeros_of(sums)
        self.splat_row = splat_row_of(sums)
        self.lanes = simd.lanes
        self.by_lane = simd.level.by_lane
        self.prefetches = simd.level.architecture == "x86_64"
        dot = _dot_of(simd)
        self.outer = _outer(sums, dot)
        self.outer_lanes = _outer_lanes(sums, dot, simd.lanes)
        self.outer_half = _outer_lanes(sums, dot, simd.lanes // 2)
        self.outer_group = _outer_rotated(sums, dot) if simd.level.dot == "smull" else self.outer_lanes
        self.store = store_of(sums)
        self.scaled = _scaled(sums, floats)
        self.scaled_by = _scaled_by(sums, floats)
        self.float_tile = _float_tile(floats)
        self.store_bytes = store_bytes_of(simd, floats)


@dataclass(frozen=True)
class Dot:
    """How a level multiplies vectors of quads; all functions take LLVM's builder first.

    Attributes:
        flip: ``flip(x)``: done once to each int32 vector of quads of x.
        prepare_x: ``prepare_x(x)``: done to a vector that holds one quad of x in all lanes.
        prepare_w: ``prepare_w(w)``: done to a vector of quads of weights.
        dot: ``dot(sums, x, w)``: adds the products to the sums.
        spread: ``spread(x, lane)``: one quad of a vector in all lanes, prepared.
    """

    flip: Callable[[Any, Any], Any]
    prepare_x: Callable[[Any, Any], Any]
    prepare_w: Callable[[Any, Any], Any]
    dot: Callable[[Any, Any, Any, Any], Any]
    spread: Callable[[Any, Any, int], Any]


def _as_they_are(builder: Any, value: Any) -> Any:
    return value


def _spread_quads(lanes: int, prepare: Callable[[Any, Any], Any]) -> Callable[[Any, Any, int], Any]:
    quads = ir.VectorType(_I32, lanes)

    def spread(builder: Any, value: Any, lane: int) -> Any:
        index = ir.Constant(quads, [lane] * lanes)
        return prepare(builder, builder.shuffle_vector(value, ir.Constant(quads, ir.Undefined), index))

    return spread


def _four_products(lanes: int, instruction: str, unsigned_x: bool) -> Dot:
    """An instruction that adds the four products of each lane."""
    quads, octets = ir.VectorType(_I32, lanes), ir.VectorType(_I8, 4 * lanes)
    top_bits = ir.Constant(quads, [-0x7F7F7F80] * lanes)

    def as_bytes(builder: Any, value: Any) -> Any:
        return builder.bitcast(value, octets)

    def less_128(builder: Any, value: Any) -> Any:
        return builder.xor(value, top_bits)

    def dot(builder: Any, sums: Any, x: Any, w: Any) -> Any:
        # Of two signed operands the second can be one quad of a vector; of others LLVM finds that itself.
        return call_intrinsic(builder, instruction, quads, [sums, x, w] if unsigned_x else [sums, w, x])

    return Dot(_as_they_are if unsigned_x else less_128, as_bytes, as_bytes, dot, _spread_quads(lanes, as_bytes))


def _smull() -> Dot:
    lanes = 4
    quads, octets = ir.VectorType(_I32, lanes), ir.VectorType(_I8, 16)
    words = ir.VectorType(_I16, 8)
    top_bits = ir.Constant(quads, [-0x7F7F7F80] * lanes)
    undefined = ir.Constant(octets, ir.Undefined)

    def shuffled(builder: Any, value: Any, places: list[int]) -> Any:
        return builder.shuffle_vector(value, undefined, ir.Constant(ir.VectorType(_I32, len(places)), places))

    def halves(builder: Any, value: Any) -> tuple[Any, Any]:
        return shuffled(builder, value, list(range(8))), shuffled(builder, value, list(range(8, 16)))

    def less_128(builder: Any, value: Any) -> Any:
        return builder.xor(value, top_bits)

    def as_bytes(builder: Any, value: Any) -> Any:
        return builder.bitcast(value, octets)

    def spread(builder: Any, value: Any, lane: int) -> Any:
        places = [4 * lane, 4 * lane + 1] * lanes + [4 * lane + 2, 4 * lane + 3] * lanes
        return shuffled(builder, as_bytes(builder, value), places)

    def prepare_x(builder: Any, value: Any) -> Any:
        return spread(builder, value, 0)

    def dot(builder: Any, sums: Any, x: Any, w: Any) -> Any:
        products = [
            call_intrinsic(builder, "aarch64.neon.smull.v8i16", words, [a, b])
            for a, b in zip(halves(builder, x), halves(builder, w), strict=True)
        ]
        pairs = call_intrinsic(builder, "aarch64.neon.saddlp.v4i32.v8i16", quads, [builder.add(*products)])
        return builder.add(sums, pairs)

    return Dot(less_128, prepare_x, as_bytes, dot, spread)


def _dot_of(simd: Simd) -> Dot:
    lanes, kind = simd.lanes, simd.level.dot
    if kind == "vpdpbusd":
        return _four_products(lanes, f"x86.avx512.vpdpbusd.{32 * lanes}", True)
    if kind == "smull":
        return _smull()
    if kind in ("sdot", "usdot"):
        return _four_products(lanes, f"aarch64.neon.{kind}.v4i32.v16i8", kind == "usdot")
    return _pairs(lanes, simd.level.architecture)


def _pairs(lanes: int, architecture: str) -> Dot:
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
            return call_intrinsic(builder, MULTIPLY_PAIRS[lanes], quads, [a, b])
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

    return Dot(_as_they_are, unsigned, signed, dot, _spread_quads(lanes, unsigned))


def _outer(tile: Tile, dot: Dot) -> Any:
    @intrinsic
    def outer(typing_context: Any, accumulator: Any, x: Any, index: Any, row_stride: Any, w: Any, w_index: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            accumulator, x, index, row_stride, w, w_index = args
            sums = tile_vectors(builder, tile, accumulator)
            weights = [dot.prepare_w(builder, vector) for vector in row_vectors(builder, tile, w, w_index)]
            x = builder.bitcast(x, _I32.as_pointer())
            for row in range(tile.rows):
                place = builder.add(index, builder.mul(row_stride, ir.Constant(_I64, row))) if row else index
                quad = splat_value(builder, tile.vector, builder.load(builder.gep(x, [place]), align=4))
                value = dot.prepare_x(builder, dot.flip(builder, quad))
                for j, weight in enumerate(weights):
                    at = row * tile.vectors + j
                    sums[at] = dot.dot(builder, sums[at], value, weight)
            return pack_tile(builder, tile, sums)

        arguments = (tile, FLOAT32_POINTER, types.int64, types.int64, FLOAT32_POINTER, types.int64)
        return tile(*arguments), codegen

    return outer


def _outer_lanes(tile: Tile, dot: Dot, count: int) -> Any:
    lanes = tile.vector.lanes
    part = Vector("i32", count)

    @intrinsic
    def outer_lanes(
        typing_context: Any, accumulator: Any, x: Any, index: Any, row_stride: Any, w: Any, w_index: Any
    ) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            accumulator, x, index, row_stride, w, w_index = args
            sums = tile_vectors(builder, tile, accumulator)
            factors = []
            for row in range(tile.rows):
                place = builder.add(index, builder.mul(row_stride, ir.Constant(_I64, row))) if row else index
                quads = builder.load(element_pointer(builder, x, place, part), align=4)
                if count < lanes:
                    lanes_of = ir.Constant(tile.vector.llvm, [min(lane, count - 1) for lane in range(lanes)])
                    quads = builder.shuffle_vector(quads, ir.Constant(part.llvm, ir.Undefined), lanes_of)
                factors.append(dot.flip(builder, quads))
            for k in range(count):
                vectors = row_vectors(builder, tile, w, offset_by(builder, w_index, k * tile.vectors * lanes))
                weights = [dot.prepare_w(builder, vector) for vector in vectors]
                for row, factor in enumerate(factors):
                    value = dot.spread(builder, factor, k)
                    for j, weight in enumerate(weights):
                        at = row * tile.vectors + j
                        sums[at] = dot.dot(builder, sums[at], value, weight)
            return pack_tile(builder, tile, sums)

        arguments = (tile, FLOAT32_POINTER, types.int64, types.int64, FLOAT32_POINTER, types.int64)
        return tile(*arguments), codegen

    return outer_lanes


def _outer_rotated(tile: Tile, dot: Dot) -> Any:
    lanes = tile.vector.lanes
    octets = ir.VectorType(_I8, 4 * lanes)

    @intrinsic
    def outer_rotated(
        typing_context: Any, accumulator: Any, x: Any, index: Any, row_stride: Any, w: Any, w_index: Any
    ) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            accumulator, x, index, row_stride, w, w_index = args
            sums = tile_vectors(builder, tile, accumulator)
            factors = []
            for row in range(tile.rows):
                place = builder.add(index, builder.mul(row_stride, ir.Constant(_I64, row))) if row else index
                quads = builder.load(element_pointer(builder, x, place, tile.vector), align=4)
                factors.append(builder.bitcast(dot.flip(builder, quads), octets))
            for turn in range(lanes):
                vectors = row_vectors(builder, tile, w, offset_by(builder, w_index, turn * tile.vectors * lanes))
                weights = [dot.prepare_w(builder, vector) for vector in vectors]
                places = ir.Constant(
                    ir.VectorType(_I32, 4 * lanes), [(2 * turn + byte) % (4 * lanes) for byte in range(4 * lanes)]
                )
                for row, factor in enumerate(factors):
                    turned = builder.shuffle_vector(factor, factor, places) if turn else factor
                    for j, weight in enumerate(weights):
                        at = row * tile.vectors + j
                        sums[at] = dot.dot(builder, sums[at], turned, weight)
            return pack_tile(builder, tile, sums)

        arguments = (tile, FLOAT32_POINTER, types.int64, types.int64, FLOAT32_POINTER, types.int64)
        return tile(*arguments), codegen

    return outer_rotated


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


def _scaled_by(sums: Tile, floats: Tile) -> Any:
    @intrinsic
    def scaled_by(typing_context: Any, value: Any, factors: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            pairs = zip(tile_vectors(builder, sums, args[0]), tile_vectors(builder, floats, args[1]), strict=True)
            return pack_tile(
                builder, floats, [builder.fmul(builder.sitofp(a, floats.vector.llvm), b) for a, b in pairs]
            )

        return floats(sums, floats), codegen

    return scaled_by


def _float_tile(tile: Tile) -> Any:
    @intrinsic
    def float_tile(typing_context: Any, vector: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return pack_tile(builder, tile, [args[0]])

        return tile(tile.vector), codegen

    return float_tile


def store_bytes_of(simd: Simd, tile: Tile) -> Any:
    """An intrinsic ``store_bytes`` for float tiles, see ``ByteTileOps``."""
    lanes, octet = simd.lanes, Vector("i8", simd.lanes)

    @intrinsic
    def store_bytes(
        typing_context: Any, value: Any, y: Any, index: Any, row_stride: Any, rows: Any, columns: Any, zero_point: Any,
        low: Any, high: Any,
    ) -> Any:  # fmt: skip
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            value, y, index, row_stride, rows, columns, zero_point, low, high = args
            rounded, vectors = ByteRounder(builder, simd, low, high, zero_point), tile_vectors(builder, tile, value)

            def place(row: int, j: int) -> Any:
                at = builder.add(index, builder.mul(row_stride, ir.Constant(_I64, row)))
                return element_pointer(builder, y, offset_by(builder, at, j * lanes), octet)

            whole = builder.and_(
                builder.icmp_signed(">=", rows, ir.Constant(_I64, tile.rows)),
                builder.icmp_signed(">=", columns, ir.Constant(_I64, tile.vectors * lanes)),
            )
            with builder.if_else(whole, likely=True) as (then, otherwise):
                with then:
                    for row, parts in enumerate(rounded.rows(vectors, tile.vectors)):
                        for j, part in enumerate(parts):
                            pointer = builder.bitcast(place(row, GROUP * j), part.type.as_pointer())
                            builder.store(part, pointer, align=1)
                with otherwise:
                    store_rows(builder, tile, octet, rounded(vectors), place, rows, columns)
            return context.get_dummy_value()

        arguments = (tile, UINT8_POINTER, *[types.int64] * 5, types.float32, types.float32)
        return types.void(*arguments), codegen

    return store_bytes
