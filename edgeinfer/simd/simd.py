"""What a kernel factory gets: the vector operations whose types depend on the number of lanes."""

from __future__ import annotations

import functools
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from edgeinfer.simd.levels import Level
from edgeinfer.simd.pointers import (
    FLOAT16_POINTER,
    FLOAT32_POINTER,
    INT32_POINTER,
    buffer_f16,
    buffer_f32,
    scratch_f16,
    scratch_f32,
)
from edgeinfer.simd.vectors import Vector, clamp_of, narrow_to, splat_value

_I32 = ir.IntType(32)


class Simd:
    """Vector operations of one CPU level and number format, to be captured by kernel functions as closure variables.

    Scalars are float32 in every format.

    Attributes:
        level: the CPU level.
        numbers: the format of elements, ``f32`` or ``f16``.
        element_bytes: bytes of an element.
        lanes: elements of one vector.
        vector: the Numba type of a vector.
        pointer: the Numba type of a pointer to elements.
        buffer: ``buffer(worker, ref)``: the pointer of a buffer reference.
        scratch: ``scratch(worker)``: the worker's own scratch memory.
        load: ``load(pointer, index)``: the ``lanes`` elements from ``pointer[index]`` on; no alignment needed.
        store: ``store(pointer, index, vector)``.
        load_first: ``load_first(pointer, index, count)``: only ``count`` lanes are read, the others are 0.
        store_first: ``store_first(pointer, index, vector, count)``: only ``count`` lanes are written.
        splat: ``splat(scalar)``: a float32, rounded to the format, in all lanes.
        splat_element: ``splat_element(pointer, index)``: the element ``pointer[index]`` in all lanes.
        narrow: ``narrow(vector)``: a float32 vector rounded to the format; ``widen`` is its counterpart.
        wide: operations on float32 vectors of as many lanes; of this format where it is float32 itself.
        clamp: ``clamp(value, low, high)``: ``min(max(value, low), high)`` of vectors; NaN stays NaN.
        splat_i32: ``splat_i32(scalar)``: an int32 in all lanes.
        load_i32, store_i32: int32 vectors from and to int32 pointers.
        iota: ``iota()``: int32 lanes 0, 1, 2, …
        lane: ``lane(vector, index)``: one element of a float32 vector; the index must be a constant or a loop counter.
    """

    def __init__(self, level: Level, numbers: str = "f32", lanes: int = 0) -> None:
        self.level = level
        self.numbers = numbers
        self.lanes = lanes or (2 * level.lanes if numbers == "f16" else level.lanes)
        self.vector = Vector(numbers, self.lanes)
        self.element_bytes = self.vector.element_bytes
        self.integers = Vector("i32", self.lanes)
        self.mask = Vector("i1", self.lanes)
        half = numbers == "f16"
        self.pointer = FLOAT16_POINTER if half else FLOAT32_POINTER
        self.buffer = buffer_f16 if half else buffer_f32
        self.scratch = scratch_f16 if half else scratch_f32
        self.load = vector_load(self.vector, self.pointer)
        self.store = vector_store(self.vector, self.pointer)
        self.load_i32 = vector_load(self.integers, INT32_POINTER)
        self.store_i32 = vector_store(self.integers, INT32_POINTER)
        self.load_first = _load_first(self.vector, self.pointer)
        self.store_first = _store_first(self.vector, self.pointer)
        self.splat = vector_splat(self.vector, types.float32)
        self.splat_element = _splat_element(self.vector, self.pointer)
        self.narrow = narrow_to(self.vector)
        self.wide = Simd(level, "f32", self.lanes) if half else self
        self.clamp = clamp_of(self.vector, level.keeps_nan)
        self.splat_i32 = vector_splat(self.integers, types.int32)
        self.iota = _iota(self.integers)
        self.lane = _lane(self.wide.vector)


@functools.cache
def simd_of(level: Level, numbers: str = "f32") -> Simd:
    """The one Simd of a level and a number format."""
    return Simd(level, numbers)


def pointer_to(vector: Vector) -> Any:
    """The Numba type of pointers to the elements of float vectors, and to int32 in the place of float32."""
    return FLOAT16_POINTER if vector.kind == "f16" else FLOAT32_POINTER


def as_element(builder: Any, vector: Vector, scalar: Any) -> Any:
    """LLVM value: a float32 or int32 scalar as an element of a vector's kind; a whole float32 for int16."""
    if vector.kind == "i16":
        return builder.fptosi(scalar, vector.llvm.element)
    return builder.fptrunc(scalar, ir.HalfType()) if vector.kind == "f16" else scalar


def load_element(builder: Any, vector: Vector, pointer: Any, index: Any) -> Any:
    """LLVM value: one element in all lanes."""
    place = builder.bitcast(builder.gep(pointer, [index]), vector.llvm.element.as_pointer())
    return splat_value(builder, vector, builder.load(place, align=vector.element_bytes))


def four_bytes(builder: Any, pointer: Any, index: Any) -> Any:
    """LLVM value: the four bytes at ``pointer[index]`` as int32, aligned as elements of the pointer are."""
    place = builder.bitcast(builder.gep(pointer, [index]), _I32.as_pointer())
    return builder.load(place, align=pointer.type.pointee.width // 8)


def element_pointer(builder: Any, pointer: Any, index: Any, vector: Vector) -> Any:
    """LLVM value: the address of ``pointer[index]`` as a pointer to a vector."""
    return builder.bitcast(builder.gep(pointer, [index]), vector.llvm.as_pointer())


def vector_load(vector: Vector, pointer_type: Any) -> Any:
    """An intrinsic ``load(pointer, index)``: a vector that begins at ``pointer[index]``."""

    @intrinsic
    def load(typing_context: Any, pointer: Any, index: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.load(element_pointer(builder, args[0], args[1], vector), align=vector.element_bytes)

        return vector(pointer_type, types.int64), codegen

    return load


def vector_store(vector: Vector, pointer_type: Any) -> Any:
    """An intrinsic ``store(pointer, index, vector)``, the counterpart of ``vector_load``."""

    @intrinsic
    def store(typing_context: Any, pointer: Any, index: Any, value: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            builder.store(args[2], element_pointer(builder, args[0], args[1], vector), align=vector.element_bytes)
            return context.get_dummy_value()

        return types.void(pointer_type, types.int64, vector), codegen

    return store


def first_lanes(builder: Any, lanes: int, count: Any) -> Any:
    """LLVM value: a mask whose first ``count`` (int64) lanes are set."""
    integers = Vector("i32", lanes)
    limit = splat_value(builder, integers, builder.trunc(count, _I32))
    return builder.icmp_signed("<", ir.Constant(integers.llvm, list(range(lanes))), limit)


def masked_store(builder: Any, vector: Vector, value: Any, pointer: Any, mask: Any) -> None:
    """Emit a store of the masked lanes."""
    mask_type = Vector("i1", vector.lanes).llvm
    function_type = ir.FunctionType(ir.VoidType(), [vector.llvm, vector.llvm.as_pointer(), _I32, mask_type])
    name = f"llvm.masked.store.v{vector.lanes}{vector.kind}.p0"
    function = cgutils.get_or_insert_function(builder.module, function_type, name)
    builder.call(function, [value, pointer, ir.Constant(_I32, vector.element_bytes), mask])


def masked_load(builder: Any, vector: Vector, pointer: Any, mask: Any) -> Any:
    """LLVM value: the masked lanes from memory, zero in the others."""
    mask_type = Vector("i1", vector.lanes).llvm
    function_type = ir.FunctionType(vector.llvm, [vector.llvm.as_pointer(), _I32, mask_type, vector.llvm])
    name = f"llvm.masked.load.v{vector.lanes}{vector.kind}.p0"
    function = cgutils.get_or_insert_function(builder.module, function_type, name)
    zero = ir.Constant(vector.llvm, None)
    return builder.call(function, [pointer, ir.Constant(_I32, vector.element_bytes), mask, zero])


def _load_first(vector: Vector, pointer_type: Any) -> Any:
    @intrinsic
    def load_first(typing_context: Any, pointer: Any, index: Any, count: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            mask = first_lanes(builder, vector.lanes, args[2])
            return masked_load(builder, vector, element_pointer(builder, args[0], args[1], vector), mask)

        return vector(pointer_type, types.int64, types.int64), codegen

    return load_first


def _store_first(vector: Vector, pointer_type: Any) -> Any:
    @intrinsic
    def store_first(typing_context: Any, pointer: Any, index: Any, value: Any, count: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            mask = first_lanes(builder, vector.lanes, args[3])
            masked_store(builder, vector, args[2], element_pointer(builder, args[0], args[1], vector), mask)
            return context.get_dummy_value()

        return types.void(pointer_type, types.int64, vector, types.int64), codegen

    return store_first


def vector_splat(vector: Vector, scalar_type: Any) -> Any:
    """An intrinsic ``splat(scalar)``: a scalar in all lanes."""

    @intrinsic
    def splat(typing_context: Any, scalar: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return splat_value(builder, vector, as_element(builder, vector, args[0]))

        return vector(scalar_type), codegen

    return splat


def _splat_element(vector: Vector, pointer_type: Any) -> Any:
    @intrinsic
    def splat_element(typing_context: Any, pointer: Any, index: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return load_element(builder, vector, args[0], args[1])

        return vector(pointer_type, types.int64), codegen

    return splat_element


def _iota(integers: Vector) -> Any:
    @intrinsic
    def iota(typing_context: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return ir.Constant(integers.llvm, list(range(integers.lanes)))

        return integers(), codegen

    return iota


def _lane(vector: Vector) -> Any:
    @intrinsic
    def lane(typing_context: Any, value: Any, index: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.extract_element(args[0], builder.trunc(args[1], _I32))

        return types.float32(vector, types.int64), codegen

    return lane
