"""What a kernel factory gets: the vector operations whose types depend on the number of lanes."""

from __future__ import annotations

import functools
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from edgeinfer.simd.levels import Level
from edgeinfer.simd.pointers import FLOAT32_POINTER, INT32_POINTER
from edgeinfer.simd.vectors import Vector, splat_value

_I32 = ir.IntType(32)


class Simd:
    """Vector operations of one CPU level, to be captured by kernel functions as closure variables.

    Attributes:
        level: the CPU level.
        lanes: float32 elements of one vector.
        vector: the Numba type of a float32 vector.
        load: ``load(pointer, index)``: the ``lanes`` floats from ``pointer[index]`` on; no alignment needed.
        store: ``store(pointer, index, vector)``.
        load_first: ``load_first(pointer, index, count)``: only ``count`` lanes are read, the others are 0.
        store_first: ``store_first(pointer, index, vector, count)``: only ``count`` lanes are written.
        splat: ``splat(scalar)``: a float32 in all lanes.
        splat_i32: ``splat_i32(scalar)``: an int32 in all lanes.
        load_i32, store_i32: int32 vectors from and to int32 pointers.
        iota: ``iota()``: int32 lanes 0, 1, 2, …
        lane: ``lane(vector, index)``: one element; the index must be a constant or a loop counter.
    """

    def __init__(self, level: Level) -> None:
        self.level = level
        self.lanes = level.lanes
        self.vector = Vector("f32", level.lanes)
        self.integers = Vector("i32", level.lanes)
        self.mask = Vector("i1", level.lanes)
        self.load = _load(self.vector, FLOAT32_POINTER)
        self.store = _store(self.vector, FLOAT32_POINTER)
        self.load_i32 = _load(self.integers, INT32_POINTER)
        self.store_i32 = _store(self.integers, INT32_POINTER)
        self.load_first = _load_first(self.vector)
        self.store_first = _store_first(self.vector)
        self.splat = _splat(self.vector, types.float32)
        self.splat_i32 = _splat(self.integers, types.int32)
        self.iota = _iota(self.integers)
        self.lane = _lane(self.vector)


@functools.cache
def simd_of(level: Level) -> Simd:
    """The one Simd of a level."""
    return Simd(level)


def element_pointer(builder: Any, pointer: Any, index: Any, vector: Vector) -> Any:
    """LLVM value: the address of ``pointer[index]`` as a pointer to a vector."""
    return builder.bitcast(builder.gep(pointer, [index]), vector.llvm.as_pointer())


def _load(vector: Vector, pointer_type: Any) -> Any:
    @intrinsic
    def load(typing_context: Any, pointer: Any, index: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.load(element_pointer(builder, args[0], args[1], vector), align=4)

        return vector(pointer_type, types.int64), codegen

    return load


def _store(vector: Vector, pointer_type: Any) -> Any:
    @intrinsic
    def store(typing_context: Any, pointer: Any, index: Any, value: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            builder.store(args[2], element_pointer(builder, args[0], args[1], vector), align=4)
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
    name = f"llvm.masked.load.v{vector.lanes}f32.p0"
    function = cgutils.get_or_insert_function(builder.module, function_type, name)
    zero = ir.Constant(vector.llvm, [0.0] * vector.lanes)
    return builder.call(function, [pointer, ir.Constant(_I32, 4), mask, zero])


def _load_first(vector: Vector) -> Any:
    @intrinsic
    def load_first(typing_context: Any, pointer: Any, index: Any, count: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            mask = first_lanes(builder, vector.lanes, args[2])
            return masked_load(builder, vector, element_pointer(builder, args[0], args[1], vector), mask)

        return vector(FLOAT32_POINTER, types.int64, types.int64), codegen

    return load_first


def _store_first(vector: Vector) -> Any:
    @intrinsic
    def store_first(typing_context: Any, pointer: Any, index: Any, value: Any, count: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            mask = first_lanes(builder, vector.lanes, args[3])
            masked_store(builder, vector, args[2], element_pointer(builder, args[0], args[1], vector), mask)
            return context.get_dummy_value()

        return types.void(FLOAT32_POINTER, types.int64, vector, types.int64), codegen

    return store_first


def _splat(vector: Vector, scalar_type: Any) -> Any:
    @intrinsic
    def splat(typing_context: Any, scalar: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return splat_value(builder, vector, args[0])

        return vector(scalar_type), codegen

    return splat


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
