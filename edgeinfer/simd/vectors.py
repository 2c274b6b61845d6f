"""float32, float16, int32 and int16 vectors of a fixed number of lanes as Numba types.

Arithmetic is written with operators (``a * b + c``); comparisons give masks for ``select``.
``Simd`` gathers what depends on the number of lanes: loads, stores, splats.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

_I32 = ir.IntType(32)
_FLOATS = ("f32", "f16")
_INTEGERS = ("i32", "i16")
_ELEMENTS = {
    "f32": ir.FloatType(), "f16": ir.HalfType(), "i32": _I32, "i16": ir.IntType(16), "i8": ir.IntType(8),
    "i1": ir.IntType(1),
}  # fmt: skip


class Vector(types.Type):
    """A vector register: ``lanes`` elements of kind ``f32``, ``f16``, ``i32``, ``i16``, ``i8`` or ``i1`` (a mask)."""

    def __init__(self, kind: str, lanes: int) -> None:
        self.kind = kind
        self.lanes = lanes
        super().__init__(name=f"{kind}x{lanes}")

    @property
    def llvm(self) -> ir.VectorType:
        """The LLVM type."""
        return ir.VectorType(_ELEMENTS[self.kind], self.lanes)

    @property
    def element_bytes(self) -> int:
        """Size of an element in memory."""
        return {"f32": 4, "i32": 4, "f16": 2, "i16": 2}.get(self.kind, 1)


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, vector: Vector) -> None:
        super().__init__(manager, vector, vector.llvm)


def splat_value(builder: Any, vector: Vector, scalar: Any) -> Any:
    """LLVM value: a scalar in all lanes."""
    undefined = ir.Constant(vector.llvm, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(_I32, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(_I32, vector.lanes), [0] * vector.lanes))


def llvm_function(builder: Any, name: str, vector: Vector, count: int) -> Any:
    """LLVM's intrinsic ``name`` on ``count`` vectors of one type."""
    suffix = f"v{vector.lanes}{vector.kind}"
    function_type = ir.FunctionType(vector.llvm, [vector.llvm] * count)
    return cgutils.get_or_insert_function(builder.module, function_type, f"llvm.{name}.{suffix}")


def _binary_operator(python_operator: Callable, emit: Callable[[Any, str, list], Any], kinds: tuple[str, ...]) -> None:
    @infer_global(python_operator)
    class _Typing(AbstractTemplate):
        def generic(self, args: tuple, kws: dict) -> Any:
            if len(args) == 2 and isinstance(args[0], Vector) and args[0] == args[1] and args[0].kind in kinds:
                return signature(args[0], *args)
            return None

    @lower_builtin(python_operator, Vector, Vector)
    def _lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return emit(builder, sig.args[0].kind, args)


def _comparison(python_operator: Callable, symbol: str) -> None:
    @infer_global(python_operator)
    class _Typing(AbstractTemplate):
        def generic(self, args: tuple, kws: dict) -> Any:
            if len(args) == 2 and isinstance(args[0], Vector) and args[0] == args[1]:
                return signature(Vector("i1", args[0].lanes), *args)
            return None

    @lower_builtin(python_operator, Vector, Vector)
    def _lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        if sig.args[0].kind in _FLOATS:
            unordered = symbol == "!="
            compare = builder.fcmp_unordered if unordered else builder.fcmp_ordered
            return compare(symbol, *args)
        return builder.icmp_signed(symbol, *args)


def _float_or_int(float_name: str, int_name: str) -> Callable[[Any, str, list], Any]:
    def emit(builder: Any, kind: str, args: list) -> Any:
        return getattr(builder, float_name if kind in _FLOATS else int_name)(*args)

    return emit


_binary_operator(operator.add, _float_or_int("fadd", "add"), (*_FLOATS, *_INTEGERS))
_binary_operator(operator.sub, _float_or_int("fsub", "sub"), (*_FLOATS, *_INTEGERS))
_binary_operator(operator.mul, _float_or_int("fmul", "mul"), (*_FLOATS, *_INTEGERS))
_binary_operator(operator.truediv, lambda builder, kind, args: builder.fdiv(*args), _FLOATS)
_binary_operator(operator.and_, lambda builder, kind, args: builder.and_(*args), ("i32", "i1"))
_binary_operator(operator.or_, lambda builder, kind, args: builder.or_(*args), ("i32", "i1"))
_binary_operator(operator.xor, lambda builder, kind, args: builder.xor(*args), ("i32", "i1"))
_comparison(operator.lt, "<")
_comparison(operator.le, "<=")
_comparison(operator.gt, ">")
_comparison(operator.ge, ">=")
_comparison(operator.eq, "==")
_comparison(operator.ne, "!=")


def _llvm_math(name: str, count: int) -> Any:
    """An intrinsic that applies LLVM's ``name`` lane by lane to ``count`` float vectors."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.call(llvm_function(builder, name, sig.return_type, count), args)

    if count == 1:

        @intrinsic
        def unary(typing_context: Any, a: Any) -> Any:
            return (a(a), codegen) if isinstance(a, Vector) else None

        return unary
    if count == 2:

        @intrinsic
        def binary(typing_context: Any, a: Any, b: Any) -> Any:
            return (a(a, b), codegen) if isinstance(a, Vector) else None

        return binary

    @intrinsic
    def ternary(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
        return (a(a, b, c), codegen) if isinstance(a, Vector) else None

    return ternary


# fmuladd is one instruction where the CPU has it, and a multiplication and an addition elsewhere.
fma = _llvm_math("fmuladd", 3)
# NaN in either operand gives NaN, as NumPy's maximum and ONNX's Relu and Max do.
maximum = _llvm_math("maximum", 2)
minimum = _llvm_math("minimum", 2)
vector_sqrt = _llvm_math("sqrt", 1)
vector_abs = _llvm_math("fabs", 1)
vector_floor = _llvm_math("floor", 1)
vector_ceil = _llvm_math("ceil", 1)
vector_round_even = _llvm_math("roundeven", 1)
copysign = _llvm_math("copysign", 2)


@intrinsic
def select(typing_context: Any, mask: Any, a: Any, b: Any) -> Any:
    """``a`` where the mask is set, else ``b``."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(*args)

    return a(mask, a, b), codegen


@intrinsic
def to_i32(typing_context: Any, vector: Any) -> Any:
    """float32 to int32, towards zero."""
    result = Vector("i32", vector.lanes)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.fptosi(args[0], result.llvm)

    return result(vector), codegen


@intrinsic
def to_f32(typing_context: Any, vector: Any) -> Any:
    """int32 to float32."""
    result = Vector("f32", vector.lanes)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.sitofp(args[0], result.llvm)

    return result(vector), codegen


@intrinsic
def widen(typing_context: Any, vector: Any) -> Any:
    """float16 to float32; float32 stays as it is."""
    result = Vector("f32", vector.lanes)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return args[0] if vector.kind == "f32" else builder.fpext(args[0], result.llvm)

    return result(vector), codegen


def narrow_to(result: Vector) -> Any:
    """An intrinsic that rounds float32 vectors to ``result``, half to even; beyond its range lies infinity."""

    @intrinsic
    def narrow(typing_context: Any, vector: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return args[0] if result.kind == "f32" else builder.fptrunc(args[0], result.llvm)

        return result(vector), codegen

    return narrow


@intrinsic
def bits_to_i32(typing_context: Any, vector: Any) -> Any:
    """The bits of float32 lanes as int32."""
    result = Vector("i32", vector.lanes)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.bitcast(args[0], result.llvm)

    return result(vector), codegen


@intrinsic
def bits_to_f32(typing_context: Any, vector: Any) -> Any:
    """int32 lanes taken as the bits of float32."""
    result = Vector("f32", vector.lanes)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.bitcast(args[0], result.llvm)

    return result(vector), codegen


@intrinsic
def shift_left(typing_context: Any, vector: Any, bits: Any) -> Any:
    """int32 lanes shifted left by a number of bits."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        count = builder.trunc(args[1], _I32)
        return builder.shl(args[0], splat_value(builder, sig.return_type, count))

    return vector(vector, types.int64), codegen


@intrinsic
def shift_right(typing_context: Any, vector: Any, bits: Any) -> Any:
    """int32 lanes shifted right by a number of bits, keeping the sign."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        count = builder.trunc(args[1], _I32)
        return builder.ashr(args[0], splat_value(builder, sig.return_type, count))

    return vector(vector, types.int64), codegen


def polynomial(vector: Vector, coefficients: Sequence[Any]) -> Any:
    """An intrinsic ``p(x)``: Horner's rule unrolled; coefficients from the highest power down."""

    @intrinsic
    def evaluate(typing_context: Any, x: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            constants = [ir.Constant(vector.llvm, [float(value)] * vector.lanes) for value in coefficients]
            multiply_add = llvm_function(builder, "fmuladd", vector, 3)
            value = constants[0]
            for constant in constants[1:]:
                value = builder.call(multiply_add, [value, args[0], constant])
            return value

        return vector(vector), codegen

    return evaluate


def _reduction(name: str, start: float | None) -> Any:
    @intrinsic
    def reduce(typing_context: Any, vector: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            suffix = f"v{vector.lanes}f32"
            scalar = ir.FloatType()
            if start is None:
                function_type = ir.FunctionType(scalar, [vector.llvm])
                arguments = [args[0]]
            else:
                function_type = ir.FunctionType(scalar, [scalar, vector.llvm])
                arguments = [ir.Constant(scalar, start), args[0]]
            function = cgutils.get_or_insert_function(
                builder.module, function_type, f"llvm.vector.reduce.{name}.{suffix}"
            )
            # `reassoc` allows a tree of additions in place of a chain through all lanes.
            return builder.call(function, arguments, fastmath=() if start is None else ("reassoc",))

        return types.float32(vector), codegen

    return reduce


reduce_add = _reduction("fadd", -0.0)
reduce_mul = _reduction("fmul", 1.0)
reduce_max = _reduction("fmaximum", None)
reduce_min = _reduction("fminimum", None)


def clamped(builder: Any, vector: Vector, value: Any, low: Any, high: Any, keeps_nan: bool) -> Any:
    """LLVM value: ``min(max(value, low), high)`` of vectors; NaN stays NaN.

    ``keeps_nan`` tells whether the processor has instructions for LLVM's maximum and minimum.
    """
    if keeps_nan:
        value = builder.call(llvm_function(builder, "maximum", vector, 2), [value, low])
        return builder.call(llvm_function(builder, "minimum", vector, 2), [value, high])
    value = builder.select(builder.fcmp_ordered("<", value, low), low, value)
    return builder.select(builder.fcmp_ordered(">", value, high), high, value)


def clamp_of(vector: Vector, keeps_nan: bool) -> Any:
    """An intrinsic ``clamp(value, low, high)`` for three vectors, see ``clamped``."""

    @intrinsic
    def clamp(typing_context: Any, value: Any, low: Any, high: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            value, low, high = args
            return clamped(builder, vector, value, low, high, keeps_nan)

        return vector(vector, vector, vector), codegen

    return clamp
