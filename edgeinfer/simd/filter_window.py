"""Filters of depthwise convolutions on one vector of channels: a window of output pixels in registers.

The window has ``image_rows`` rows of ``tile.rows`` pixels. Its input pixels are read once each, from addresses that the
caller has at hand for all channels:

    window[r, i] = start + sum over taps ky, kx of pixel[r * stride + ky, i * stride + kx] * w[ky, kx]
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from edgeinfer.simd.foreign_intrinsics import ordered_value
from edgeinfer.simd.pointers import INT64_POINTER
from edgeinfer.simd.simd import element_pointer
from edgeinfer.simd.tile import Tile, offset_by, pack_tile, tile_vectors
from edgeinfer.simd.vectors import Vector, llvm_function

_I64 = ir.IntType(64)


class FilterWindow:
    """Operations on windows of one size.

    With ``by_offset`` pixels are read at the sum of two registers; LLVM might move every address on instead.

    Attributes:
        rows: rows of input pixels.
        columns: columns of input pixels.
        addresses: ``addresses(pixels, first, pitch)``: the addresses of the input pixels, row by row:
            ``pixels[first + row * pitch + column]``.
        filter: ``filter(addresses, at, start, start_index, w, w_index)``: a tuple with a tile for each row of the
            window. Pixels are read ``at`` bytes behind their addresses, all sums begin with the vector at
            ``start[start_index]``, and the taps' vectors of weights lie one after the other from ``w[w_index]`` on.
        filter_next: ``filter_next(addresses, start, start_index, w, w_index)``: the same for as many vectors of
            channels as the tile has, and the addresses of the channels behind these: each moves on as it is read from.
            Numbers of x are those of the tile.
    """

    def __init__(
        self, tile: Tile, image_rows: int, kernel: int, stride: int, octets: bool, by_offset: bool = False
    ) -> None:
        self.rows = (image_rows - 1) * stride + kernel
        self.columns = (tile.rows - 1) * stride + kernel
        self.addresses = _addresses(self.rows, self.columns)
        self.filter = _filter(tile, image_rows, kernel, stride, octets, by_offset, self.rows, self.columns)
        self.filter_next = _filter_next(tile, image_rows, kernel, stride, self.rows, self.columns)


def _addresses(rows: int, columns: int) -> Any:
    @intrinsic
    def addresses(typing_context: Any, pixels: Any, first: Any, pitch: Any) -> Any:
        result = types.UniTuple(types.int64, rows * columns)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            pixels, first, pitch = args
            starts = [builder.add(first, builder.mul(pitch, ir.Constant(_I64, row))) for row in range(rows)]
            places = [offset_by(builder, start, column) for start in starts for column in range(columns)]
            return cgutils.pack_array(builder, [builder.load(builder.gep(pixels, [place])) for place in places])

        return result(INT64_POINTER, types.int64, types.int64), codegen

    return addresses


def load_floats(builder: Any, address: Any, at: Any, vector: Vector, octets: bool) -> Any:
    """LLVM value: the float vector ``at`` bytes behind an address, or one converted from unsigned bytes there."""
    source = Vector("i8" if octets else vector.kind, vector.lanes)
    pointer = builder.inttoptr(builder.add(address, at), source.llvm.as_pointer())
    if not octets:
        return builder.load(pointer, align=vector.element_bytes)
    integers = builder.zext(builder.load(pointer, align=1), Vector("i32", vector.lanes).llvm)
    return builder.sitofp(integers, vector.llvm)


def _filter(
    tile: Tile,
    image_rows: int,
    kernel: int,
    stride: int,
    octets: bool,
    by_offset: bool,
    window_rows: int,
    window_columns: int,
) -> Any:
    vector, lanes = tile.vector, tile.vector.lanes

    @intrinsic
    def apply(typing_context: Any, addresses: Any, at: Any, start: Any, start_index: Any, w: Any, w_index: Any) -> Any:
        result = types.UniTuple(tile, image_rows)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            addresses, at, start, start_index, w, w_index = args
            at = ordered_value(builder, at) if by_offset else at
            first = builder.load(element_pointer(builder, start, start_index, vector), align=vector.element_bytes)
            sums = [[first] * tile.rows for _ in range(image_rows)]
            weights = [
                builder.load(
                    element_pointer(builder, w, offset_by(builder, w_index, tap * lanes), vector),
                    align=vector.element_bytes,
                )
                for tap in range(kernel * kernel)
            ]

            def pixel(place: int) -> Any:
                return load_floats(builder, builder.extract_value(addresses, place), at, vector, octets)

            for window_row in range(window_rows):
                values = [pixel(window_row * window_columns + column) for column in range(window_columns)]
                _add_row(builder, vector, sums, values, weights, window_row, kernel, stride)
            return cgutils.pack_array(builder, [pack_tile(builder, tile, row) for row in sums])

        pixel_addresses = types.UniTuple(types.int64, window_rows * window_columns)
        arguments = (pixel_addresses, types.int64, tile.pointer, types.int64, tile.pointer, types.int64)
        return result(*arguments), codegen

    return apply


def _add_row(
    builder: Any,
    vector: Vector,
    sums: list[list[Any]],
    values: list[Any],
    weights: list[Any],
    window_row: int,
    kernel: int,
    stride: int,
) -> None:
    """Emit the products of one row of input pixels, added to ``sums[row][column]`` of the window."""
    multiply_add = llvm_function(builder, "fmuladd", vector, 3)
    for row, columns in enumerate(sums):
        ky = window_row - row * stride
        for kx in range(kernel if 0 <= ky < kernel else 0):
            for i, total in enumerate(columns):
                factors = [values[i * stride + kx], weights[ky * kernel + kx], total]
                columns[i] = builder.call(multiply_add, factors)


def _filter_next(tile: Tile, image_rows: int, kernel: int, stride: int, window_rows: int, window_columns: int) -> Any:
    vector, lanes, count, taps = tile.vector, tile.vector.lanes, window_rows * window_columns, kernel * kernel
    vector_bytes = lanes * vector.element_bytes

    @intrinsic
    def apply(typing_context: Any, addresses: Any, start: Any, start_index: Any, w: Any, w_index: Any) -> Any:
        pixel_addresses = types.UniTuple(types.int64, count)
        result = types.Tuple([types.UniTuple(tile, image_rows), pixel_addresses])

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            addresses, start, start_index, w, w_index = args
            places = [builder.extract_value(addresses, place) for place in range(count)]
            parts = range(tile.vectors)

            def load(pointer: Any, index: Any) -> Any:
                return builder.load(element_pointer(builder, pointer, index, vector), align=vector.element_bytes)

            # By part: rows and columns of the window, and taps.
            sums, weights = [], []
            for part in parts:
                first = load(start, offset_by(builder, start_index, part * lanes))
                sums.append([[first] * tile.rows for _ in range(image_rows)])
                at = offset_by(builder, w_index, part * taps * lanes)
                weights.append([load(w, offset_by(builder, at, tap * lanes)) for tap in range(taps)])
            for window_row in range(window_rows):
                values: list[list[Any]] = [[] for _ in parts]
                for column in range(window_columns):
                    place = window_row * window_columns + column
                    for part in parts:
                        at = ir.Constant(_I64, part * vector_bytes)
                        values[part].append(load_floats(builder, places[place], at, vector, octets=False))
                    moved = builder.add(places[place], ir.Constant(_I64, tile.vectors * vector_bytes))
                    places[place] = ordered_value(builder, moved)
                for part in parts:
                    _add_row(builder, vector, sums[part], values[part], weights[part], window_row, kernel, stride)
            tiles = [
                pack_tile(builder, tile, [sums[part][row][i] for i in range(tile.rows) for part in parts])
                for row in range(image_rows)
            ]
            both = [cgutils.pack_array(builder, tiles), cgutils.pack_array(builder, places)]
            return context.make_tuple(builder, signature.return_type, both)

        arguments = (pixel_addresses, tile.pointer, types.int64, tile.pointer, types.int64)
        return result(*arguments), codegen

    return apply


def filter_tap(tile: Tile, octets: bool) -> Any:
    """An intrinsic ``add_tap(tile, pixels, first, step, at, w, w_index)``.

    It adds to row i the product of the vectors ``at`` bytes behind the address ``pixels[first + i * step]`` and at
    ``w[w_index]``.
    """
    vector = tile.vector

    @intrinsic
    def add_tap(
        typing_context: Any, accumulator: Any, pixels: Any, first: Any, step: Any, at: Any, w: Any, w_index: Any
    ) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            accumulator, pixels, first, step, at, w, w_index = args
            rows = tile_vectors(builder, tile, accumulator)
            multiply_add = llvm_function(builder, "fmuladd", vector, 3)
            weight = builder.load(element_pointer(builder, w, w_index, vector), align=vector.element_bytes)
            for row, value in enumerate(rows):
                place = builder.add(first, builder.mul(step, ir.Constant(_I64, row)))
                pixel = load_floats(builder, builder.load(builder.gep(pixels, [place])), at, vector, octets)
                rows[row] = builder.call(multiply_add, [pixel, weight, value])
            return pack_tile(builder, tile, rows)

        arguments = (tile, INT64_POINTER, *[types.int64] * 3, tile.pointer, types.int64)
        return tile(*arguments), codegen

    return add_tap
