"""How a level multiplies bytes: four products, of one quad of x and one of weights, are added to each lane.

How that is done is the level's ``dot``:

* ``vpdpbusd``: one instruction (AVX-512 VNNI, AVX-VNNI).
* ``usdot``: one instruction too (Arm i8mm).
* ``sdot``: one instruction for signed bytes (Arm dotprod), of x too: it is 128 less than with the others.
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

from edgeinfer.simd.foreign_intrinsics import call_intrinsic
from edgeinfer.simd.lane_products import ALL_LOADS, RowLanes
from edgeinfer.simd.simd import Simd, element_pointer
from edgeinfer.simd.tile import Tile
from edgeinfer.simd.vectors import Vector, splat_value
from edgeinfer.simd.word_tile import multiply_pairs

_I8, _I16, _I32, _I64 = ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.IntType(64)


@dataclass(frozen=True)
class Dot:
    """How a level multiplies vectors of quads; all functions take LLVM's builder first.

    Attributes:
        prepare_x: ``prepare_x(x)``: done to a vector that holds one quad of x in all lanes.
        prepare_w: ``prepare_w(w)``: done to a vector of quads of weights.
        dot: ``dot(sums, x, w)``: adds the products to the sums.
        spread: ``spread(x, lane)``: one quad of a vector in all lanes, prepared.
        turned: ``turned(x, turn)``: a vector of quads for weights of the same turn that are packed for that; as
            ``spread`` where none are.
        temporaries: registers that hold products before they are added.
    """

    prepare_x: Callable[[Any, Any], Any]
    prepare_w: Callable[[Any, Any], Any]
    dot: Callable[[Any, Any, Any, Any], Any]
    spread: Callable[[Any, Any, int], Any]
    turned: Callable[[Any, Any, int], Any]
    temporaries: int = 0


def _spread_quads(lanes: int, prepare: Callable[[Any, Any], Any]) -> Callable[[Any, Any, int], Any]:
    quads = ir.VectorType(_I32, lanes)

    def spread(builder: Any, value: Any, lane: int) -> Any:
        index = ir.Constant(quads, [lane] * lanes)
        return prepare(builder, builder.shuffle_vector(value, ir.Constant(quads, ir.Undefined), index))

    return spread


def _four_products(lanes: int, instruction: str, unsigned_x: bool) -> Dot:
    """An instruction that adds the four products of each lane."""
    quads, octets = ir.VectorType(_I32, lanes), ir.VectorType(_I8, 4 * lanes)

    def as_bytes(builder: Any, value: Any) -> Any:
        return builder.bitcast(value, octets)

    def dot(builder: Any, sums: Any, x: Any, w: Any) -> Any:
        # Of two signed operands the second can be one quad of a vector; of others LLVM finds that itself.
        return call_intrinsic(builder, instruction, quads, [sums, x, w] if unsigned_x else [sums, w, x])

    spread = _spread_quads(lanes, as_bytes)
    return Dot(as_bytes, as_bytes, dot, spread, spread)


def _smull() -> Dot:
    lanes = 4
    quads, octets = ir.VectorType(_I32, lanes), ir.VectorType(_I8, 16)
    words = ir.VectorType(_I16, 8)
    undefined = ir.Constant(octets, ir.Undefined)

    def shuffled(builder: Any, value: Any, places: list[int]) -> Any:
        return builder.shuffle_vector(value, undefined, ir.Constant(ir.VectorType(_I32, len(places)), places))

    def halves(builder: Any, value: Any) -> tuple[Any, Any]:
        return shuffled(builder, value, list(range(8))), shuffled(builder, value, list(range(8, 16)))

    def as_bytes(builder: Any, value: Any) -> Any:
        return builder.bitcast(value, octets)

    def spread(builder: Any, value: Any, lane: int) -> Any:
        places = [4 * lane, 4 * lane + 1] * lanes + [4 * lane + 2, 4 * lane + 3] * lanes
        return shuffled(builder, as_bytes(builder, value), places)

    def turned(builder: Any, value: Any, turn: int) -> Any:
        octet = as_bytes(builder, value)
        places = ir.Constant(ir.VectorType(_I32, 16), [(2 * turn + byte) % 16 for byte in range(16)])
        return builder.shuffle_vector(octet, octet, places) if turn else octet

    def prepare_x(builder: Any, value: Any) -> Any:
        return spread(builder, value, 0)

    def dot(builder: Any, sums: Any, x: Any, w: Any) -> Any:
        products = [
            call_intrinsic(builder, "aarch64.neon.smull.v8i16", words, [a, b])
            for a, b in zip(halves(builder, x), halves(builder, w), strict=True)
        ]
        pairs = call_intrinsic(builder, "aarch64.neon.saddlp.v4i32.v8i16", quads, [builder.add(*products)])
        return builder.add(sums, pairs)

    return Dot(prepare_x, as_bytes, dot, spread, turned, temporaries=8)


def dot_of(simd: Simd) -> Dot:
    """How a level multiplies."""
    lanes, kind = simd.lanes, simd.level.dot
    if kind == "vpdpbusd":
        return _four_products(lanes, f"x86.avx512.vpdpbusd.{32 * lanes}", True)
    if kind == "smull":
        return _smull()
    if kind in ("sdot", "usdot"):
        return _four_products(lanes, f"aarch64.neon.{kind}.v4i32.v16i8", kind == "usdot")
    return _pairs(lanes, simd.level.architecture)


def _pairs(lanes: int, architecture: str) -> Dot:
    words = ir.VectorType(_I16, 2 * lanes)
    eight = ir.Constant(words, [8] * (2 * lanes))

    def unsigned(builder: Any, value: Any) -> Any:
        value = builder.bitcast(value, words)
        return builder.and_(value, ir.Constant(words, [255] * (2 * lanes))), builder.lshr(value, eight)

    def signed(builder: Any, value: Any) -> Any:
        value = builder.bitcast(value, words)
        return builder.ashr(builder.shl(value, eight), eight), builder.ashr(value, eight)

    def dot(builder: Any, sums: Any, x: Any, w: Any) -> Any:
        for a, b in zip(x, w, strict=True):
            sums = builder.add(sums, multiply_pairs(builder, architecture, lanes, a, b))
        return sums

    spread = _spread_quads(lanes, unsigned)
    return Dot(unsigned, signed, dot, spread, spread)


class ByteLanes(RowLanes):
    """Products of quads for ``edgeinfer.simd.lane_products``.

    Args:
        tile: the tile of sums.
        dot: how the level multiplies.
        grouped: whether the weights of whole vectors of quads are packed as ``dot.turned`` turns x.
    """

    def __init__(self, tile: Tile, dot: Dot, grouped: bool = False) -> None:
        super().__init__(tile)
        self._tile, self._dot, self._grouped = tile, dot, grouped
        self.parts: tuple[int, ...] = (tile.vector.lanes, tile.vector.lanes // 2, 1)
        self.temporaries = dot.temporaries
        self.turns, self.shared_place = (2, True) if dot.temporaries else (1, False)
        self.loads_apart = dot.temporaries > 0 or tile.rows * (tile.vectors + 1) + tile.vectors > 30

    def load_row(self, builder: Any, pointer: Any, count: int) -> list[Any]:
        """LLVM values: the next ``count`` quads of a row of x as one vector, whatever is in its other lanes."""
        vector, lanes = self._tile.vector, self._tile.vector.lanes
        part = Vector("i32", count)
        place = element_pointer(builder, pointer, ir.Constant(_I64, 0), part if count > 1 else vector)
        if count == 1:
            scalar = builder.load(builder.bitcast(place, _I32.as_pointer()), align=4)
            return [splat_value(builder, vector, scalar)]
        quads = builder.load(place, align=4)
        if count < lanes:
            places = ir.Constant(vector.llvm, [min(lane, count - 1) for lane in range(lanes)])
            quads = builder.shuffle_vector(quads, ir.Constant(part.llvm, ir.Undefined), places)
        return [quads]

    def multiply_add(self, builder: Any, sums: Any, quads: list[Any], k: int, count: int, weight: Any) -> Any:
        """LLVM value: the sums plus the products of the ``k``-th of ``count`` quads."""
        turned = self._grouped and count == self._tile.vector.lanes
        value = (self._dot.turned if turned else self._dot.spread)(builder, quads[0], k)
        return self._dot.dot(builder, sums, value, self._dot.prepare_w(builder, weight))


class MatrixLanes:
    """Products of quads by ``usmmla``: each adds two rows of eight bytes times two columns of eight to four sums.

    Vector j of row i of the tile holds outputs 2j and 2j + 1 of rows 2i and 2i + 1. Weights of two quads lie column by
    column, those of a last single quad as for ``ByteLanes``.

    Args:
        tile: the caller's tile of sums, with an even number of rows.
    """

    turns, temporaries = 1, 0
    shared_place, moving_loads = False, ALL_LOADS
    parts: tuple[int, ...] = (4, 2, 1)

    def __init__(self, tile: Tile) -> None:
        self.tile = Tile(tile.rows // 2, 2 * tile.vectors, tile.vector.lanes, "i32")
        self.loads_apart = self.tile.rows * (self.tile.vectors + 1) + self.tile.vectors > 30

    def enter(self, builder: Any, sums: list[Any]) -> list[Any]:
        """LLVM values: sums of two rows, two columns each."""
        vectors = self.tile.vectors // 2
        pairs = [
            (sums[2 * row * vectors + j], sums[(2 * row + 1) * vectors + j])
            for row in range(self.tile.rows) for j in range(vectors)
        ]  # fmt: skip
        return [half for pair in pairs for half in _halves_of_two(builder, *pair)]

    def leave(self, builder: Any, sums: list[Any]) -> list[Any]:
        """LLVM values: sums row by row."""
        rows: list[Any] = []
        for first in range(0, len(sums), self.tile.vectors):
            row = sums[first : first + self.tile.vectors]
            pairs = [_halves_of_two(builder, a, b) for a, b in zip(row[::2], row[1::2], strict=True)]
            rows += [*(upper for upper, _ in pairs), *(lower for _, lower in pairs)]
        return rows

    def steps(self, count: int) -> int:
        """One round for each two quads."""
        return max(1, count // 2)

    def loads(self, count: int) -> int:
        """Half as many for a single quad."""
        return self.tile.vectors if count > 1 else self.tile.vectors // 2

    def load(self, builder: Any, rows: list[Any], count: int) -> list[list[Any]]:
        """LLVM values: for each two rows their next quads, two of each in a vector."""
        read = [self._load_row(builder, row, count) for row in rows]
        joined = [_halves_of_two(builder, a, b) for a, b in zip(read[::2], read[1::2], strict=True)]
        return [list(pair[: self.steps(count)]) for pair in joined]

    def _load_row(self, builder: Any, pointer: Any, count: int) -> Any:
        vector = self.tile.vector
        element = ir.IntType(32 * count)
        if count == vector.lanes:
            return builder.load(element_pointer(builder, pointer, ir.Constant(_I64, 0), vector), align=4)
        scalar = builder.load(builder.bitcast(pointer, element.as_pointer()), align=4)
        whole = ir.Constant(ir.VectorType(element, vector.lanes // count), None)
        return builder.bitcast(builder.insert_element(whole, scalar, ir.Constant(_I32, 0)), vector.llvm)

    def weights(self, builder: Any, loaded: list[Any], count: int) -> list[Any]:
        """LLVM values: as they are; of single quads two columns each, with zeros behind them."""
        if count > 1:
            return loaded
        zeros, index = ir.Constant(self.tile.vector.llvm, None), ir.VectorType(_I32, 4)
        return [
            builder.shuffle_vector(vector, zeros, ir.Constant(index, [first, 4, first + 1, 4]))
            for vector in loaded for first in (0, 2)
        ]  # fmt: skip

    def multiply_add(self, builder: Any, sums: Any, x: list[Any], k: int, count: int, weight: Any) -> Any:
        """LLVM value: the sums plus the products of round ``k``."""
        octets = ir.VectorType(_I8, 16)
        factors = [builder.bitcast(x[k], octets), builder.bitcast(weight, octets)]
        return call_intrinsic(builder, "aarch64.neon.usmmla.v4i32.v16i8", sums.type, [sums, *factors])


def _halves_of_two(builder: Any, a: Any, b: Any) -> tuple[Any, Any]:
    """The first halves of two int32 vectors of four side by side, and the second ones."""
    index = ir.VectorType(_I32, 4)
    first, second = ([place, place + 1, place + 4, place + 5] for place in (0, 2))
    return tuple(builder.shuffle_vector(a, b, ir.Constant(index, places)) for places in (first, second))
