"""Depthwise filters of bytes with int32 sums: each channel's taps times its own weights, all weights in registers.

A window is ``image_rows`` rows of ``pixels`` neighbouring outputs. The pixels under it are read once, column by column.
How products are added up is the level's ``dot``:

* ``sdot``, ``usdot``, ``vpdpbusd``: the pixels of four rows are interleaved, so that four taps of a channel make one
  quad. A column of them serves all outputs that it is under; with weights of 0 in the right places also those of
  different rows (on Arm). On x86 the four vectors of a row hold four channels of each block of sixteen, as
  ``store_blocks`` of ``edgeinfer.simd.byte_tile`` wants them.
* ``pairs`` on x86: the same with two rows at once, widened to words.
* otherwise: the products of two taps, signed bytes, are added in 16 bits and then to the sums; no weight is -128.

x is what the level's ``x_offset`` says.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from edgeinfer.simd.foreign_intrinsics import call_intrinsic, ordered_value
from edgeinfer.simd.pointers import UINT8_POINTER
from edgeinfer.simd.simd import Simd, element_pointer
from edgeinfer.simd.tile import Tile, offset_by, pack_tile, tile_vectors
from edgeinfer.simd.vectors import Vector
from edgeinfer.simd.word_tile import multiply_pairs

_I8, _I16, _I32, _I64 = ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.IntType(64)

# Rows of pixels whose taps make one quad.
QUAD_ROWS = 4
# Bytes of a block within which x86's instructions interleave.
BLOCK = 16


class ByteFilter:
    """A filter of one size for windows of outputs: ``pixels`` in a row, of ``vectors * lanes`` channels.

    Attributes:
        weight_bytes: bytes of the packed weights of a block of channels: [tap][channel], or with dot products
            [row of outputs][kernel column][quad of rows][channel][row].
        image_rows: rows of outputs that are computed together.
        load_weights: ``load_weights(w, index)``: those bytes as one value.
        hold_weights: ``hold_weights(weights, place)``: the same, for a loop whose turns each have another int64
            ``place``: LLVM would otherwise prepare parts of weights before the loop, and run out of registers.
        apply: ``apply(begin, weights, x, index, row_pitch, pixel_pitch)``: a tuple with a tile of int32 sums for each
            row of outputs: ``begin`` plus the filter's products with the pixels from ``x[index]`` on. Row i of a tile
            is output i; outputs are ``stride`` pixels apart, both ways.
    """

    def __init__(self, simd: Simd, size: int, stride: int, pixels: int, vectors: int) -> None:
        dot = simd.level.dot
        image_rows = image_rows_of(dot)
        sums = Tile(pixels, vectors, simd.lanes, "i32")
        if simd.level.byte_traits["quads"]:
            weights = Tile(image_rows * size * quads_of_rows(size), vectors, 4 * simd.lanes, "i8")
            by_words = dot == "pairs"
            products = (
                _pairs_of_rows(size, stride, sums) if by_words else _quads_of_rows(size, stride, image_rows, sums, dot)
            )
        else:
            weights = Tile(size * size, 1, vectors * simd.lanes, "i8")
            products = _pairs_of_taps(size, stride, image_rows, sums)
        self.weight_bytes = weights.rows * weights.vectors * weights.vector.lanes
        self.image_rows = image_rows
        self.load_weights = _load_weights(weights)
        self.hold_weights = _hold_weights(weights)
        self.apply = _apply(size, stride, image_rows, sums, weights, products, simd.level.by_lane)


def image_rows_of(dot: str) -> int:
    """Rows of outputs that are computed together: two on Arm, where quads serve both."""
    return 2 if dot in ("sdot", "usdot") else 1


def quads_of_rows(size: int) -> int:
    """Quads that the taps of a kernel column make."""
    return -(-size // QUAD_ROWS)


def _window_rows(size: int, stride: int, image_rows: int) -> int:
    return (image_rows - 1) * stride + size


def _load_weights(weights: Tile) -> Any:
    @intrinsic
    def load_weights(typing_context: Any, w: Any, index: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            vectors = []
            for place in range(weights.rows * weights.vectors):
                at = offset_by(builder, args[1], place * weights.vector.lanes)
                vectors.append(builder.load(element_pointer(builder, args[0], at, weights.vector), align=1))
            return pack_tile(builder, weights, vectors)

        return weights(UINT8_POINTER, types.int64), codegen

    return load_weights


def _hold_weights(weights: Tile) -> Any:
    @intrinsic
    def hold_weights(typing_context: Any, value: Any, place: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            vectors = [ordered_value(builder, vector, [args[1]]) for vector in tile_vectors(builder, weights, args[0])]
            return pack_tile(builder, weights, vectors)

        return weights(weights, types.int64), codegen

    return hold_weights


Column = Callable[[int, list[Any]], list[Any]]
Products = Callable[[Any, list[list[Any]], list[Any], Column], None]


def _apply(
    size: int, stride: int, image_rows: int, sums: Tile, weights: Tile, products: Products, ordered: bool
) -> Any:
    """See ``ByteFilter``; with ``ordered`` pixels are loaded one column after the other."""
    octets = Vector("i8", sums.vectors * sums.vector.lanes)
    result = types.UniTuple(sums, image_rows)

    @intrinsic
    def apply(typing_context: Any, tile: Any, weight: Any, x: Any, index: Any, row_pitch: Any, pixel_pitch: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            tile, weight, x, index, row_pitch, pixel_pitch = args
            # Or LLVM would move a pointer on for each load.
            first = builder.gep(x, [index])
            rows = [ordered_value(builder, first) if ordered else first]
            for _ in range(1, _window_rows(size, stride, image_rows)):
                rows.append(builder.gep(rows[-1], [row_pitch]))

            def column(number: int, after: list[Any]) -> list[Any]:
                at = builder.mul(pixel_pitch, ir.Constant(_I64, number))
                at = ordered_value(builder, at, after) if number and ordered else at
                return [builder.load(element_pointer(builder, row, at, octets), align=1) for row in rows]

            totals = [tile_vectors(builder, sums, tile) for _ in range(image_rows)]
            products(builder, totals, tile_vectors(builder, weights, weight), column)
            return cgutils.pack_array(builder, [pack_tile(builder, sums, row) for row in totals])

        return result(sums, weights, UINT8_POINTER, *[types.int64] * 3), codegen

    return apply


def _shuffled(builder: Any, a: Any, b: Any, places: list[int]) -> Any:
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(_I32, len(places)), places))


def _zipped(builder: Any, a: Any, b: Any, block: int, half: int) -> Any:
    """LLVM value: the elements of one half of each block of ``block`` elements of two vectors, by turns."""
    total, count = a.type.count, block // 2
    places = [first + half * count + place for first in range(0, total, block) for place in range(count)]
    return _shuffled(builder, a, b, [place for at in places for place in (at, total + at)])


def _quads_of_rows(size: int, stride: int, image_rows: int, sums: Tile, dot: str) -> Products:
    vectors, lanes = sums.vectors, sums.vector.lanes
    quads, octets = ir.VectorType(_I32, lanes), ir.VectorType(_I8, 4 * lanes)
    channels, groups = vectors * lanes, quads_of_rows(size)
    shared = rows_share_quads(size, stride, image_rows)

    def interleaved_in_blocks(builder: Any, parts: list[Any]) -> list[Any]:
        """Four rows of channels as four vectors of quads, see the module's text."""
        words = ir.VectorType(_I16, channels // 2)
        a, b, c, d = parts
        vectors = []
        for half in (0, 1):
            pairs = [builder.bitcast(_zipped(builder, *rows, BLOCK, half), words) for rows in ((a, b), (c, d))]
            for quarter in (0, 1):
                quad = _zipped(builder, pairs[0], pairs[1], BLOCK // 2, quarter)
                vectors.append(builder.bitcast(quad, octets))
        return vectors

    def interleaved(builder: Any, parts: list[Any]) -> list[Any]:
        """Four rows of channels as vectors of quads."""
        zipped = [place for channel in range(channels) for place in (channel, channels + channel)]
        pairs = [
            builder.bitcast(_shuffled(builder, a, b, zipped), ir.VectorType(_I16, channels))
            for a, b in (parts[:2], parts[2:])
        ]
        low, high = pairs
        return [
            builder.bitcast(
                _shuffled(
                    builder, low, high,
                    [place for lane in range(first, first + lanes) for place in (lane, channels + lane)],
                ),
                octets,
            )
            for first in range(0, channels, lanes)
        ]  # fmt: skip

    instruction = f"x86.avx512.{dot}.{32 * lanes}" if dot == "vpdpbusd" else f"aarch64.neon.{dot}.v4i32.v16i8"
    arranged = interleaved_in_blocks if dot == "vpdpbusd" else interleaved

    def products(builder: Any, totals: list[list[Any]], weights: list[Any], column: Column) -> None:
        for number in range((sums.rows - 1) * stride + size):
            pixels = column(number, [vector for row in totals for vector in row])
            # Rows beyond the kernel's last have weights of 0, whatever they hold.
            starts = [0 if shared else row * stride for row in range(image_rows)]
            values = {
                (start, group): arranged(
                    builder,
                    [pixels[min(start + QUAD_ROWS * group + row, len(pixels) - 1)] for row in range(QUAD_ROWS)],
                )
                for start in sorted(set(starts))
                for group in range(groups)
            }
            for image_row, output in [(a, b) for a in range(image_rows) for b in range(sums.rows)]:
                tap = number - output * stride
                if not 0 <= tap < size:
                    continue
                for group, j in [(a, b) for a in range(groups) for b in range(vectors)]:
                    at, value = output * vectors + j, values[starts[image_row], group][j]
                    weight = weights[((image_row * size + tap) * groups + group) * vectors + j]
                    pair = [weight, value] if dot == "sdot" else [value, weight]
                    totals[image_row][at] = call_intrinsic(builder, instruction, quads, [totals[image_row][at], *pair])

    return products


def _pairs_of_rows(size: int, stride: int, sums: Tile) -> Products:
    """One row of outputs by x86's ``pmaddwd``; weights are quads of rows."""
    vectors, lanes = sums.vectors, sums.vector.lanes
    octets, words = ir.VectorType(_I8, 4 * lanes), ir.VectorType(_I16, 2 * lanes)
    rows_of_pairs = range(0, size, 2)

    def widened_pixels(builder: Any, a: Any, b: Any) -> list[Any]:
        """Two rows of channels as four vectors of pairs of words, see the module's text."""
        halves = [_zipped(builder, a, b, BLOCK, half) for half in (0, 1)]
        zeros = ir.Constant(octets, None)
        return [
            builder.bitcast(_zipped(builder, half, zeros, BLOCK, quarter), words)
            for half in halves
            for quarter in (0, 1)
        ]

    def widened_weights(builder: Any, weights: list[Any], tap: int, first_row: int) -> list[Any]:
        """Those of a kernel column and two rows."""
        group, row = divmod(first_row, QUAD_ROWS)
        places = [QUAD_ROWS * lane + row + i for lane in range(lanes) for i in (0, 1)]
        first = (tap * quads_of_rows(size) + group) * vectors
        return [
            builder.sext(_shuffled(builder, vector, vector, places), words)
            for vector in weights[first : first + vectors]
        ]

    def products(builder: Any, totals: list[list[Any]], weights: list[Any], column: Column) -> None:
        (outputs,) = totals
        taps = {(tap, row): widened_weights(builder, weights, tap, row) for tap in range(size) for row in rows_of_pairs}
        for number in range((sums.rows - 1) * stride + size):
            pixels = column(number, outputs)
            # A row beyond the kernel's last has weights of 0, whatever it holds.
            values = {
                row: widened_pixels(builder, pixels[row], pixels[min(row + 1, size - 1)]) for row in rows_of_pairs
            }
            for output in range(sums.rows):
                tap = number - output * stride
                for row in rows_of_pairs if 0 <= tap < size else ():
                    for j, (value, weight) in enumerate(zip(values[row], taps[tap, row], strict=True)):
                        at = output * vectors + j
                        pair = multiply_pairs(builder, "x86_64", lanes, value, weight)
                        outputs[at] = builder.add(outputs[at], pair)

    return products


def rows_share_quads(size: int, stride: int, image_rows: int) -> bool:
    """Whether the quads of a column of pixels hold the taps of all rows of outputs."""
    return _window_rows(size, stride, image_rows) <= QUAD_ROWS * quads_of_rows(size)


def _pairs_of_taps(size: int, stride: int, image_rows: int, sums: Tile) -> Products:
    vectors, lanes = sums.vectors, sums.vector.lanes
    half = 2 * lanes
    quads, words = ir.VectorType(_I32, lanes), ir.VectorType(_I16, half)

    def add(builder: Any, totals: list[Any], output: int, factors: list[tuple[Any, Any]]) -> None:
        """Add the products of one tap or two, made in 16 bits, to an output's sums."""
        for first in range(0, vectors * lanes, half):
            places = list(range(first, first + half))
            wide = [[builder.sext(_shuffled(builder, v, v, places), words) for v in pair] for pair in factors]
            pairs = functools.reduce(builder.add, [builder.mul(a, b) for a, b in wide])
            for part in range(half // lanes):
                at, lowest = output * vectors + first // lanes + part, part * lanes
                some = _shuffled(builder, pairs, pairs, list(range(lowest, lowest + lanes)))
                totals[at] = builder.add(totals[at], builder.sext(some, quads))

    def products(builder: Any, totals: list[list[Any]], weights: list[Any], column: Column) -> None:
        outputs = [(row, output) for row in range(image_rows) for output in range(sums.rows)]
        waiting: dict[tuple[int, int], list[tuple[Any, Any]]] = {place: [] for place in outputs}
        for number in range((sums.rows - 1) * stride + size):
            pixels = column(number, [vector for row in totals for vector in row])
            for row, output in outputs:
                tap = number - output * stride
                for ky in range(size if 0 <= tap < size else 0):
                    waiting[row, output].append((pixels[row * stride + ky], weights[ky * size + tap]))
                    if len(waiting[row, output]) == 2 or (tap, ky) == (size - 1, size - 1):
                        add(builder, totals[row], output, waiting[row, output])
                        waiting[row, output] = []

    return products
