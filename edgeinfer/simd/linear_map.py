"""Products of a constant matrix and a column of vectors, unrolled: what rows or columns share is computed once.

Rows of a matrix that differ in the signs of every other coefficient, as those of opposite points x and -x in Winograd's
input transforms, are the sum and the difference of two shorter sums; columns like these, as in its output
transforms, are multiplied with the sum and the difference of two vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from edgeinfer.simd.simd import Simd, element_pointer
from edgeinfer.simd.vectors import Vector, llvm_function

Rows = Sequence[Sequence[Fraction]]


def linear_map(simd: Simd, matrix: Rows) -> Any:
    """An intrinsic ``apply(x, index, stride)``: a tuple with the product of the matrix and vectors of memory.

    Args:
        simd: the vector operations.
        matrix: its rows; as many vectors are read, ``stride`` elements apart, as each has coefficients.
    """
    result, count = types.UniTuple(simd.vector, len(matrix)), len(matrix[0])

    @intrinsic
    def apply(typing_context: Any, x: Any, index: Any, stride: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            pointer, index, stride = args
            places = [_moved(builder, index, stride, place) for place in range(count)]
            values = _product(builder, simd, matrix, pointer, places)
            return context.make_tuple(builder, signature.return_type, values)

        return result(simd.pointer, types.int64, types.int64), codegen

    return apply


def phased_linear_map(simd: Simd, matrix: Rows, phases: int) -> Any:
    """An intrinsic ``apply(x, index, phase_stride, step)``, as ``linear_map``.

    Vector k is the one at ``x[index + k % phases * phase_stride + k // phases * step]``.
    """
    result, count = types.UniTuple(simd.vector, len(matrix)), len(matrix[0])

    @intrinsic
    def apply(typing_context: Any, x: Any, index: Any, phase_stride: Any, step: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            pointer, index, phase_stride, step = args
            places = [
                _moved(builder, _moved(builder, index, phase_stride, k % phases), step, k // phases)
                for k in range(count)
            ]
            values = _product(builder, simd, matrix, pointer, places)
            return context.make_tuple(builder, signature.return_type, values)

        return result(simd.pointer, types.int64, types.int64, types.int64), codegen

    return apply


def _moved(builder: Any, index: Any, stride: Any, times: int) -> Any:
    """LLVM value: ``index + times * stride``."""
    return builder.add(index, builder.mul(stride, ir.Constant(stride.type, times))) if times else index


def _product(builder: Any, simd: Simd, matrix: Rows, pointer: Any, places: Sequence[Any]) -> list[Any]:
    """LLVM values: the matrix times the vectors at places of memory."""
    values = []
    for place in places:
        address = element_pointer(builder, pointer, place, simd.vector)
        values.append(builder.load(address, align=simd.vector.element_bytes))
    return _Sums(builder, simd.vector).rows(matrix, values)


def _mirrored(row: Sequence[Fraction], other: Sequence[Fraction]) -> bool:
    """Whether one is the other with the signs of every other number changed, and both kinds of numbers are there."""
    same = all(b == (-a if place % 2 else a) for place, (a, b) in enumerate(zip(row, other, strict=True)))
    return same and any(row[::2]) and any(row[1::2])


class _Sums:
    """Emits sums of vectors times constants."""

    def __init__(self, builder: Any, vector: Vector) -> None:
        self._builder = builder
        self._vector = vector

    def rows(self, matrix: Rows, values: Sequence[Any]) -> list[Any]:
        """LLVM values: the product of the matrix and the vectors."""
        builder = self._builder
        columns = list(zip(*matrix, strict=True))
        # Terms of the even and of the odd rows: columns, and the vectors that they are multiplied with.
        even: list[tuple[Sequence[Fraction], Any]] = []
        odd: list[tuple[Sequence[Fraction], Any]] = []
        place = 0
        while place < len(columns):
            column, value = columns[place], values[place]
            if place + 1 < len(columns) and _mirrored(column, columns[place + 1]):
                other = values[place + 1]
                even.append((column, builder.fadd(value, other)))
                odd.append((column, builder.fsub(value, other)))
                place += 2
            else:
                even.append((column, value))
                odd.append((column, value))
                place += 1
        results: list[Any] = []
        while (row := len(results)) < len(matrix):
            terms = [(column[row], value) for column, value in (odd if row % 2 else even)]
            if len(terms) == len(columns) and row + 1 < len(matrix) and _mirrored(matrix[row], matrix[row + 1]):
                both, changed = self._sum(terms[::2]), self._sum(terms[1::2])
                results += [builder.fadd(both, changed), builder.fsub(both, changed)]
            else:
                results.append(self._sum(terms))
        return results

    def _sum(self, terms: Sequence[tuple[Fraction, Any]]) -> Any:
        """LLVM value: the sum of coefficients times vectors, from one that needs no multiplication if there is one."""
        builder, vector = self._builder, self._vector
        left = sorted((term for term in terms if term[0]), key=lambda term: (abs(term[0]) != 1, term[0] < 0))
        coefficient, total = left[0]
        if coefficient != 1:
            total = builder.fmul(total, self._constant(coefficient))
        multiply_add = llvm_function(builder, "fmuladd", vector, 3)
        for coefficient, value in left[1:]:
            if abs(coefficient) == 1:
                total = (builder.fadd if coefficient > 0 else builder.fsub)(total, value)
            else:
                # One constant for both signs: processors can subtract a product too.
                factor = value if coefficient > 0 else builder.fneg(value)
                total = builder.call(multiply_add, [factor, self._constant(abs(coefficient)), total])
        return total

    def _constant(self, number: Fraction) -> Any:
        return ir.Constant(self._vector.llvm, [float(number)] * self._vector.lanes)
