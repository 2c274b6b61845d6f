"""Tile registers of Intel's AMX: sums of 16 pixels x 16 output channels in each, beside the vector registers.

One instruction adds to the sums of a tile register the products of 16 pixels by up to 16 units of x, and as many rows
of 16 units of weights; a unit is a quad of bytes or a pair of bfloat16 and takes four bytes. Registers are named by
number and keep their values from call to call: they are no values of LLVM's.

    sums      0 … 3   pixels 0 to 15, then pixels 16 to 31; of each the vectors of output channels
    pixels    4 and 5   16 rows of ``chunk`` units
    weights   6 and 7   ``chunk`` rows of 16 units

Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapter 18.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from edgeinfer.simd.foreign_intrinsics import call_intrinsic
from edgeinfer.simd.pointers import FLOAT32_POINTER

_I8, _I16, _I64 = ir.IntType(8), ir.IntType(16), ir.IntType(64)

# Pixels of a tile register, which are its rows.
TILE_PIXELS = 16
# Most units of a pixel that one instruction multiplies: tile registers have rows of 64 bytes.
MOST_UNITS = 16
_ROW_BYTES, _UNIT_BYTES, _LANES = 64, 4, 16
_SUMS, _PIXELS, _WEIGHTS = 0, 4, 6

# What LLVM's intrinsics call the products.
BYTE_PRODUCTS, BFLOAT16_PRODUCTS = "tdpbusd", "tdpbf16ps"

# The configuration: 64 bytes, the palette first; bytes of a row from byte 16 on (two each), rows from byte 48 on.
_PALETTE, _FIRST_ROW_BYTES, _FIRST_ROWS = 1, 16, 48


class AmxTileOps:
    """Operations on tiles of up to 32 pixels by one or two vectors of 16 output channels.

    Pointers are to float32; places of pixels and weights, and what is from one to the next, count bytes.

    Attributes:
        columns: output channels of a tile.
        configure: ``configure(memory, chunk)``: clears all tile registers and sets their sizes; ``memory`` is used for
            64 bytes. ``chunk`` counts units of a pixel that are multiplied at once.
        release: ``release()``: gives the tile registers back; every ``configure`` needs one.
        begin: ``begin[n](row, index)``: every pixel of n groups of 16 starts with the sums from ``row[index]`` on.
        multiply: ``multiply[1](x, first, pitch, w, w_at)``: adds the products of a chunk to 16 pixels, which lie
            ``pitch`` apart from ``first`` on. ``multiply[2](x, first, second, pitch, w, w_at)``: to two groups of 16.
            Weights are rows of ``columns`` units.
        store: ``store[n](sums, index)``: writes the sums as rows of ``columns``.
        load: ``load[n](sums, index)``: reads them.
    """

    def __init__(self, vectors: int, products: str) -> None:
        self.columns = vectors * _LANES
        self.configure = _configure
        self.release = _release
        self.begin = {groups: _begin(groups, vectors) for groups in (1, 2)}
        self.multiply = {1: _multiply_one(vectors, products), 2: _multiply_two(vectors, products)}
        self.store = {groups: _sums_mover(groups, vectors, "tilestored64") for groups in (1, 2)}
        self.load = {groups: _sums_mover(groups, vectors, "tileloadd64") for groups in (1, 2)}


def _tile(number: int) -> Any:
    return ir.Constant(_I8, number)


def _call(builder: Any, name: str, arguments: list[Any]) -> None:
    call_intrinsic(builder, f"x86.{name}", ir.VoidType(), arguments)


def _at(builder: Any, pointer: Any, offset: Any) -> Any:
    """LLVM value: a pointer to bytes."""
    octets = builder.bitcast(pointer, _I8.as_pointer())
    return builder.gep(octets, [offset if isinstance(offset, ir.Value) else ir.Constant(_I64, offset)])


def _places(groups: int, vectors: int) -> list[tuple[int, int, int]]:
    """Tile registers of sums, with the group of pixels and the vector of output channels of each."""
    return [(_SUMS + group * vectors + j, group, j) for group in range(groups) for j in range(vectors)]


@intrinsic
def _configure(typing_context: Any, memory: Any, chunk: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        memory, chunk = args
        builder.store(ir.Constant(ir.VectorType(_I64, 8), [_PALETTE] + [0] * 7),
                      builder.bitcast(memory, ir.VectorType(_I64, 8).as_pointer()), align=4)  # fmt: skip
        chunk_bytes = builder.mul(chunk, ir.Constant(_I64, _UNIT_BYTES))
        sizes = [(ir.Constant(_I64, TILE_PIXELS), ir.Constant(_I64, _ROW_BYTES))] * (_PIXELS - _SUMS)
        sizes += [(ir.Constant(_I64, TILE_PIXELS), chunk_bytes)] * (_WEIGHTS - _PIXELS)
        sizes += [(chunk, ir.Constant(_I64, _ROW_BYTES))] * 2
        for number, (rows, row_bytes) in enumerate(sizes):
            builder.store(builder.trunc(rows, _I8), _at(builder, memory, _FIRST_ROWS + number), align=1)
            place = builder.bitcast(_at(builder, memory, _FIRST_ROW_BYTES + 2 * number), _I16.as_pointer())
            builder.store(builder.trunc(row_bytes, _I16), place, align=2)
        _call(builder, "ldtilecfg", [_at(builder, memory, 0)])
        return context.get_dummy_value()

    return types.void(FLOAT32_POINTER, types.int64), codegen


@intrinsic
def _release(typing_context: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _call(builder, "tilerelease", [])
        return context.get_dummy_value()

    return types.void(), codegen


def _begin(groups: int, vectors: int) -> Any:
    @intrinsic
    def begin(typing_context: Any, row: Any, index: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            pointer = builder.gep(args[0], [args[1]])
            for number, _, j in _places(groups, vectors):
                # All rows are the same: they are no bytes apart.
                _call(builder, "tileloadd64", [_tile(number), _at(builder, pointer, j * _ROW_BYTES), _zero()])
            return context.get_dummy_value()

        return types.void(FLOAT32_POINTER, types.int64), codegen

    return begin


def _zero() -> Any:
    return ir.Constant(_I64, 0)


def _multiply(builder: Any, vectors: int, products: str, pixels: list[Any], pitch: Any, weights: Any) -> None:
    """Emit the products of groups of 16 pixels with a chunk of weights; loads come just before their first use."""
    w_pitch = ir.Constant(_I64, vectors * _ROW_BYTES)
    for group, place in enumerate(pixels):
        _call(builder, "tileloadd64", [_tile(_PIXELS + group), place, pitch])
        for j in range(vectors):
            if group == 0:
                _call(builder, "tileloadd64", [_tile(_WEIGHTS + j), _at(builder, weights, j * _ROW_BYTES), w_pitch])
            numbers = _SUMS + group * vectors + j, _PIXELS + group, _WEIGHTS + j
            _call(builder, products, [_tile(number) for number in numbers])


def _multiply_one(vectors: int, products: str) -> Any:
    @intrinsic
    def multiply(typing_context: Any, x: Any, first: Any, pitch: Any, w: Any, w_at: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            x, first, pitch, w, w_at = args
            _multiply(builder, vectors, products, [_at(builder, x, first)], pitch, _at(builder, w, w_at))
            return context.get_dummy_value()

        arguments = (FLOAT32_POINTER, types.int64, types.int64, FLOAT32_POINTER, types.int64)
        return types.void(*arguments), codegen

    return multiply


def _multiply_two(vectors: int, products: str) -> Any:
    @intrinsic
    def multiply(typing_context: Any, x: Any, first: Any, second: Any, pitch: Any, w: Any, w_at: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            x, first, second, pitch, w, w_at = args
            pixels = [_at(builder, x, first), _at(builder, x, second)]
            _multiply(builder, vectors, products, pixels, pitch, _at(builder, w, w_at))
            return context.get_dummy_value()

        arguments = (FLOAT32_POINTER, types.int64, types.int64, types.int64, FLOAT32_POINTER, types.int64)
        return types.void(*arguments), codegen

    return multiply


def _sums_mover(groups: int, vectors: int, instruction: str) -> Any:
    @intrinsic
    def move(typing_context: Any, sums: Any, index: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            pointer = builder.gep(args[0], [args[1]])
            row_bytes = vectors * _ROW_BYTES
            for number, group, j in _places(groups, vectors):
                place = _at(builder, pointer, group * TILE_PIXELS * row_bytes + j * _ROW_BYTES)
                _call(builder, instruction, [_tile(number), place, ir.Constant(_I64, row_bytes)])
            return context.get_dummy_value()

        return types.void(FLOAT32_POINTER, types.int64), codegen

    return move
