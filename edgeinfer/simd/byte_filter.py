"""Depthwise filters of bytes with int32 sums: each channel's taps times its own weights, all weights in registers.

How products are added up is the level's ``dot``:

* ``sdot``, ``usdot``: the pixels of four kernel rows are interleaved, so that four taps of a channel make one quad. A
  column of them serves all outputs that it is under.
* otherwise: the products of two taps, signed bytes, are added in 16 bits and then to the sums; no weight is -128.

x has the level's ``x_offset`` taken off.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from edgeinfer.simd.foreign_intrinsics import call_intrinsic
from edgeinfer.simd.pointers import UINT8_POINTER
from edgeinfer.simd.simd import Simd, element_pointer
from edgeinfer.simd.tile import Tile, offset_by, pack_tile, tile_vectors
from edgeinfer.simd.vectors import Vector

_I8, _I16, _I32, _I64 = ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.IntType(64)

# Kernel rows whose taps make one quad.
QUAD_ROWS = 4


class ByteFilter:
    """A filter of one size for ``pixels`` neighbouring outputs of ``vectors * lanes`` channels.

    Attributes:
        weight_bytes: bytes of the packed weights of a block of channels: [tap][channel], or with dot products
            [kernel column][quad of rows][channel][row].
        load_weights: ``load_weights(w, index)``: those bytes as one value.
        apply: ``apply(sums, weights, x, index, row_pitch, pixel_pitch)``: the int32 tile ``sums`` plus the filter's
            products with the pixels from ``x[index]`` on; row i of the tile is output i, ``stride`` pixels on.
    """

    def __init__(self, simd: Simd, size: int, stride: int, pixels: int, vectors: int) -> None:
        sums = Tile(pixels, vectors, simd.lanes, "i32")
        by_dot = simd.level.dot in ("sdot", "usdot")
        if by_dot:
            weights = Tile(size * -(-size // QUAD_ROWS), vectors, 4 * simd.lanes, "i8")
            products = _quads_of_rows(size, stride, sums, simd.level.dot)
        else:
            weights = Tile(size * size, 1, vectors * simd.lanes, "i8")
            products = _pairs_of_taps(size, stride, sums)
        self.weight_bytes = weights.rows * weights.vectors * weights.vector.lanes
        self.load_weights = _load_weights(weights)
        self.apply = _apply(size, stride, sums, weights, products)


def uses_quads(dot: str) -> bool:
    """Whether weights are packed for dot products."""
    return dot in ("sdot", "usdot")


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


Pixel = Callable[[int, int], Any]
Products = Callable[[Any, list[Any], list[Any], Pixel], list[Any]]


def _apply(size: int, stride: int, sums: Tile, weights: Tile, products: Products) -> Any:
    octets = Vector("i8", sums.vectors * sums.vector.lanes)

    @intrinsic
    def apply(typing_context: Any, tile: Any, weight: Any, x: Any, index: Any, row_pitch: Any, pixel_pitch: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            tile, weight, x, index, row_pitch, pixel_pitch = args
            rows = [builder.add(index, builder.mul(row_pitch, ir.Constant(_I64, row))) for row in range(size)]
            steps = [
                builder.mul(pixel_pitch, ir.Constant(_I64, column)) for column in range((sums.rows - 1) * stride + size)
            ]

            def pixel(row: int, column: int) -> Any:
                at = builder.add(rows[row], steps[column])
                return builder.load(element_pointer(builder, x, at, octets), align=1)

            totals = products(builder, tile_vectors(builder, sums, tile), tile_vectors(builder, weights, weight), pixel)
            return pack_tile(builder, sums, totals)

        return sums(sums, weights, UINT8_POINTER, *[types.int64] * 3), codegen

    return apply


def _shuffled(builder: Any, a: Any, b: Any, places: list[int]) -> Any:
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(_I32, len(places)), places))


def _quads_of_rows(size: int, stride: int, sums: Tile, dot: str) -> Products:
    vectors, lanes = sums.vectors, sums.vector.lanes
    quads, octets = ir.VectorType(_I32, lanes), ir.VectorType(_I8, 4 * lanes)
    groups = -(-size // QUAD_ROWS)
    channels = vectors * lanes

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

    def products(builder: Any, totals: list[Any], weights: list[Any], pixel: Pixel) -> list[Any]:
        for column in range((sums.rows - 1) * stride + size):
            for group in range(groups):
                # Rows beyond the kernel's last have weights of 0, whatever they hold.
                rows = [min(QUAD_ROWS * group + row, size - 1) for row in range(QUAD_ROWS)]
                values = interleaved(builder, [pixel(row, column) for row in rows])
                for output in range(sums.rows):
                    tap = column - output * stride
                    if not 0 <= tap < size:
                        continue
                    for j, value in enumerate(values):
                        at, weight = output * vectors + j, weights[(tap * groups + group) * vectors + j]
                        pair = [value, weight] if dot == "usdot" else [weight, value]
                        totals[at] = call_intrinsic(
                            builder, f"aarch64.neon.{dot}.v4i32.v16i8", quads, [totals[at], *pair]
                        )
        return totals

    return products


def _pairs_of_taps(size: int, stride: int, sums: Tile) -> Products:
    vectors, lanes = sums.vectors, sums.vector.lanes
    half = 2 * lanes
    quads, words = ir.VectorType(_I32, lanes), ir.VectorType(_I16, half)
    taps = [(row, column) for row in range(size) for column in range(size)]

    def products(builder: Any, totals: list[Any], weights: list[Any], pixel: Pixel) -> list[Any]:
        loaded: dict[tuple[int, int], Any] = {}

        def value(row: int, column: int) -> Any:
            if (row, column) not in loaded:
                loaded[row, column] = pixel(row, column)
            return loaded[row, column]

        def product(tap: int, output: int, first: int) -> Any:
            row, column = taps[tap]
            factors = (value(row, output * stride + column), weights[tap])
            parts = [_shuffled(builder, factor, factor, list(range(first, first + half))) for factor in factors]
            return builder.mul(*[builder.sext(part, words) for part in parts])

        for output in range(sums.rows):
            for tap in range(0, size * size, 2):
                for first in range(0, vectors * lanes, half):
                    pair = product(tap, output, first)
                    if tap + 1 < size * size:
                        pair = builder.add(pair, product(tap + 1, output, first))
                    for part in range(half // lanes):
                        at = output * vectors + first // lanes + part
                        places = list(range(part * lanes, part * lanes + lanes))
                        wide = builder.sext(_shuffled(builder, pair, pair, places), quads)
                        totals[at] = builder.add(totals[at], wide)
        return totals

    return products
