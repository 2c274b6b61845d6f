"""Asking for memory before it is needed."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

LINE_BYTES = 64
# Float32 elements of a line of the cache.
LINE = LINE_BYTES // 4

_READ, _SECOND_LEVEL, _DATA = 0, 2, 1


@njit(forceinline=True, error_model="numpy")
def step_ahead(columns: Any, tiles: Any) -> Any:
    """From product to product, by how many floats weights are asked for that are used after this block's ``tiles``.

    So spread that requests come evenly while a block of ``columns`` is multiplied with all tiles, at most a line each.
    """
    return min(LINE, (columns + tiles - 1) // tiles)


@intrinsic
def prefetch(typing_context: Any, pointer: Any, index: Any) -> Any:
    """``prefetch(pointer, index)``: bring the line of ``pointer[index]`` into the second-level cache.

    Nothing happens where there is no such memory.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address = builder.bitcast(builder.gep(args[0], [args[1]]), ir.IntType(8).as_pointer())
        kinds = [ir.Constant(ir.IntType(32), kind) for kind in (_READ, _SECOND_LEVEL, _DATA)]
        function_type = ir.FunctionType(ir.VoidType(), [address.type, *[kind.type for kind in kinds]])
        function = cgutils.get_or_insert_function(builder.module, function_type, "llvm.prefetch.p0")
        builder.call(function, [address, *kinds])
        return context.get_dummy_value()

    return types.void(pointer, types.int64), codegen
