"""The inner loop of matrix products where multiply-adds take one lane of a vector as a factor (AArch64).

A turn reads vectors along k of every row of x, then for each k the weights of the tile's columns; two turns make the
body of the loop:

    tile[i, :] += x[i, k] * w[k, :]

Every address is a pointer that its own loads move on, and up to four vectors of weights come with one instruction.
The weights of the next products are loaded while those of the last ones are still in use where there are registers for
both, never earlier: LLVM's scheduler would load them all at once and run out of registers.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from edgeinfer.simd.foreign_intrinsics import call_intrinsic, ordered_value
from edgeinfer.simd.simd import element_pointer, load_element
from edgeinfer.simd.tile import Tile, pack_tile, tile_vectors
from edgeinfer.simd.vectors import llvm_function

_I64 = ir.IntType(64)
_MOST_VECTORS = 4
_ALL_REGISTERS = 32


def lane_products(tile: Tile) -> Any:
    """An intrinsic ``products(tile, x, index, row_stride, w, w_index, count)``: adds ``count`` outer products.

    Product k is of the column ``x[index + k + i * row_stride]`` and the row of floats at ``w[w_index + k * columns]``.
    """

    @intrinsic
    def products(
        typing_context: Any, accumulator: Any, x: Any, index: Any, row_stride: Any, w: Any, w_index: Any, count: Any
    ) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            accumulator, x, index, row_stride, w, w_index, count = args
            rows = [builder.gep(x, [index])]
            for _ in range(1, tile.rows):
                rows.append(builder.gep(rows[-1], [row_stride]))
            state = _State(builder, tile, tile_vectors(builder, tile, accumulator), rows, builder.gep(w, [w_index]))
            lanes, above = tile.vector.lanes, 0
            largest = lanes * _pairs(tile)
            smaller = [part for part in (lanes, 1) if part < largest]
            for part, times in [(largest, 2), (largest, 1), *((part, 1) for part in smaller)]:
                # As many as fit, then what is left: less than the parts above.
                left = builder.and_(count, ir.Constant(_I64, above - 1)) if above else count
                above = part * times
                state.loop(builder.lshr(left, ir.Constant(_I64, above.bit_length() - 1)), part, times)
            return pack_tile(builder, tile, state.sums)

        arguments = (tile, tile.pointer, types.int64, types.int64, tile.pointer, types.int64, types.int64)
        return tile(*arguments), codegen

    return products


def _registers(tile: Tile, parts: int, loads: int) -> int:
    """Registers of the sums, ``parts`` vectors of every row of x and ``loads`` loads of weights."""
    together = min(_MOST_VECTORS, tile.vectors * tile.vector.lanes)
    together -= together % tile.vectors if tile.vectors < _MOST_VECTORS else 0
    return tile.rows * (tile.vectors + parts) + loads * together


def _pairs(tile: Tile) -> int:
    """Vectors of each row of x that a turn reads: two where they and two loads of weights fit."""
    return 2 if _registers(tile, 2, 2) <= _ALL_REGISTERS else 1


class _State:
    """The sums and pointers at one place of the code that is emitted."""

    def __init__(self, builder: Any, tile: Tile, sums: list[Any], rows: list[Any], weights: Any) -> None:
        self.builder = builder
        self.tile = tile
        self.sums = sums
        self.rows = rows
        self.weights = weights

    def loop(self, turns: Any, part: int, times: int) -> None:
        """Emit a loop whose turns add ``part`` products ``times`` times: whole vectors of k, or 1."""
        builder = self.builder
        before, body = builder.basic_block, builder.append_basic_block("products")
        after = builder.append_basic_block("products.end")
        zero = ir.Constant(_I64, 0)
        builder.cbranch(builder.icmp_signed(">", turns, zero), body, after)
        entering = [*self.sums, *self.rows, self.weights]
        builder.position_at_end(body)
        left = builder.phi(_I64)
        values = [builder.phi(value.type) for value in entering]
        self._split(values)
        for time in range(times):
            self._turn(part)
            # What the next turn in this body reads may not be loaded before this one's sums, see above.
            awaited = self.sums if time + 1 < times else ()
            step = ir.Constant(_I64, part)
            self.rows = [ordered_value(builder, builder.gep(row, [step]), awaited) for row in self.rows]
            self.weights = ordered_value(builder, self.weights, awaited) if awaited else self.weights
        leaving = [*self.sums, *self.rows, self.weights]
        fewer = builder.sub(left, ir.Constant(_I64, 1))
        builder.cbranch(builder.icmp_signed("!=", fewer, zero), body, after)
        left.add_incoming(turns, before)
        left.add_incoming(fewer, body)
        for phi, first, next_value in zip(values, entering, leaving, strict=True):
            phi.add_incoming(first, before)
            phi.add_incoming(next_value, body)
        builder.position_at_end(after)
        results = [builder.phi(value.type) for value in entering]
        for phi, first, last in zip(results, entering, leaving, strict=True):
            phi.add_incoming(first, before)
            phi.add_incoming(last, body)
        self._split(results)

    def _split(self, values: list[Any]) -> None:
        count = self.tile.rows * self.tile.vectors
        self.sums, self.rows, self.weights = values[:count], values[count:-1], values[-1]

    def _turn(self, turn: int) -> None:
        tile = self.tile
        factors = [self._factors(row, turn) for row in range(tile.rows)]
        # Products whose weights come with one load, and how many of their multiply-adds go before the next load.
        step = max(1, min(turn, _MOST_VECTORS // tile.vectors))
        places = [(k, j, row) for k in range(step) for j in range(tile.vectors) for row in range(tile.rows)]
        both = _registers(tile, _pairs(tile), 2) <= _ALL_REGISTERS
        before = len(places) * 3 // 4 if both else len(places)
        weights = self._load_weights(step * tile.vectors)
        for first in range(0, turn, step):
            following: list[Any] = []
            self._multiply(places[:before], factors, first, weights)
            if first + step < turn:
                self.weights = ordered_value(self.builder, self.weights, self.sums)
                following = self._load_weights(step * tile.vectors)
            self._multiply(places[before:], factors, first, weights)
            weights = following

    def _multiply(
        self, places: list[tuple[int, int, int]], factors: list[list[Any]], first: int, weights: list[Any]
    ) -> None:
        """Emit the multiply-adds at places (k, vector of weights, row), where k counts from ``first``."""
        builder, tile = self.builder, self.tile
        lanes = tile.vector.lanes
        multiply_add = llvm_function(builder, "fmuladd", tile.vector, 3)
        for k, j, row in places:
            part, lane = divmod(first + k, lanes)
            factor = factors[row][part]
            index = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [lane] * lanes)
            factor = builder.shuffle_vector(factor, ir.Constant(factor.type, ir.Undefined), index)
            at = row * tile.vectors + j
            self.sums[at] = builder.call(multiply_add, [factor, weights[k * tile.vectors + j], self.sums[at]])

    def _factors(self, row: int, turn: int) -> list[Any]:
        """The row's next ``turn`` numbers, as vectors; a single one in all lanes."""
        builder, vector, pointer = self.builder, self.tile.vector, self.rows[row]
        if turn == 1:
            return [load_element(builder, vector, pointer, ir.Constant(_I64, 0))]
        places = range(0, turn, vector.lanes)
        return [
            builder.load(
                element_pointer(builder, pointer, ir.Constant(_I64, place), vector), align=vector.element_bytes
            )
            for place in places
        ]

    def _load_weights(self, count: int) -> list[Any]:
        """The next ``count`` vectors of weights, up to four with one instruction."""
        builder, vector = self.builder, self.tile.vector
        loaded: list[Any] = []
        while len(loaded) < count:
            together = min(_MOST_VECTORS, count - len(loaded))
            if together == 1:
                pointer = element_pointer(builder, self.weights, ir.Constant(_I64, 0), vector)
                loaded.append(builder.load(pointer, align=vector.element_bytes))
            else:
                result = ir.LiteralStructType([vector.llvm] * together)
                name = f"aarch64.neon.ld1x{together}.v{vector.lanes}{vector.kind}.p0"
                several = call_intrinsic(builder, name, result, [self.weights])
                loaded += [builder.extract_value(several, index) for index in range(together)]
            self.weights = builder.gep(self.weights, [ir.Constant(_I64, together * vector.lanes)])
        return loaded
