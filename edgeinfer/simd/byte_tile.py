"""Register tiles of int32 sums of products of bytes, four products to a lane.

Bytes come in quads: four neighbouring channels of one pixel, or the weights of four channels for one output, in the
place of one float32. So pointers, strides and indices are those of float32 kernels. ``edgeinfer.simd.byte_dot`` says
how the four products of a lane are added up.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from edgeinfer.simd.byte_dot import ByteLanes, Dot, MatrixLanes, dot_of
from edgeinfer.simd.foreign_intrinsics import ordered_value
from edgeinfer.simd.lane_products import lane_products
from edgeinfer.simd.pointers import FLOAT32_POINTER, UINT8_POINTER
from edgeinfer.simd.rounding import GROUP, ByteRounder, PlainByteRounder
from edgeinfer.simd.simd import Simd, element_pointer, four_bytes
from edgeinfer.simd.tile import (
    Tile,
    load_of,
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

_I8, _I32, _I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)


class ByteTileOps:
    """Operations on int32 tiles of one size; the counterpart of ``TileOps``.

    Attributes:
        rows: rows of the tile.
        columns: int32 sums of one row, ``vectors * lanes``.
        zeros: ``zeros()``.
        splat_row: ``splat_row(y, index)``: every row is the ``columns`` int32 at ``y[index]``.
        outer: ``outer(tile, x, index, row_stride, w, w_index)``: adds to row i, column j the four products of the
            unsigned bytes of quad ``x[index + i * row_stride]`` and the signed bytes of quad ``w[w_index + j]``.
        outer_at: ``outer`` with indices and strides of x that count bytes, wherever quads lie.
        products: ``products(tile, x, index, row_stride, w, w_index, count)``: adds ``count`` outer products, of the
            quads from ``x[index + i * row_stride]`` on; where ``by_lane``.
        grouped_products: the same with weights whose whole groups of four quads are packed as ``byte_dot`` turns x.
        matrix_products: ``products`` or, where the level multiplies matrices, the same for an even number of rows with
            weights of two quads packed for that.
        prefetches: as that of ``TileOps``.
        store: ``store(tile, y, index, row_stride, rows, columns)``: writes int32 sums.
        load: ``load(y, index, row_stride, rows, columns)``: reads them.
        scaled: ``scaled(tile, y, index)``: the sums as a float32 tile, times the ``columns`` floats at ``y[index]``.
        scaled_by: ``scaled_by(tile, factors)``: the same with a float32 tile of one row.
        float_tile: ``float_tile(vector)``: a float32 vector as a tile of one row and one vector.
        store_bytes: ``store_bytes(float_tile, y, index, row_stride, rows, columns, zero_point, low, high)``: writes
            floats rounded to bytes, see ``edgeinfer.simd.rounding``.
    """

    def __init__(self, simd: Simd, rows: int, vectors: int) -> None:
        self.rows = rows
        self.columns = vectors * simd.lanes
        sums, floats = Tile(rows, vectors, simd.lanes, "i32"), Tile(rows, vectors, simd.lanes)
        self.zeros = zeros_of(sums)
        self.splat_row = splat_row_of(sums, reload=simd.level.by_lane)
        self.lanes = simd.lanes
        self.by_lane = simd.level.by_lane
        self.prefetches = simd.level.architecture == "x86_64"
        dot = dot_of(simd)
        self.outer = _outer(sums, dot)
        self.outer_at = _outer(sums, dot, _I8)
        self.products = lane_products(sums, ByteLanes(sums, dot))
        self.grouped_products = lane_products(sums, ByteLanes(sums, dot, grouped=True))
        by_matrix = simd.level.byte_traits["matrices"] and rows % 2 == 0
        self.matrix_products = lane_products(sums, MatrixLanes(sums)) if by_matrix else self.products
        self.store = store_of(sums)
        self.load = load_of(sums)
        self.scaled = _scaled(sums, floats)
        self.scaled_by = _scaled_by(sums, floats, Tile(1, vectors, simd.lanes))
        self.float_tile = _float_tile(floats)
        self.store_bytes = store_bytes_of(simd, floats)


def _outer(tile: Tile, dot: Dot, element: ir.Type = _I32) -> Any:
    """See ``ByteTileOps``; indices of x count elements of a type."""

    @intrinsic
    def outer(typing_context: Any, accumulator: Any, x: Any, index: Any, row_stride: Any, w: Any, w_index: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            accumulator, x, index, row_stride, w, w_index = args
            sums = tile_vectors(builder, tile, accumulator)
            weights = [dot.prepare_w(builder, vector) for vector in row_vectors(builder, tile, w, w_index)]
            x = builder.bitcast(x, element.as_pointer())
            for row in range(tile.rows):
                place = builder.add(index, builder.mul(row_stride, ir.Constant(_I64, row))) if row else index
                quad = splat_value(builder, tile.vector, four_bytes(builder, x, place))
                value = dot.prepare_x(builder, quad)
                for j, weight in enumerate(weights):
                    at = row * tile.vectors + j
                    sums[at] = dot.dot(builder, sums[at], value, weight)
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
            return pack_tile(builder, floats, _products(builder, sums, floats, value, scales))

        return floats(sums, FLOAT32_POINTER, types.int64), codegen

    return scaled


def _scaled_by(sums: Tile, floats: Tile, row: Tile) -> Any:
    @intrinsic
    def scaled_by(typing_context: Any, value: Any, factors: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            scales = tile_vectors(builder, row, args[1])
            return pack_tile(builder, floats, _products(builder, sums, floats, args[0], scales))

        return floats(sums, row), codegen

    return scaled_by


def _products(builder: Any, sums: Tile, floats: Tile, value: Any, scales: list[Any]) -> list[Any]:
    """The vectors of a tile of sums as floats, times those of a row."""
    vectors = [builder.sitofp(vector, floats.vector.llvm) for vector in tile_vectors(builder, sums, value)]
    return [builder.fmul(vector, scales[at % sums.vectors]) for at, vector in enumerate(vectors)]


def _float_tile(tile: Tile) -> Any:
    @intrinsic
    def float_tile(typing_context: Any, vector: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return pack_tile(builder, tile, [args[0]])

        return tile(tile.vector), codegen

    return float_tile


def store_bytes_of(simd: Simd, tile: Tile) -> Any:
    """An intrinsic ``store_bytes`` for float tiles, see ``ByteTileOps``."""

    @intrinsic
    def store_bytes(
        typing_context: Any, value: Any, y: Any, index: Any, row_stride: Any, rows: Any, columns: Any, zero_point: Any,
        low: Any, high: Any,
    ) -> Any:  # fmt: skip
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            value, y, index, row_stride, rows, columns, zero_point, low, high = args
            rounder = ByteRounder(builder, simd, low, high, zero_point)
            _store_rounded(builder, simd, tile, rounder, (value, y, index, row_stride, rows, columns))
            return context.get_dummy_value()

        arguments = (tile, UINT8_POINTER, *[types.int64] * 5, types.float32, types.float32)
        return types.void(*arguments), codegen

    return store_bytes


def store_plain_bytes_of(simd: Simd, tile: Tile) -> Any:
    """An intrinsic ``store_plain_bytes(float_tile, y, index, row_stride, rows, columns, zero_point)`` for AArch64.

    As ``store_bytes`` where bounds are those of the level's bytes, signed with an ``x_offset``, the zero point is even,
    and floats have magnitudes below ``PLAIN_LIMIT``.
    """

    @intrinsic
    def store_plain_bytes(
        typing_context: Any, value: Any, y: Any, index: Any, row_stride: Any, rows: Any, columns: Any, zero_point: Any
    ) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            rounder = PlainByteRounder(builder, simd, args[-1])
            _store_rounded(builder, simd, tile, rounder, args[:-1])
            return context.get_dummy_value()

        return types.void(tile, UINT8_POINTER, *[types.int64] * 5), codegen

    return store_plain_bytes


def store_blocks_of(simd: Simd, tile: Tile) -> Any:
    """An intrinsic ``store_blocks(float_tile, y, index, row_stride, zero_point, low, high)`` for x86.

    As ``store_bytes`` of a whole tile with four vectors in a row, which hold four channels of each block of sixteen:
    vector j has channels 4 j to 4 j + 3 of the blocks.
    """

    @intrinsic
    def store_blocks(
        typing_context: Any, value: Any, y: Any, index: Any, row_stride: Any, zero_point: Any, low: Any, high: Any
    ) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            value, y, index, row_stride, zero_point, low, high = args
            rounder = ByteRounder(builder, simd, low, high, zero_point)
            octets, vectors = Vector("i8", GROUP * simd.lanes), tile_vectors(builder, tile, value)
            for row in range(tile.rows):
                at = builder.add(index, builder.mul(row_stride, ir.Constant(_I64, row)))
                parts = rounder.in_order(vectors[GROUP * row : GROUP * (row + 1)])
                builder.store(parts, element_pointer(builder, y, at, octets), align=1)
            return context.get_dummy_value()

        return types.void(tile, UINT8_POINTER, *[types.int64] * 3, types.float32, types.float32), codegen

    return store_blocks


def _store_rounded(builder: Any, simd: Simd, tile: Tile, rounder: ByteRounder, args: Any) -> None:
    value, y, index, row_stride, rows, columns = args
    lanes, octet, vectors = simd.lanes, Vector("i8", simd.lanes), tile_vectors(builder, tile, value)
    start = builder.gep(y, [index])
    # No pointer to each row is kept in registers for all tiles: they are needed for other things.
    start = ordered_value(builder, start) if simd.level.by_lane else start

    def place(row: int, j: int) -> Any:
        at = builder.mul(row_stride, ir.Constant(_I64, row))
        return element_pointer(builder, start, offset_by(builder, at, j * lanes), octet)

    whole = builder.and_(
        builder.icmp_signed(">=", rows, ir.Constant(_I64, tile.rows)),
        builder.icmp_signed(">=", columns, ir.Constant(_I64, tile.vectors * lanes)),
    )
    with builder.if_else(whole, likely=True) as (then, otherwise):
        with then:
            for row, parts in enumerate(rounder.rows(vectors, tile.vectors)):
                for j, part in enumerate(parts):
                    pointer = builder.bitcast(place(row, GROUP * j), part.type.as_pointer())
                    builder.store(part, pointer, align=1)
        with otherwise:
            store_rows(builder, tile, octet, rounder(vectors), place, rows, columns)
