"""float32 vectors rounded to bytes, half to even, in the fewest instructions that each architecture has for it.

With integers ``low`` and ``high``, the bounds of the result less its zero point,

    byte = min(max(round(value), low), high) + zero_point

Where vectors can be narrowed with saturation that does most of the bounding: ``round(value) - low`` saturates at 0.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils

from edgeinfer.simd.foreign_intrinsics import call_intrinsic
from edgeinfer.simd.simd import Simd
from edgeinfer.simd.vectors import Vector, splat_value

_I8, _I16, _I32 = ir.IntType(8), ir.IntType(16), ir.IntType(32)

# Adding and taking away 1.5 * 2**23 rounds a float32 below 2**22 to the nearest integer, half to even, and leaves
# that integer in the low bits.
ROUNDER = 12582912.0
ROUNDER_BITS = 0x4B400000

# Floats below, plus a byte, are words once they are rounded.
PLAIN_LIMIT = 32512.0

# Lanes of AVX-512's vectors.
WIDEST = 16

# Vectors that are narrowed together: four of int32 make one of bytes.
GROUP = 4


def rounded_bytes(builder: Any, vector: Any, zero_point: Any, lanes: int) -> Any:
    """LLVM value: ``<lanes x i8>`` of a float vector rounded half to even, plus an int64; wraps around."""
    integers, octets = Vector("i32", lanes), Vector("i8", lanes)
    shift = builder.sub(builder.trunc(zero_point, _I32), ir.Constant(_I32, ROUNDER_BITS))
    rounder = ir.Constant(Vector("f32", lanes).llvm, [ROUNDER] * lanes)
    bits = builder.bitcast(builder.fadd(vector, rounder), integers.llvm)
    return builder.trunc(builder.add(bits, splat_value(builder, integers, shift)), octets.llvm)


class ByteRounder:
    """Rounds up to ``GROUP`` vectors at once, see the module's text.

    Args:
        builder: LLVM's builder.
        simd: the level's vectors.
        low: float32, a whole number of magnitude below 512.
        high: the same, not below ``low``.
        zero_point: int64.
    """

    def __init__(self, builder: Any, simd: Simd, low: Any, high: Any, zero_point: Any) -> None:
        self._builder, self._lanes = builder, simd.lanes
        self._low, self._high, self._zero_point = low, high, zero_point
        architecture = simd.level.architecture
        if architecture == "aarch64":
            self._packed = self._by_neon
        elif architecture == "x86_64" and simd.lanes in _X86_NAMES:
            self._packed = self._by_sse
        else:
            self._packed = self._one_by_one

    def __call__(self, vectors: list[Any]) -> list[Any]:
        """LLVM values: ``<lanes x i8>`` for each vector."""
        groups = [vectors[at : at + GROUP] for at in range(0, len(vectors), GROUP)]
        return [part for group in groups for part in self._parts(group, 1)]

    def in_order(self, vectors: list[Any]) -> Any:
        """LLVM value: the bytes of ``GROUP`` vectors in the order that packing brings them into.

        On x86 that is by blocks of 128 bits: four bytes of each vector, then those of the next block.
        """
        return self._packed(vectors)[0]

    def rows(self, vectors: list[Any], row_vectors: int) -> list[list[Any]]:
        """LLVM values: for each row of ``row_vectors`` vectors the bytes to be stored one behind another."""
        if row_vectors < GROUP:
            step = GROUP // row_vectors * row_vectors
            groups = [vectors[at : at + step] for at in range(0, len(vectors), step)]
            return [[part] for group in groups for part in self._parts(group, row_vectors)]
        return [
            [
                part
                for at in range(first, first + row_vectors, GROUP)
                for part in self._parts(vectors[at : min(at + GROUP, first + row_vectors)], GROUP)
            ]
            for first in range(0, len(vectors), row_vectors)
        ]

    def _parts(self, vectors: list[Any], together: int) -> list[Any]:
        """The bytes of at most ``GROUP`` vectors, those of ``together`` neighbours side by side."""
        octets, places = self._packed(vectors)
        runs = [places[at : at + together] for at in range(0, len(vectors), together)]
        return [self._pick(octets, [place for run in part for place in run]) for part in runs]

    def _pick(self, octets: Any, places: list[int]) -> Any:
        if places == list(range(octets.type.count)):
            return octets
        index = ir.Constant(ir.VectorType(_I32, len(places)), places)
        return self._builder.shuffle_vector(octets, ir.Constant(octets.type, ir.Undefined), index)

    def _joined(self, a: Any, b: Any) -> Any:
        """Two vectors side by side, the second no longer than the first."""
        builder, count, added = self._builder, a.type.count, b.type.count
        if added < count:
            places = [min(place, added - 1) for place in range(count)]
            b = builder.shuffle_vector(
                b, ir.Constant(b.type, ir.Undefined), ir.Constant(ir.VectorType(_I32, count), places)
            )
        index = ir.Constant(ir.VectorType(_I32, count + added), list(range(count + added)))
        return builder.shuffle_vector(a, b, index)

    def _splat(self, element: Any, count: int, scalar: Any) -> Any:
        vector = ir.VectorType(element, count)
        undefined = ir.Constant(vector, ir.Undefined)
        first = self._builder.insert_element(undefined, scalar, ir.Constant(_I32, 0))
        zeros = ir.Constant(ir.VectorType(_I32, count), [0] * count)
        return self._builder.shuffle_vector(first, undefined, zeros)

    def _generic(self, name: str, a: Any, b: Any) -> Any:
        element = a.type.element.width
        function_type = ir.FunctionType(a.type, [a.type, a.type])
        full_name = f"llvm.{name}.v{a.type.count}i{element}"
        return self._builder.call(
            cgutils.get_or_insert_function(self._builder.module, function_type, full_name), [a, b]
        )

    def _less_low(self, words: Any) -> Any:
        low = self._splat(_I16, words.type.count, self._builder.fptosi(self._low, _I16))
        return self._generic("ssub.sat", words, low)

    def _plus_lowest(self, octets: Any) -> Any:
        builder = self._builder
        lowest = builder.add(builder.fptosi(self._low, _I32), builder.trunc(self._zero_point, _I32))
        return builder.add(octets, self._splat(_I8, octets.type.count, builder.trunc(lowest, _I8)))

    def _by_neon(self, vectors: list[Any]) -> tuple[Any, list[list[int]]]:
        builder = self._builder
        quads, words, octets = ir.VectorType(_I32, 4), ir.VectorType(_I16, 4), ir.VectorType(_I8, 8)
        rounded = [call_intrinsic(builder, "aarch64.neon.fcvtns.v4i32.v4f32", quads, [vector]) for vector in vectors]
        narrow = [call_intrinsic(builder, "aarch64.neon.sqxtn.v4i16", words, [vector]) for vector in rounded]
        pairs = [
            self._less_low(self._joined(a, b)) for a, b in zip(narrow[::2], [*narrow[1::2], narrow[-1]], strict=False)
        ]
        halves = [call_intrinsic(builder, "aarch64.neon.sqxtun.v8i8", octets, [pair]) for pair in pairs]
        value = self._joined(*halves) if len(halves) == 2 else halves[0]
        range_of = builder.fptosi(builder.fsub(self._high, self._low), _I32)
        most = self._splat(_I8, value.type.count, builder.trunc(range_of, _I8))
        value = self._plus_lowest(self._generic("umin", value, most))
        return value, [list(range(4 * index, 4 * index + 4)) for index in range(len(vectors))]

    def _by_sse(self, vectors: list[Any]) -> tuple[Any, list[list[int]]]:
        builder, lanes = self._builder, self._lanes
        to_integers, to_words, to_bytes = _X86_NAMES[lanes]
        quads, words, octets = ir.VectorType(_I32, lanes), ir.VectorType(_I16, 2 * lanes), ir.VectorType(_I8, 4 * lanes)
        high = splat_value(builder, Vector("f32", lanes), self._high)
        # The instruction of AVX-512 has what masked lanes hold, the mask, and how to round: as the processor is set.
        rounding = [ir.Constant(quads, None), ir.Constant(_I16, -1), ir.Constant(_I32, 4)] if lanes == WIDEST else []

        def rounded(vector: Any) -> Any:
            # What is too large would become the least integer.
            bounded = builder.select(builder.fcmp_ordered("<", vector, high), vector, high)
            return call_intrinsic(builder, to_integers, quads, [bounded, *rounding])

        integers = [rounded(vector) for vector in vectors]
        pairs = [
            self._less_low(call_intrinsic(builder, to_words, words, [a, b]))
            for a, b in zip(integers[::2], [*integers[1::2], integers[-1]], strict=False)
        ]
        value = self._plus_lowest(call_intrinsic(builder, to_bytes, octets, [pairs[0], pairs[-1]]))
        # Packing keeps to blocks of 128 bits: each holds four lanes of each vector.
        blocks = range(0, 4 * lanes, 16)
        return value, [
            [first + 4 * index + byte for first in blocks for byte in range(4)] for index in range(len(vectors))
        ]

    def _one_by_one(self, vectors: list[Any]) -> tuple[Any, list[list[int]]]:
        builder, lanes = self._builder, self._lanes
        vector_type = Vector("f32", lanes)
        low, high = splat_value(builder, vector_type, self._low), splat_value(builder, vector_type, self._high)

        def bounded(vector: Any) -> Any:
            vector = builder.select(builder.fcmp_ordered("<", vector, low), low, vector)
            return builder.select(builder.fcmp_ordered(">", vector, high), high, vector)

        value = rounded_bytes(builder, bounded(vectors[0]), self._zero_point, lanes)
        for vector in vectors[1:]:
            part = rounded_bytes(builder, bounded(vector), self._zero_point, lanes)
            value = self._joined(value, part)
        return value, [list(range(lanes * index, lanes * index + lanes)) for index in range(len(vectors))]


class PlainByteRounder(ByteRounder):
    """The same on AArch64 where bounds are those of the level's bytes and floats stay below ``PLAIN_LIMIT``.

    The zero point is added while floats are rounded: it has to be even, or ties would go to odd numbers.
    """

    def __init__(self, builder: Any, simd: Simd, zero_point: Any) -> None:
        zero = builder.sitofp(zero_point, ir.FloatType())
        super().__init__(builder, simd, zero, zero, zero_point)
        rounder = builder.fadd(zero, ir.Constant(ir.FloatType(), ROUNDER))
        self._rounder = splat_value(builder, simd.vector, rounder)
        self._narrow = "sqxtn" if simd.level.byte_traits["x_offset"] else "sqxtun"
        self._packed = self._by_words

    def _by_words(self, vectors: list[Any]) -> tuple[Any, list[list[int]]]:
        builder = self._builder
        words, octets = ir.VectorType(_I16, 8), ir.VectorType(_I8, 8)
        # The low halves of the sums' bits.
        even = ir.Constant(ir.VectorType(_I32, 8), list(range(0, 16, 2)))
        bits = [builder.bitcast(builder.fadd(vector, self._rounder), words) for vector in vectors]
        pairs = [builder.shuffle_vector(a, b, even) for a, b in zip(bits[::2], [*bits[1::2], bits[-1]], strict=False)]
        name = f"aarch64.neon.{self._narrow}.v8i8"
        halves = [call_intrinsic(builder, name, octets, [pair]) for pair in pairs]
        value = self._joined(*halves) if len(halves) == 2 else halves[0]
        return value, [list(range(4 * index, 4 * index + 4)) for index in range(len(vectors))]


_X86_NAMES = {
    WIDEST: ("x86.avx512.mask.cvtps2dq.512", "x86.avx512.packssdw.512", "x86.avx512.packuswb.512"),
    8: ("x86.avx.cvt.ps2dq.256", "x86.avx2.packssdw", "x86.avx2.packuswb"),
    4: ("x86.sse2.cvtps2dq", "x86.sse2.packssdw.128", "x86.sse2.packuswb.128"),
}
