"""Pointers, structs and atomics: how a kernel reaches its params, its worker and memory."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from edgeinfer.abi import WORKER, field_offset
from edgeinfer.simd.foreign_intrinsics import ordered_value

_I64 = ir.IntType(64)
FLOAT32_POINTER = types.CPointer(types.float32)
UINT8_POINTER = types.CPointer(types.uint8)
# Numba has no float16 on CPUs: a scalar read from there is its bits.
FLOAT16_POINTER = types.CPointer(types.uint16)
INT32_POINTER = types.CPointer(types.int32)
INT64_POINTER = types.CPointer(types.int64)


@intrinsic
def record_at(typing_context: Any, pointer: Any) -> Any:
    """The struct that a pointer points to, for reading and writing its fields by name."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(signature.return_type))

    return pointer.dtype(pointer), codegen


@intrinsic
def opaque_pointer(typing_context: Any, pointer: Any, index: Any) -> Any:
    """``pointer + index``, of which LLVM does not know how it was computed: nothing else can stand for it."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return ordered_value(builder, builder.gep(arguments[0], [arguments[1]]))

    return pointer(pointer, types.int64), codegen


@intrinsic
def address_of(typing_context: Any, record: Any) -> Any:
    """The address of a struct, int64."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ptrtoint(arguments[0], _I64)

    return types.int64(record), codegen


def _address_to_pointer(pointer_type: Any) -> Any:
    @intrinsic
    def as_pointer(typing_context: Any, address: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.inttoptr(arguments[0], context.get_value_type(pointer_type))

        return pointer_type(types.int64), codegen

    return as_pointer


as_f32 = _address_to_pointer(FLOAT32_POINTER)
as_u8 = _address_to_pointer(UINT8_POINTER)
as_f16 = _address_to_pointer(FLOAT16_POINTER)
as_i32 = _address_to_pointer(INT32_POINTER)
as_i64 = _address_to_pointer(INT64_POINTER)


@intrinsic
def bytes_as_f32(typing_context: Any, pointer: Any) -> Any:
    """A pointer to bytes as one to float32, for vector loads and stores."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(FLOAT32_POINTER))

    return FLOAT32_POINTER(UINT8_POINTER), codegen


@intrinsic
def as_bytes(typing_context: Any, pointer: Any) -> Any:
    """A pointer to float32 as one to bytes."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(UINT8_POINTER))

    return UINT8_POINTER(FLOAT32_POINTER), codegen


@intrinsic
def f32_as_i64(typing_context: Any, pointer: Any) -> Any:
    """A pointer to float32 as one to int64."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(INT64_POINTER))

    return INT64_POINTER(FLOAT32_POINTER), codegen


@intrinsic
def advance(typing_context: Any, pointer: Any, elements: Any) -> Any:
    """The pointer moved by a number of elements."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.gep(arguments[0], [arguments[1]])

    return pointer(pointer, types.int64), codegen


@intrinsic
def atomic_add(typing_context: Any, pointer: Any, value: Any) -> Any:
    """Add to an int64 in memory as one step; returns the value before."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.atomic_rmw("add", arguments[0], arguments[1], "seq_cst")

    return types.int64(INT64_POINTER, types.int64), codegen


@intrinsic
def atomic_load(typing_context: Any, pointer: Any) -> Any:
    """Read an int64 that other workers write."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load_atomic(arguments[0], "seq_cst", 8)

    return types.int64(INT64_POINTER), codegen


@intrinsic
def atomic_store(typing_context: Any, pointer: Any, value: Any) -> Any:
    """Write an int64 that other workers read."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store_atomic(arguments[1], arguments[0], "seq_cst", 8)
        return context.get_dummy_value()

    return types.void(INT64_POINTER, types.int64), codegen


@intrinsic
def float_bits(typing_context: Any, value: Any) -> Any:
    """The bits of a float32 as int32."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.int32(types.float32), codegen


@functools.cache
def syscall_of(pointer_bits: int) -> Any:
    """``syscall(number, a, b, c, d)``: Linux system call, through libc's ``syscall`` of words as long as a pointer."""
    word = ir.IntType(pointer_bits)

    @intrinsic
    def syscall(typing_context: Any, number: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            function_type = ir.FunctionType(word, [word] * 7)
            function = cgutils.get_or_insert_function(builder.module, function_type, "syscall")
            zero = ir.Constant(word, 0)
            words = [builder.trunc(argument, word) for argument in arguments] if pointer_bits < 64 else arguments
            builder.call(function, [*words, zero, zero])
            return context.get_dummy_value()

        return types.void(*[types.int64] * 5), codegen

    return syscall


_OFFSET_MASK = np.int64((1 << 48) - 1)


@njit(forceinline=True, error_model="numpy")
def buffer_address(worker: Any, ref: Any) -> Any:
    """The address that a buffer reference (see edgeinfer.abi) stands for in this run."""
    return as_i64(worker.bases)[ref >> 48] + (ref & _OFFSET_MASK)


@njit(forceinline=True, error_model="numpy")
def buffer_f32(worker: Any, ref: Any) -> Any:
    """A buffer of float32."""
    return as_f32(buffer_address(worker, ref))


@njit(forceinline=True, error_model="numpy")
def buffer_f16(worker: Any, ref: Any) -> Any:
    """A buffer of float16."""
    return as_f16(buffer_address(worker, ref))


@njit(forceinline=True, error_model="numpy")
def buffer_u8(worker: Any, ref: Any) -> Any:
    """A buffer of bytes."""
    return as_u8(buffer_address(worker, ref))


@njit(forceinline=True, error_model="numpy")
def buffer_i32(worker: Any, ref: Any) -> Any:
    """A buffer of int32."""
    return as_i32(buffer_address(worker, ref))


@njit(forceinline=True, error_model="numpy")
def buffer_i64(worker: Any, ref: Any) -> Any:
    """A buffer of int64."""
    return as_i64(buffer_address(worker, ref))


@njit(forceinline=True, error_model="numpy")
def scratch_f32(worker: Any) -> Any:
    """The worker's own scratch memory as float32."""
    return as_f32(worker.scratch)


@njit(forceinline=True, error_model="numpy")
def scratch_f16(worker: Any) -> Any:
    """The worker's own scratch memory as float16."""
    return as_f16(worker.scratch)


_WORKER_BYTES = WORKER.itemsize
_TAKEN = field_offset(WORKER, "taken")


@njit(forceinline=True, error_model="numpy")
def claim(worker: Any, tiles: Any) -> Any:
    """The number of a tile of this step that no worker has taken yet, ``tiles`` or more if none is left.

    Each worker has a range of its own, the same part of every step, so that it reads what it wrote itself in the step
    before and what is still in its processor's cache; one that has done its own takes from the others' ranges.
    """
    threads, own = worker.threads, worker.index
    taken = address_of(worker) + _TAKEN
    if threads == 1:
        return atomic_add(as_i64(taken), 1)
    for index in range(own, own + threads):
        owner = index if index < threads else index - threads
        start, stop = tiles * owner // threads, tiles * (owner + 1) // threads
        tile = start + atomic_add(as_i64(taken + (owner - own) * _WORKER_BYTES), 1)
        if tile < stop:
            return tile
    return tiles
