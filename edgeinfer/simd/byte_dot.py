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
from edgeinfer.simd.simd import Simd, element_pointer
from edgeinfer.simd.tile import Tile
from edgeinfer.simd.vectors import Vector, splat_value
from edgeinfer.simd.word_tile import MULTIPLY_PAIRS

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

    spread = _spread_quads(lanes, unsigned)
    return Dot(unsigned, signed, dot, spread, spread)


class ByteLanes:
    """Products of quads for ``edgeinfer.simd.lane_products``.

    Args:
        tile: the tile of sums.
        dot: how the level multiplies.
        grouped: whether the weights of whole vectors of quads are packed as ``dot.turned`` turns x.
    """

    def __init__(self, tile: Tile, dot: Dot, grouped: bool = False) -> None:
        self._tile, self._dot, self._grouped = tile, dot, grouped
        self.parts: tuple[int, ...] = (tile.vector.lanes, tile.vector.lanes // 2, 1)
        self.turns = 1
        self.temporaries = dot.temporaries
        self.loads_apart = dot.temporaries > 0 or tile.rows * (tile.vectors + 1) + tile.vectors > 30

    def load(self, builder: Any, pointer: Any, count: int) -> list[Any]:
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
