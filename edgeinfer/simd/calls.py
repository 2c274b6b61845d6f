"""Calling kernels by their addresses."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic


@intrinsic
def call_kernel(typing_context: Any, kernel: Any, params: Any, worker: Any) -> Any:
    """``call_kernel(kernel, params, worker)``: three addresses, int64."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = ir.IntType(8).as_pointer()
        # Numba's functions without a result return a null pointer; WebAssembly checks signatures at each call.
        kernel_type = ir.FunctionType(pointer, [pointer, pointer]).as_pointer()
        arguments = [builder.inttoptr(address, pointer) for address in args[1:]]
        builder.call(builder.inttoptr(args[0], kernel_type), arguments)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen
