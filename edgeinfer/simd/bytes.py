"""Vectors of bytes, computed on as float32: every byte is exact there, and so are sums of up to 65,000 of them."""

from __future__ import annotations

import functools
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from edgeinfer.simd.pointers import UINT8_POINTER
from edgeinfer.simd.rounding import GROUP, ByteRounder, rounded_bytes
from edgeinfer.simd.simd import Simd, element_pointer, first_lanes, masked_store
from edgeinfer.simd.vectors import Vector, splat_value

_I8, _I32 = ir.IntType(8), ir.IntType(32)


class ByteVectors:
    """Loads and stores of ``lanes`` bytes as a float32 vector, to be captured by kernel functions.

    Attributes:
        group: bytes of ``GROUP`` vectors.
        load_group: as ``load`` for ``group`` bytes, as a tuple of vectors.
        store_group: ``store_group(y, index, vectors, zero_point, low, high)``: such a tuple rounded and bounded, see
            ``edgeinfer.simd.rounding``.
        load_octets: as ``load`` for ``group`` bytes, which stay bytes: one vector of ``larger_octets`` and
            ``store_octets``.
        larger_octets: ``larger_octets(a, b)``, as unsigned bytes.
        store_octets: ``store_octets(y, index, octets, zero_point)``: writes them plus an integer, low bytes alone.
        load: ``load(x, index, flip)``: bytes xor the low byte of ``flip``, taken as unsigned; a ``flip`` of 128 maps
            signed bytes to unsigned ones that are 128 larger.
        load_first: ``load_first(x, index, count, flip)``: only ``count`` bytes are read, the other lanes are ``flip``.
        store: ``store(y, index, vector, zero_point)``: floats of magnitude below 2**22 rounded half to even, plus an
            integer; the low byte is written.
        store_first: ``store_first(y, index, vector, count, zero_point)``: only ``count`` bytes are written; not for a
            ``count`` that is 1 in the source, which LLVM 22 compiles to a store of four bytes for AVX-512.
    """

    def __init__(self, simd: Simd) -> None:
        self.group = GROUP * simd.lanes
        self.load_group = _load_group(simd)
        self.store_group = _store_group(simd)
        self.load_octets = _load_octets(self.group)
        self.larger_octets = _larger_octets(self.group)
        self.store_octets = _store_octets(self.group)
        self.load = _load(simd)
        self.load_first = _load_first(simd)
        self.store = _store(simd)
        self.store_first = _store_first(simd)


@functools.cache
def byte_vectors(simd: Simd) -> ByteVectors:
    """The one ByteVectors of a level."""
    return ByteVectors(simd)


def _as_floats(builder: Any, simd: Simd, octets: Any, flip: Any) -> Any:
    flips = splat_value(builder, Vector("i8", simd.lanes), builder.trunc(flip, _I8))
    integers = builder.zext(builder.xor(octets, flips), simd.integers.llvm)
    return builder.sitofp(integers, simd.vector.llvm)


def _load_group(simd: Simd) -> Any:
    octets, lanes, count = Vector("i8", GROUP * simd.lanes), simd.lanes, GROUP * simd.lanes
    result = types.UniTuple(simd.vector, GROUP)

    @intrinsic
    def load_group(typing_context: Any, x: Any, index: Any, flip: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            value = builder.load(element_pointer(builder, args[0], args[1], octets), align=1)
            value = builder.xor(value, splat_value(builder, octets, builder.trunc(args[2], _I8)))
            vectors = []
            for first in range(0, count, lanes):
                places = ir.Constant(ir.VectorType(_I32, lanes), list(range(first, first + lanes)))
                part = builder.shuffle_vector(value, ir.Constant(octets.llvm, ir.Undefined), places)
                vectors.append(builder.uitofp(builder.zext(part, simd.integers.llvm), simd.vector.llvm))
            return context.make_tuple(builder, result, vectors)

        return result(UINT8_POINTER, types.int64, types.int64), codegen

    return load_group


def _store_group(simd: Simd) -> Any:
    group = types.UniTuple(simd.vector, GROUP)

    @intrinsic
    def store_group(typing_context: Any, y: Any, index: Any, vectors: Any, zero_point: Any, low: Any, high: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            y, index, vectors, zero_point, low, high = args
            values = [builder.extract_value(vectors, place) for place in range(GROUP)]
            ((value,),) = ByteRounder(builder, simd, low, high, zero_point).rows(values, GROUP)
            pointer = builder.bitcast(builder.gep(y, [index]), value.type.as_pointer())
            builder.store(value, pointer, align=1)
            return context.get_dummy_value()

        arguments = (UINT8_POINTER, types.int64, group, types.int64, types.float32, types.float32)
        return types.void(*arguments), codegen

    return store_group


def _load_octets(count: int) -> Any:
    octets = Vector("i8", count)

    @intrinsic
    def load_octets(typing_context: Any, x: Any, index: Any, flip: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            value = builder.load(element_pointer(builder, args[0], args[1], octets), align=1)
            return builder.xor(value, splat_value(builder, octets, builder.trunc(args[2], _I8)))

        return octets(UINT8_POINTER, types.int64, types.int64), codegen

    return load_octets


def _larger_octets(count: int) -> Any:
    octets = Vector("i8", count)

    @intrinsic
    def larger_octets(typing_context: Any, a: Any, b: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.select(builder.icmp_unsigned(">", args[0], args[1]), args[0], args[1])

        return octets(octets, octets), codegen

    return larger_octets


def _store_octets(count: int) -> Any:
    octets = Vector("i8", count)

    @intrinsic
    def store_octets(typing_context: Any, y: Any, index: Any, value: Any, zero_point: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            y, index, value, zero_point = args
            value = builder.add(value, splat_value(builder, octets, builder.trunc(zero_point, _I8)))
            builder.store(value, element_pointer(builder, y, index, octets), align=1)
            return context.get_dummy_value()

        return types.void(UINT8_POINTER, types.int64, octets, types.int64), codegen

    return store_octets


def _load(simd: Simd) -> Any:
    octets = Vector("i8", simd.lanes)

    @intrinsic
    def load(typing_context: Any, x: Any, index: Any, flip: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            value = builder.load(element_pointer(builder, args[0], args[1], octets), align=1)
            return _as_floats(builder, simd, value, args[2])

        return simd.vector(UINT8_POINTER, types.int64, types.int64), codegen

    return load


def _load_first(simd: Simd) -> Any:
    octets, lanes = Vector("i8", simd.lanes), simd.lanes

    @intrinsic
    def load_first(typing_context: Any, x: Any, index: Any, count: Any, flip: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            mask = first_lanes(builder, lanes, args[2])
            arguments = [octets.llvm.as_pointer(), _I32, mask.type, octets.llvm]
            function = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(octets.llvm, arguments), f"llvm.masked.load.v{lanes}i8.p0"
            )
            pointer = element_pointer(builder, args[0], args[1], octets)
            none = ir.Constant(octets.llvm, None)
            return _as_floats(
                builder, simd, builder.call(function, [pointer, ir.Constant(_I32, 1), mask, none]), args[3]
            )

        return simd.vector(UINT8_POINTER, types.int64, types.int64, types.int64), codegen

    return load_first


def _store(simd: Simd) -> Any:
    octets, lanes = Vector("i8", simd.lanes), simd.lanes

    @intrinsic
    def store(typing_context: Any, y: Any, index: Any, vector: Any, zero_point: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            value = rounded_bytes(builder, args[2], args[3], lanes)
            builder.store(value, element_pointer(builder, args[0], args[1], octets), align=1)
            return context.get_dummy_value()

        return types.void(UINT8_POINTER, types.int64, simd.vector, types.int64), codegen

    return store


def _store_first(simd: Simd) -> Any:
    octets, lanes = Vector("i8", simd.lanes), simd.lanes

    @intrinsic
    def store_first(typing_context: Any, y: Any, index: Any, vector: Any, count: Any, zero_point: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            value = rounded_bytes(builder, args[2], args[4], lanes)
            mask = first_lanes(builder, lanes, args[3])
            masked_store(builder, octets, value, element_pointer(builder, args[0], args[1], octets), mask)
            return context.get_dummy_value()

        return types.void(UINT8_POINTER, types.int64, simd.vector, types.int64, types.int64), codegen

    return store_first


@intrinsic
def copy_octet(typing_context: Any, y: Any, y_index: Any, x: Any, x_index: Any, flip: Any) -> Any:
    """Copies eight bytes, each xor the low byte of ``flip``."""
    octet = Vector("i8", 8)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        y, y_index, x, x_index, flip = args
        value = builder.load(element_pointer(builder, x, x_index, octet), align=1)
        value = builder.xor(value, splat_value(builder, octet, builder.trunc(flip, _I8)))
        builder.store(value, element_pointer(builder, y, y_index, octet), align=1)
        return context.get_dummy_value()

    return types.void(UINT8_POINTER, types.int64, UINT8_POINTER, types.int64, types.int64), codegen
