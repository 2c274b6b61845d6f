"""Transposing square blocks of elements of four bytes in registers."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from edgeinfer.simd.pointers import INT32_POINTER
from edgeinfer.simd.simd import Simd, element_pointer

_I32, _I64 = ir.IntType(32), ir.IntType(64)


def transposed(builder: Any, rows: list[Any]) -> list[Any]:
    """LLVM values: the columns of a square block, by log2(n) rounds of exchanges between pairs of its n vectors.

    A round for each bit of the index: vectors i and i + bit exchange the lanes of i with the bit for those of i + bit
    without it.
    """
    size, bit = len(rows), 1
    while bit < size:
        low = [lane if not lane & bit else size + lane - bit for lane in range(size)]
        high = [lane + bit if not lane & bit else size + lane for lane in range(size)]
        exchanged = list(rows)
        for i in range(size):
            if not i & bit:
                for place, lanes in ((i, low), (i + bit, high)):
                    chosen = ir.Constant(ir.VectorType(_I32, size), lanes)
                    exchanged[place] = builder.shuffle_vector(rows[i], rows[i + bit], chosen)
        rows, bit = exchanged, 2 * bit
    return rows


def transpose_block(simd: Simd) -> Any:
    """An intrinsic ``transpose(y, y_at, y_pitch, x, x_at, x_pitch)`` for int32 pointers and indices in elements.

    ``y[y_at + i * y_pitch + j] = x[x_at + j * x_pitch + i]`` for all i and j below ``simd.lanes``.
    """
    vector, lanes = simd.integers, simd.lanes

    def places(builder: Any, pointer: Any, start: Any, pitch: Any) -> list[Any]:
        steps = [builder.mul(pitch, ir.Constant(_I64, row)) for row in range(lanes)]
        return [element_pointer(builder, pointer, builder.add(start, step), vector) for step in steps]

    @intrinsic
    def transpose(typing_context: Any, y: Any, y_at: Any, y_pitch: Any, x: Any, x_at: Any, x_pitch: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            y, y_at, y_pitch, x, x_at, x_pitch = args
            rows = [builder.load(place, align=4) for place in places(builder, x, x_at, x_pitch)]
            for column, place in zip(transposed(builder, rows), places(builder, y, y_at, y_pitch), strict=True):
                builder.store(column, place, align=4)
            return context.get_dummy_value()

        arguments = (INT32_POINTER, types.int64, types.int64, INT32_POINTER, types.int64, types.int64)
        return types.void(*arguments), codegen

    return transpose
