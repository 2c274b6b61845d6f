"""The inner loop of matrix products where multiply-adds take one lane of a vector as a factor (AArch64).

A turn reads vectors along k of every row of x, then for each k the weights of the tile's columns; two turns make the
body of most loops:

    tile[i, :] += x[i, k] * w[k, :]

Up to four vectors of weights come with one instruction. With the fewest instructions, every address is a pointer that
its own loads move on. A core in order lets such a load wait until all multiply-adds before it are done, and other loads
and additions for some of that time. For it the rows of x share one distance, loads of weights have pointers of their
own, and all additions of a turn stand beside its loads of x, where the core waits once for all.

The weights of the next products are loaded while those of the last ones are still in use where there are registers for
both, never earlier: LLVM's scheduler would load them all at once and run out of registers.
"""

from __future__ import annotations

from typing import Any, Protocol

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from edgeinfer.simd.foreign_intrinsics import call_intrinsic, ordered_value
from edgeinfer.simd.simd import element_pointer, load_element, pointer_to
from edgeinfer.simd.tile import Tile, pack_tile, tile_vectors
from edgeinfer.simd.vectors import llvm_function

_I64 = ir.IntType(64)
_MOST_VECTORS = 4
_ALL_REGISTERS = 32
ALL_LOADS = 1 << 20


class Lanes(Protocol):
    """How a level multiplies.

    Attributes:
        tile: the tile of sums while products are added.
        parts: how many products a turn adds, the largest first; the last is 1.
        turns: how often the body of the loop of the largest part does it.
        temporaries: registers that multiply-adds need between their operands and the sums.
        loads_apart: whether registers are so few that vectors of weights cannot be neighbours.
        shared_place: whether one distance moves on along k, and not a pointer for each row of x.
        moving_loads: how many loads of weights of a turn move their pointer on, if there are more; those after the
            next one have pointers of their own then.
    """

    tile: Tile
    parts: tuple[int, ...]
    turns: int
    temporaries: int
    loads_apart: bool
    shared_place: bool
    moving_loads: int

    def enter(self, builder: Any, sums: list[Any]) -> list[Any]:
        """LLVM values: the vectors of ``tile`` for those of the caller's tile."""
        ...

    def leave(self, builder: Any, sums: list[Any]) -> list[Any]:
        """LLVM values: the counterpart of ``enter``."""
        ...

    def load(self, builder: Any, rows: list[Any], count: int) -> list[list[Any]]:
        """LLVM values: for each row of ``tile`` vectors with the next ``count`` elements of rows of x."""
        ...

    def steps(self, count: int) -> int:
        """How many rounds of multiply-adds, each with ``tile.vectors`` vectors of weights, add ``count`` products."""
        ...

    def loads(self, count: int) -> int:
        """Vectors of weights that such a round reads."""
        ...

    def weights(self, builder: Any, loaded: list[Any], count: int) -> list[Any]:
        """LLVM values: the vectors of weights of rounds out of what was loaded for them."""
        ...

    def multiply_add(self, builder: Any, sums: Any, x: list[Any], k: int, count: int, weight: Any) -> Any:
        """LLVM value: a vector of sums plus round ``k`` of ``count`` products of a row of x and a vector of weights."""
        ...


class RowLanes:
    """What all have in common whose sums are rows of outputs and whose rounds add one product each."""

    shared_place, moving_loads = False, ALL_LOADS

    def __init__(self, tile: Tile) -> None:
        self.tile = tile

    def enter(self, builder: Any, sums: list[Any]) -> list[Any]:
        """LLVM values: as they are."""
        return sums

    def leave(self, builder: Any, sums: list[Any]) -> list[Any]:
        """LLVM values: as they are."""
        return sums

    def steps(self, count: int) -> int:
        """One round for each product."""
        return count

    def loads(self, count: int) -> int:
        """All of the tile's vectors."""
        return self.tile.vectors

    def weights(self, builder: Any, loaded: list[Any], count: int) -> list[Any]:
        """LLVM values: as they are."""
        return loaded

    def load(self, builder: Any, rows: list[Any], count: int) -> list[list[Any]]:
        """LLVM values: for each row vectors with its next ``count`` elements."""
        return [self.load_row(builder, row, count) for row in rows]

    def load_row(self, builder: Any, pointer: Any, count: int) -> list[Any]:
        """LLVM values: vectors with the next ``count`` elements of a row."""
        raise NotImplementedError


class FloatLanes(RowLanes):
    """Products of float32 or float16.

    Args:
        tile: the tile of sums.
        in_order: whether addresses move on by themselves, for cores where loads that do it wait for multiply-adds. That
            takes more instructions, so the first loads of tiles with many still do it, and those of single vectors or
            of three at once.
    """

    turns, temporaries, loads_apart = 2, 0, False

    def __init__(self, tile: Tile, in_order: bool = False) -> None:
        super().__init__(tile)
        if in_order:
            self.shared_place = tile.vectors < _MOST_VECTORS
            self.moving_loads = {2: 0, _MOST_VECTORS: 2}.get(tile.vectors, ALL_LOADS)
        self._vector = tile.vector
        lanes = tile.vector.lanes
        # Two vectors of each row of x where they and two loads of weights fit.
        self.parts: tuple[int, ...] = (lanes * 2, lanes, 1) if _registers(tile, 2, 2) <= _ALL_REGISTERS else (lanes, 1)

    def load_row(self, builder: Any, pointer: Any, count: int) -> list[Any]:
        """LLVM values: the next ``count`` numbers; a single one in all lanes."""
        vector = self._vector
        if count == 1:
            return [load_element(builder, vector, pointer, ir.Constant(_I64, 0))]
        places = range(0, count, vector.lanes)
        return [
            builder.load(
                element_pointer(builder, pointer, ir.Constant(_I64, place), vector), align=vector.element_bytes
            )
            for place in places
        ]

    def multiply_add(self, builder: Any, sums: Any, x: list[Any], k: int, count: int, weight: Any) -> Any:
        """LLVM value: a vector of sums plus the ``k``-th number times a vector of weights."""
        lanes = self._vector.lanes
        part, lane = divmod(k, lanes)
        index = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [lane] * lanes)
        factor = builder.shuffle_vector(x[part], ir.Constant(x[part].type, ir.Undefined), index)
        return builder.call(llvm_function(builder, "fmuladd", self._vector, 3), [factor, weight, sums])


def lane_products(tile: Tile, lanes: Lanes) -> Any:
    """An intrinsic ``products(tile, x, index, row_stride, w, w_index, count)``: adds ``count`` outer products.

    Product k is of the column ``x[index + k + i * row_stride]`` and the row of elements at
    ``w[w_index + k * columns]``.
    """
    # Sums of integers stand in the places of floats, which w and x point to.
    pointer = pointer_to(tile.vector)

    @intrinsic
    def products(
        typing_context: Any, accumulator: Any, x: Any, index: Any, row_stride: Any, w: Any, w_index: Any, count: Any
    ) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            accumulator, x, index, row_stride, w, w_index, count = args
            rows = [builder.gep(x, [index])]
            for _ in range(1, tile.rows):
                rows.append(builder.gep(rows[-1], [row_stride]))
            sums = lanes.enter(builder, tile_vectors(builder, tile, accumulator))
            state = _State(builder, lanes, sums, rows, builder.gep(w, [w_index]))
            above = 0
            repeated = [(lanes.parts[0], lanes.turns)] if lanes.turns > 1 else []
            for part, times in (*repeated, *((part, 1) for part in lanes.parts)):
                # As many as fit, then what is left: less than the parts above.
                left = builder.and_(count, ir.Constant(_I64, above - 1)) if above else count
                above = part * times
                state.loop(builder.lshr(left, ir.Constant(_I64, above.bit_length() - 1)), part, times)
            return pack_tile(builder, tile, lanes.leave(builder, state.sums))

        arguments = (tile, pointer, types.int64, types.int64, pointer, types.int64, types.int64)
        return tile(*arguments), codegen

    return products


def _registers(tile: Tile, parts: int, loads: int) -> int:
    """Registers of the sums, ``parts`` vectors of every row of x and ``loads`` loads of weights."""
    together = min(_MOST_VECTORS, tile.vectors * tile.vector.lanes)
    together -= together % tile.vectors if tile.vectors < _MOST_VECTORS else 0
    return tile.rows * (tile.vectors + parts) + loads * together


class _State:
    """The sums and addresses at one place of the code that is emitted."""

    def __init__(self, builder: Any, lanes: Lanes, sums: list[Any], rows: list[Any], weights: Any) -> None:
        self.builder = builder
        self.tile = lanes.tile
        self.lanes = lanes
        self.sums = sums
        # What moves on along k: the rows, or one distance in bytes from all of them.
        self.rows = [ordered_value(builder, row) for row in rows] if lanes.shared_place else []
        self.places = [ir.Constant(_I64, 0)] if lanes.shared_place else rows
        # While loads have pointers of their own, all of these are a step behind where a turn begins.
        self.weights = [weights]
        # Loads of this turn, and elements of weights that they read beyond the pointer.
        self.loaded = self.read = 0

    def loop(self, turns: Any, part: int, times: int) -> None:
        """Emit a loop whose turns add ``part`` products ``times`` times: whole vectors of k, or 1."""
        builder = self.builder
        before, body = builder.basic_block, builder.append_basic_block("products")
        after = builder.append_basic_block("products.end")
        zero = ir.Constant(_I64, 0)
        apart = part > 1 and self._vectors(part) > (self.lanes.moving_loads + 1) * _MOST_VECTORS
        if apart:
            self._take_apart(part)
        entering = [*self.sums, *self.places, *self.weights]
        builder.cbranch(builder.icmp_signed(">", turns, zero), body, after)
        builder.position_at_end(body)
        left = builder.phi(_I64)
        values = [builder.phi(value.type) for value in entering]
        self._split(values)
        for time in range(times):
            self._turn(part)
            # What the next turn in this body reads may not be loaded before this one's sums, see above.
            awaited = self.sums if time + 1 < times else ()
            self.places = [ordered_value(builder, place, awaited) for place in self.places]
            if awaited or apart:
                self.weights = [ordered_value(builder, pointer, awaited) for pointer in self.weights]
        leaving = [*self.sums, *self.places, *self.weights]
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
        if apart:
            self.weights = [self._beyond(self.weights[0], self._steps(part)[0])]

    def _split(self, values: list[Any]) -> None:
        count = self.tile.rows * self.tile.vectors
        last = count + len(self.places)
        self.sums, self.places, self.weights = values[:count], values[count:last], values[last:]

    def _beyond(self, weights: Any, vectors: int) -> Any:
        return self.builder.gep(weights, [ir.Constant(_I64, vectors * self.tile.vector.lanes)])

    def _vectors(self, part: int) -> int:
        """Vectors of weights that a turn reads."""
        return self.lanes.steps(part) * self.lanes.loads(part)

    def _take_apart(self, part: int) -> None:
        """Give pointers of their own to all loads of a turn but those that move the first one on, and the next."""
        places = zip(self._first_places(part), self._steps(part), strict=True)
        self.weights = [
            ordered_value(self.builder, self._beyond(self.weights[0], place - step)) for place, step in places
        ]

    def _first_places(self, part: int) -> list[int]:
        """Which vector of a turn's weights each pointer reads first."""
        return [0, *range((self.lanes.moving_loads + 1) * _MOST_VECTORS, self._vectors(part), _MOST_VECTORS)]

    def _steps(self, part: int) -> list[int]:
        """Vectors by which each pointer moves on where a turn begins."""
        vectors = self._vectors(part)
        others = len(self._first_places(part)) - 1
        return [vectors - self.lanes.moving_loads * _MOST_VECTORS] + [vectors] * others

    def _row_pointers(self) -> list[Any]:
        if not self.lanes.shared_place:
            return self.places
        builder, octets = self.builder, ir.IntType(8).as_pointer()
        return [builder.bitcast(builder.gep(builder.bitcast(row, octets), self.places), row.type) for row in self.rows]

    def _moved(self, place: Any, count: int) -> Any:
        if not self.lanes.shared_place:
            return self.builder.gep(place, [ir.Constant(_I64, count)])
        return self.builder.add(place, ir.Constant(_I64, count * self.tile.vector.element_bytes))

    def _begin_turn(self, part: int) -> list[list[Any]]:
        """Load vectors of rows, move all addresses on, and let nothing be computed before that is done."""
        factors = self.lanes.load(self.builder, self._row_pointers(), part)
        self.places = [self._moved(place, part) for place in self.places]
        apart = len(self.weights) > 1
        if part == 1 or not (apart or self.lanes.shared_place):
            return factors
        builder = self.builder
        if apart:
            moved = zip(self.weights, self._steps(part), strict=True)
            self.weights = [self._beyond(pointer, step) for pointer, step in moved]
        first, *further = [vector for row in factors for vector in row]
        others = self.places if self.lanes.shared_place else []
        first = ordered_value(builder, first, [*further, *self.weights[1:], *others])
        if apart:
            self.weights[0] = ordered_value(builder, self.weights[0], [first])
        every = iter([first, *(ordered_value(builder, vector, [first]) for vector in further)])
        return [[next(every) for _ in row] for row in factors]

    def _turn(self, turn: int) -> None:
        tile, rounds = self.tile, self.lanes.steps(turn)
        factors = self._begin_turn(turn)
        self.loaded = 0
        # Rounds whose weights come with one load, and how many of their multiply-adds go before the next load.
        step = max(1, min(rounds, _MOST_VECTORS // tile.vectors))
        loads = step * self.lanes.loads(turn)
        places = [(k, j, row) for k in range(step) for j in range(tile.vectors) for row in range(tile.rows)]
        if self.lanes.temporaries and tile.rows >= tile.vectors:
            # As few turned factors at once as there can be.
            places.sort(key=lambda place: (place[0], place[2]))
        both = _registers(tile, len(factors[0]), 2) + self.lanes.temporaries <= _ALL_REGISTERS
        before = len(places)
        if both:
            # A plain load keeps no multiply-add waiting for its address, and may come early enough for its data.
            before = before // 2 if len(self.weights) > 1 else before * 3 // 4
        weights = self._load_weights(loads)
        for first in range(0, rounds, step):
            following: list[Any] = []
            self._multiply(places[:before], factors, first, turn, weights)
            if first + step < rounds:
                at = self._next_pointer()
                self.weights[at] = ordered_value(self.builder, self.weights[at], self._awaited(places))
                following = self._load_weights(loads)
            self._multiply(places[before:], factors, first, turn, weights)
            weights = following
        if self.read:
            self.weights, self.read = [self.builder.gep(self.weights[0], [ir.Constant(_I64, self.read)])], 0

    def _multiply(
        self, places: list[tuple[int, int, int]], x: list[list[Any]], first: int, count: int, weights: list[Any]
    ) -> None:
        """Emit the multiply-adds at places (k, vector of weights, row), where k counts from ``first``."""
        vectors, weights = self.tile.vectors, self.lanes.weights(self.builder, weights, count)
        for k, j, row in places:
            at, weight = row * vectors + j, weights[k * vectors + j]
            self.sums[at] = self.lanes.multiply_add(self.builder, self.sums[at], x[row], first + k, count, weight)

    def _awaited(self, places: list[tuple[int, int, int]]) -> list[Any]:
        """The sums that the next weights are not loaded before: all, or the first half where that leaves registers."""
        if not self.lanes.temporaries or self.tile.rows < self.tile.vectors:
            return self.sums
        return [self.sums[row * self.tile.vectors + j] for _, j, row in places[: len(places) // 2]]

    def _next_pointer(self) -> int:
        """Which pointer the next load of weights uses."""
        return max(0, self.loaded - self.lanes.moving_loads) if len(self.weights) > 1 else 0

    def _load_weights(self, count: int) -> list[Any]:
        """The next ``count`` vectors of weights, up to four with one instruction.

        Only two where registers are few: four would have to be neighbours. Their pointer moves on once a turn.
        """
        builder, vector = self.builder, self.tile.vector
        loaded: list[Any] = []
        if self.lanes.loads_apart:
            places = [ir.Constant(_I64, self.read + place * vector.lanes) for place in range(count)]
            pointers = [element_pointer(builder, self.weights[0], place, vector) for place in places]
            loaded = [builder.load(pointer, align=vector.element_bytes) for pointer in pointers]
            self.read += count * vector.lanes
        while len(loaded) < count:
            together = min(_MOST_VECTORS, count - len(loaded))
            at = self._next_pointer()
            if together == 1:
                pointer = element_pointer(builder, self.weights[at], ir.Constant(_I64, 0), vector)
                loaded.append(builder.load(pointer, align=vector.element_bytes))
            else:
                result = ir.LiteralStructType([vector.llvm] * together)
                name = f"aarch64.neon.ld1x{together}.v{vector.lanes}{vector.kind}.p0"
                several = call_intrinsic(builder, name, result, [self.weights[at]])
                loaded += [builder.extract_value(several, index) for index in range(together)]
            if len(self.weights) == 1 or self.loaded < self.lanes.moving_loads:
                self.weights[at] = self._beyond(self.weights[at], together)
            self.loaded += 1
        return loaded
