"""LLVM intrinsics of processors other than the one that compiles.

Numba makes machine code for its own machine whatever is compiled, and dies of another one's intrinsics. So kernels call
placeholders in their place, which ``with_intrinsics`` replaces before LLVM compiles for the real target.
"""

from __future__ import annotations

import re
from typing import Any

from llvmlite import ir

_PREFIX = "edgeinfer.intrinsic."
_DEFINITION = re.compile(
    rf'^define linkonce_odr ([^@\n]+) @"?{re.escape(_PREFIX)}([\w.]+)"?\(([^)]*)\)[^\n]*\{{\n.*?^\}}\n',
    re.DOTALL | re.MULTILINE,
)


def call_intrinsic(builder: Any, name: str, result: Any, arguments: list[Any]) -> Any:
    """LLVM value: a call of the intrinsic ``llvm.<name>``, by a placeholder."""
    module, placeholder = builder.module, f"{_PREFIX}{name}"
    function = module.globals.get(placeholder)
    if function is None:
        function_type = ir.FunctionType(result, [argument.type for argument in arguments])
        function = ir.Function(module, function_type, placeholder)
        function.linkage = "linkonce_odr"
        function.attributes.add("noinline")
        ir.IRBuilder(function.append_basic_block()).ret(ir.Constant(result, None))
    return builder.call(function, arguments)


def with_intrinsics(text: str) -> str:
    """A module's LLVM IR with the intrinsics in place of their placeholders.

    Before: ``define linkonce_odr i32 @edgeinfer.intrinsic.X(i32 %0) { … }  … call @edgeinfer.intrinsic.X(…)``
    After:  ``declare i32 @llvm.X(i32)  … call @llvm.X(…)``
    """

    def declaration(match: re.Match[str]) -> str:
        result, name, parameters = match.groups()
        types = [re.sub(r"\s*(%\S+)?$", "", parameter.strip()) for parameter in _split(parameters)]
        return f"declare {result} @llvm.{name}({', '.join(types)})\n"

    return re.sub(rf'@"?{re.escape(_PREFIX)}([\w.]+)"?', r"@llvm.\1", _DEFINITION.sub(declaration, text))


def _split(parameters: str) -> list[str]:
    """Parameters apart; commas occur only between them."""
    return parameters.split(",") if parameters.strip() else []
