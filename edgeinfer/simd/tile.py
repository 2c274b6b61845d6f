"""Register tiles: ``rows`` x ``vectors`` vector registers that a kernel treats as one value.

A tile is the accumulator of a matrix product: row i belongs to one pixel (or matrix row), its vectors
to neighbouring output channels (or matrix columns). Every operation is unrolled when the kernel is
compiled, so that LLVM keeps the whole tile in registers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic, models, register_model

from edgeinfer.simd.foreign_intrinsics import ordered_value
from edgeinfer.simd.simd import (
    Simd,
    as_element,
    element_pointer,
    first_lanes,
    load_element,
    masked_load,
    masked_store,
    pointer_to,
)
from edgeinfer.simd.vectors import Vector, clamped, llvm_function, splat_value

_I64 = ir.IntType(64)


class Tile(types.Type):
    """The Numba type of a register tile of float32 (``kind`` "f32"), float16 ("f16") or int32 ("i32") accumulators."""

    def __init__(self, rows: int, vectors: int, lanes: int, kind: str = "f32") -> None:
        self.rows = rows
        self.vectors = vectors
        self.vector = Vector(kind, lanes)
        self.pointer = pointer_to(self.vector)
        super().__init__(name=f"{kind}tile{rows}x{vectors}x{lanes}")

    @property
    def llvm(self) -> ir.ArrayType:
        """The LLVM type: an array of vectors, row by row."""
        return ir.ArrayType(self.vector.llvm, self.rows * self.vectors)


@register_model(Tile)
class _TileModel(models.PrimitiveModel):
    def __init__(self, manager: Any, tile: Tile) -> None:
        super().__init__(manager, tile, tile.llvm)


class TileOps:
    """Operations on tiles of one size, to be captured by kernel functions as closure variables.

    ``x`` and ``y`` are pointers to the tile's elements, float32 or float16, called floats here; strides and indices
    count elements.

    Attributes:
        rows: rows of the tile.
        lanes: floats of one vector.
        by_lane: whether multiply-adds can take one lane of a vector as a factor.
        columns: floats of one row, ``vectors * lanes``.
        prefetches: whether kernels ask for memory ahead of its use.
        in_order: whether code is for cores that do everything in order.
        zeros: ``zeros()``.
        splat_row: ``splat_row(y, index)``: every row is the ``columns`` floats at ``y[index]``.
        outer: ``outer(tile, x, index, row_stride, w, w_index)``: adds the outer product of the column
            ``x[index + i * row_stride]`` and the row of ``columns`` floats at ``w[w_index]``.
        store: ``store(tile, y, index, row_stride, rows, columns)``: writes the first ``rows`` rows and
            ``columns`` columns.
        load: ``load(y, index, row_stride, rows, columns)``: the counterpart of ``store``; the rest is 0.
        add: ``add(tile, other)``.
        add_row: ``add_row(tile, y, index)``: every row plus the ``columns`` floats at ``y[index]``.
        multiply_row: ``multiply_row(tile, y, index)``: every row times those floats.
        clamp: ``clamp(tile, low, high)``: bounds every float; NaN stays NaN.
    """

    def __init__(self, simd: Simd, rows: int, vectors: int) -> None:
        self.rows = rows
        self.lanes = simd.lanes
        self.by_lane = simd.level.by_lane
        self.prefetches = simd.level.architecture == "x86_64"
        self.in_order = simd.level.in_order
        self.columns = vectors * simd.lanes
        tile = Tile(rows, vectors, simd.lanes, simd.numbers)
        self.type = tile
        self.zeros = zeros_of(tile)
        self.splat_row = splat_row_of(tile, reload=simd.level.by_lane and vectors > 1)
        self.outer = _outer(tile)
        self.store = store_of(tile, bump=simd.level.by_lane)
        self.load = load_of(tile)
        self.add = _add(tile)
        self.add_row = _with_row(tile, "fadd")
        self.multiply_row = _with_row(tile, "fmul")
        self.clamp = _clamp(tile, simd.level.keeps_nan)


def tile_vectors(builder: Any, tile: Tile, value: Any) -> list[Any]:
    """LLVM values: the vectors of a tile, row by row."""
    return [builder.extract_value(value, index) for index in range(tile.rows * tile.vectors)]


def pack_tile(builder: Any, tile: Tile, vectors: list[Any]) -> Any:
    """LLVM value: the tile made of vectors."""
    value = ir.Constant(tile.llvm, ir.Undefined)
    for index, vector in enumerate(vectors):
        value = builder.insert_value(value, vector, index)
    return value


def offset_by(builder: Any, base: Any, elements: int) -> Any:
    """LLVM value: an index plus a constant."""
    return builder.add(base, ir.Constant(_I64, elements)) if elements else base


def zeros_of(tile: Tile) -> Any:
    """An intrinsic ``zeros()``."""

    @intrinsic
    def zeros(typing_context: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            zero = ir.Constant(tile.vector.llvm, None)
            return pack_tile(builder, tile, [zero] * (tile.rows * tile.vectors))

        return tile(), codegen

    return zeros


def row_vector(builder: Any, tile: Tile, pointer: Any, index: Any, j: int) -> Any:
    """LLVM value: vector j of one row loaded from memory."""
    place = element_pointer(builder, pointer, offset_by(builder, index, j * tile.vector.lanes), tile.vector)
    return builder.load(place, align=tile.vector.element_bytes)


def row_vectors(builder: Any, tile: Tile, pointer: Any, index: Any) -> list[Any]:
    """LLVM values: the vectors of one row loaded from memory."""
    return [row_vector(builder, tile, pointer, index, j) for j in range(tile.vectors)]


def splat_row_of(tile: Tile, reload: bool = False) -> Any:
    """An intrinsic ``splat_row(y, index)``: every row is the ``columns`` elements at ``y[index]``.

    With ``reload`` each row is loaded by itself, two vectors with one instruction, rather than copied.
    """

    @intrinsic
    def splat_row(typing_context: Any, y: Any, index: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            pointer, vectors = builder.gep(args[0], [args[1]]), []
            for row in range(tile.rows):
                if row == 0 or reload:
                    pointer = ordered_value(builder, pointer) if reload else pointer
                    loaded = row_vectors(builder, tile, pointer, ir.Constant(_I64, 0))
                vectors += loaded
            return pack_tile(builder, tile, vectors)

        return tile(tile.pointer, types.int64), codegen

    return splat_row


def _outer(tile: Tile) -> Any:
    @intrinsic
    def outer(typing_context: Any, accumulator: Any, x: Any, index: Any, row_stride: Any, w: Any, w_index: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            accumulator, x, index, row_stride, w, w_index = args
            vectors = tile_vectors(builder, tile, accumulator)
            fma = llvm_function(builder, "fmuladd", tile.vector, 3)

            def factor(row: int) -> Any:
                place = builder.add(index, builder.mul(row_stride, ir.Constant(_I64, row))) if row else index
                return load_element(builder, tile.vector, x, place)

            def multiply(row: int, j: int, value: Any, weight: Any) -> None:
                k = row * tile.vectors + j
                vectors[k] = builder.call(fma, [value, weight, vectors[k]])

            # The fewer ones are held in registers while the others come one by one.
            if tile.rows < tile.vectors:
                factors = [factor(row) for row in range(tile.rows)]
                for j in range(tile.vectors):
                    loaded = row_vector(builder, tile, w, w_index, j)
                    for row in range(tile.rows):
                        multiply(row, j, factors[row], loaded)
            else:
                weights = row_vectors(builder, tile, w, w_index)
                for row in range(tile.rows):
                    value = factor(row)
                    for j in range(tile.vectors):
                        multiply(row, j, value, weights[j])
            return pack_tile(builder, tile, vectors)

        arguments = (tile, tile.pointer, types.int64, types.int64, tile.pointer, types.int64)
        return tile(*arguments), codegen

    return outer


def _whole_columns(builder: Any, tile: Tile, columns: Any) -> Any:
    """LLVM value: whether ``columns`` (int64) are all of the tile's."""
    return builder.icmp_signed(">=", columns, ir.Constant(_I64, tile.vectors * tile.vector.lanes))


def _whole_rows(builder: Any, tile: Tile, rows: Any) -> Any:
    """LLVM value: whether ``rows`` (int64) are all of the tile's."""
    return builder.icmp_signed(">=", rows, ir.Constant(_I64, tile.rows))


def _for_each_row(builder: Any, tile: Tile, rows: Any, emit: Callable[[int], None]) -> None:
    """Emit code for every row, each guarded by ``row < rows``."""
    for row in range(tile.rows):
        with builder.if_then(builder.icmp_signed(">", rows, ir.Constant(_I64, row)), likely=True):
            emit(row)


def store_rows(
    builder: Any,
    tile: Tile,
    vector: Vector,
    values: list[Any],
    place: Callable[[int, int], Any],
    rows: Any,
    columns: Any,
) -> None:
    """Emit stores of the first ``rows`` rows and ``columns`` columns of a tile.

    Args:
        builder: LLVM's builder.
        tile: the tile's type, for its size.
        vector: type of what is stored.
        values: a vector for each of the tile's.
        place: gives the pointer of vector j of a row.
        rows: int64.
        columns: int64.
    """
    lanes = tile.vector.lanes

    def whole_row(row: int) -> None:
        for j in range(tile.vectors):
            builder.store(values[row * tile.vectors + j], place(row, j), align=vector.element_bytes)

    with builder.if_else(_whole_columns(builder, tile, columns), likely=True) as (then, otherwise):
        with then, builder.if_else(_whole_rows(builder, tile, rows), likely=True) as (all_rows, some_rows):
            with all_rows:
                for row in range(tile.rows):
                    whole_row(row)
            with some_rows:
                _for_each_row(builder, tile, rows, whole_row)
        with otherwise:
            masks = [first_lanes(builder, lanes, offset_by(builder, columns, -j * lanes)) for j in range(tile.vectors)]

            def part_row(row: int) -> None:
                for j, mask in enumerate(masks):
                    masked_store(builder, vector, values[row * tile.vectors + j], place(row, j), mask)

            _for_each_row(builder, tile, rows, part_row)


def store_of(tile: Tile, bump: bool = False) -> Any:
    """An intrinsic ``store(tile, y, index, row_stride, rows, columns)``, see ``TileOps``.

    With ``bump`` each row's pointer comes from the last one's: LLVM cannot keep one for each, or their distances, in
    registers for all tiles, which are needed for other things.
    """
    lanes = tile.vector.lanes

    @intrinsic
    def store(typing_context: Any, value: Any, y: Any, index: Any, row_stride: Any, rows: Any, columns: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            value, y, index, row_stride, rows, columns = args
            vectors = tile_vectors(builder, tile, value)
            starts = [builder.gep(y, [index])]
            for row in range(1, tile.rows):
                if bump:
                    starts[-1] = ordered_value(builder, starts[-1])
                    starts.append(builder.gep(starts[-1], [row_stride]))
                else:
                    starts.append(builder.gep(starts[0], [builder.mul(row_stride, ir.Constant(_I64, row))]))

            def place(row: int, j: int) -> Any:
                return element_pointer(builder, starts[row], ir.Constant(_I64, j * lanes), tile.vector)

            store_rows(builder, tile, tile.vector, vectors, place, rows, columns)
            return context.get_dummy_value()

        arguments = (tile, tile.pointer, *[types.int64] * 4)
        return types.void(*arguments), codegen

    return store


def load_of(tile: Tile) -> Any:
    """An intrinsic ``load(y, index, row_stride, rows, columns)``, see ``TileOps``."""
    lanes = tile.vector.lanes

    @intrinsic
    def load(typing_context: Any, y: Any, index: Any, row_stride: Any, rows: Any, columns: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            y, index, row_stride, rows, columns = args

            def place(row: int, j: int) -> Any:
                at = builder.add(index, builder.mul(row_stride, ir.Constant(_I64, row)))
                return element_pointer(builder, y, offset_by(builder, at, j * lanes), tile.vector)

            def whole() -> list[Any]:
                places = [place(row, j) for row in range(tile.rows) for j in range(tile.vectors)]
                return [builder.load(pointer, align=tile.vector.element_bytes) for pointer in places]

            def part() -> list[Any]:
                starts = range(0, tile.vectors * lanes, lanes)
                masks = [first_lanes(builder, lanes, offset_by(builder, columns, -start)) for start in starts]
                none = ir.Constant(masks[0].type, None)
                vectors = []
                for row in range(tile.rows):
                    inside = builder.icmp_signed(">", rows, ir.Constant(_I64, row))
                    for j, mask in enumerate(masks):
                        chosen = builder.select(inside, mask, none)
                        vectors.append(masked_load(builder, tile.vector, place(row, j), chosen))
                return vectors

            results, blocks = [], []
            all_inside = builder.and_(_whole_columns(builder, tile, columns), _whole_rows(builder, tile, rows))
            with builder.if_else(all_inside, likely=True) as branches:
                for branch, emit in zip(branches, (whole, part), strict=True):
                    with branch:
                        results.append(pack_tile(builder, tile, emit()))
                        blocks.append(builder.basic_block)
            loaded = builder.phi(tile.llvm)
            for result, block in zip(results, blocks, strict=True):
                loaded.add_incoming(result, block)
            return loaded

        return tile(tile.pointer, *[types.int64] * 4), codegen

    return load


def _add(tile: Tile) -> Any:
    @intrinsic
    def add(typing_context: Any, a: Any, b: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            pairs = zip(tile_vectors(builder, tile, args[0]), tile_vectors(builder, tile, args[1]), strict=True)
            return pack_tile(builder, tile, [builder.fadd(left, right) for left, right in pairs])

        return tile(tile, tile), codegen

    return add


def _with_row(tile: Tile, operation: str) -> Any:
    @intrinsic
    def with_row(typing_context: Any, value: Any, y: Any, index: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            compute = getattr(builder, operation)
            operands = row_vectors(builder, tile, args[1], args[2]) * tile.rows
            pairs = zip(tile_vectors(builder, tile, args[0]), operands, strict=True)
            return pack_tile(builder, tile, [compute(vector, operand) for vector, operand in pairs])

        return tile(tile, tile.pointer, types.int64), codegen

    return with_row


def _clamp(tile: Tile, keeps_nan: bool) -> Any:
    @intrinsic
    def clamp(typing_context: Any, value: Any, low: Any, high: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            low, high = (splat_value(builder, tile.vector, as_element(builder, tile.vector, a)) for a in args[1:])

            vectors = tile_vectors(builder, tile, args[0])
            bounded = [clamped(builder, tile.vector, vector, low, high, keeps_nan) for vector in vectors]
            return pack_tile(builder, tile, bounded)

        return tile(tile, types.float32, types.float32), codegen

    return clamp
