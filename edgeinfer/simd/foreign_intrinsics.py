"""LLVM intrinsics of processors other than the one that compiles.

Numba makes machine code for its own machine whatever is compiled, and dies of another one's intrinsics. So kernels call
placeholders in their place, which ``with_intrinsics`` replaces before LLVM compiles for the real target.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from llvmlite import ir

_PREFIX = "edgeinfer.intrinsic."
_ORDER = "edgeinfer.order."


def _definition(prefix: str) -> re.Pattern[str]:
    return re.compile(
        rf'^define linkonce_odr ([^@\n]+) @"?{re.escape(prefix)}([\w.]+)"?\(([^)]*)\)[^\n]*\{{\n.*?^\}}\n',
        re.DOTALL | re.MULTILINE,
    )


def call_intrinsic(builder: Any, name: str, result: Any, arguments: list[Any]) -> Any:
    """LLVM value: a call of the intrinsic ``llvm.<name>``, by a placeholder."""
    return _call(builder, f"{_PREFIX}{name}", result, arguments)


def ordered_value(builder: Any, value: Any, others: Sequence[Any] = ()) -> Any:
    """LLVM value: a value of which LLVM knows nothing but that it depends on others; vectors are AArch64's.

    What is loaded from such a pointer cannot be scheduled before the others are computed, and no other induction
    variable can stand for it. It costs no instruction: an empty piece of assembly.

    Args:
        builder: LLVM's builder.
        value: a pointer, an int64 or a vector.
        others: such values as well.
    """
    values = [value, *others]
    registers = "".join("w" if isinstance(each.type, ir.VectorType) else "r" for each in values)
    kind = "".join(character for character in str(value.type) if character.isalnum())
    return _call(builder, f"{_ORDER}{kind}.{registers}", value.type, values)


def _call(builder: Any, placeholder: str, result: Any, arguments: list[Any]) -> Any:
    module = builder.module
    function = module.globals.get(placeholder)
    if function is None:
        function_type = ir.FunctionType(result, [argument.type for argument in arguments])
        function = ir.Function(module, function_type, placeholder)
        function.linkage = "linkonce_odr"
        function.attributes.add("noinline")
        body = ir.IRBuilder(function.append_basic_block())
        if isinstance(result, ir.VoidType):
            body.ret_void()
        else:
            body.ret(ir.Constant(result, None))
    return builder.call(function, arguments)


def with_intrinsics(text: str) -> str:
    """A module's LLVM IR with the intrinsics in place of their placeholders.

    Before: ``define linkonce_odr i32 @edgeinfer.intrinsic.X(i32 %0) { … }  … call i32 @edgeinfer.intrinsic.X(…)``
    After:  ``declare i32 @llvm.X(i32)  … call i32 @llvm.X(…)``
    Before: ``define linkonce_odr ptr @edgeinfer.order.i8.rw(…) { … }  … call ptr @edgeinfer.order.i8.rw(…)``
    After:  ``call ptr asm "", "=r,0,w"(…) nounwind willreturn memory(none)``
    """

    def declaration(match: re.Match[str]) -> str:
        result, name, parameters = match.groups()
        types = [re.sub(r"\s*(%\S+)?$", "", parameter.strip()) for parameter in _split(parameters)]
        return f"declare {result} @llvm.{name}({', '.join(types)})\n"

    def assembly(match: re.Match[str]) -> str:
        registers, arguments = match.groups()
        constraints = ",".join([f"={registers[0]}", "0", *registers[1:]])
        return f'asm "", "{constraints}"({arguments}) nounwind willreturn memory(none)'

    text = re.sub(rf'@"?{re.escape(_ORDER)}\w+\.(\w+)"?\(([^)]*)\)', assembly, _definition(_ORDER).sub("", text))
    return re.sub(rf'@"?{re.escape(_PREFIX)}([\w.]+)"?', r"@llvm.\1", _definition(_PREFIX).sub(declaration, text))


def _split(parameters: str) -> list[str]:
    """Parameters apart; commas occur only between them."""
    return parameters.split(",") if parameters.strip() else []
