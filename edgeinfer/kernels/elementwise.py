"""Element-wise operators of one and two operands, with broadcasting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from edgeinfer.activation_codes import BINARY_CODES, UNARY_CODES
from edgeinfer.kernels.activation import activate
from edgeinfer.kernels.registry import Simd, kernel_family, struct
from edgeinfer.kernels.vector_math import vector_erf, vector_exp, vector_log
from edgeinfer.simd.pointers import claim
from edgeinfer.simd.vectors import (
    maximum,
    minimum,
    select,
    vector_abs,
    vector_ceil,
    vector_floor,
    vector_round_even,
    vector_sqrt,
    widen,
)

UNARY_PARAMS = struct("x y count task_count tiles operator", "parameter_0 parameter_1")
BINARY_PARAMS = struct(
    "a b y operator size_0 size_1 size_2 size_3 a_0 a_1 a_2 a_3 a_inner b_0 b_1 b_2 b_3 b_inner"
    " inner task_inner inner_tasks rows task_rows tiles activation",
    "low high parameter_0 parameter_1",
)

_ABS, _NEG, _SQRT, _RECIPROCAL, _EXP, _LOG, _FLOOR, _CEIL, _ROUND, _ERF = (
    UNARY_CODES[name] for name in ("Abs", "Neg", "Sqrt", "Reciprocal", "Exp", "Log", "Floor", "Ceil", "Round", "Erf")
)
_ADD, _SUB, _MUL, _DIV, _MAX, _MIN, _PRELU = (
    BINARY_CODES[name] for name in ("Add", "Sub", "Mul", "Div", "Max", "Min", "PRelu")
)


@kernel_family("f32_unary", UNARY_PARAMS, float16=True)
def f32_unary(simd: Simd) -> Callable[..., None]:
    """``y = f(x)``, computed in float32, for every float; a tile is ``task_count`` floats."""
    lanes, load, store, buffer, narrow = simd.lanes, simd.load, simd.store, simd.buffer, simd.narrow
    load_first, store_first, wide = simd.load_first, simd.store_first, simd.wide
    splat, apply, exp, log, erf = wide.splat, activate(wide), vector_exp(wide), vector_log(wide), vector_erf(wide)

    @njit(error_model="numpy")
    def evaluate(x: Any, code: Any, first: Any, second: Any) -> Any:
        if code < _ABS:
            return apply(x, code, first, second)
        if code == _ABS:
            return vector_abs(x)
        if code == _NEG:
            return splat(np.float32(-0.0)) - x
        if code == _SQRT:
            return vector_sqrt(x)
        if code == _RECIPROCAL:
            return splat(np.float32(1)) / x
        if code == _EXP:
            return exp(x)
        if code == _LOG:
            return log(x)
        if code == _FLOOR:
            return vector_floor(x)
        if code == _CEIL:
            return vector_ceil(x)
        if code == _ROUND:
            return vector_round_even(x)
        if code == _ERF:
            return erf(x)
        return x

    def body(p: Any, worker: Any) -> None:
        x, y = buffer(worker, p.x), buffer(worker, p.y)
        code, first, second = p.operator, np.float32(p.parameter_0), np.float32(p.parameter_1)
        while True:
            task = claim(worker, p.tiles)
            if task >= p.tiles:
                break
            start = task * p.task_count
            stop = min(p.count, start + p.task_count)
            whole = start + (stop - start) // lanes * lanes
            for i in range(start, whole, lanes):
                store(y, i, narrow(evaluate(widen(load(x, i)), code, first, second)))
            if whole < stop:
                rest = stop - whole
                value = evaluate(widen(load_first(x, whole, rest)), code, first, second)
                store_first(y, whole, narrow(value), rest)

    return body


@kernel_family("f32_binary", BINARY_PARAMS, float16=True)
def f32_binary(simd: Simd) -> Callable[..., None]:
    """``y = act(f(a, b))`` over four outer dimensions and one inner, along which an operand runs or stands still.

    ``a_i`` and ``b_i`` are floats from one index of dimension i to the next; ``a_inner`` and ``b_inner`` are 1 or 0.
    """
    lanes, load, store, splat, clamp = simd.lanes, simd.load, simd.store, simd.splat, simd.clamp
    load_first, store_first, splat_element = simd.load_first, simd.store_first, simd.splat_element
    apply, buffer = activate(simd), simd.buffer

    @njit(forceinline=True, error_model="numpy")
    def combine(a: Any, b: Any, code: Any) -> Any:
        if code == _ADD:
            return a + b
        if code == _SUB:
            return a - b
        if code == _MUL:
            return a * b
        if code == _DIV:
            return a / b
        if code == _MAX:
            return maximum(a, b)
        if code == _MIN:
            return minimum(a, b)
        if code == _PRELU:
            return select(a < splat(np.float32(0)), a * b, a)
        return a

    @njit(forceinline=True, error_model="numpy")
    def operand(x: Any, at: Any, i: Any, inner: Any, count: Any) -> Any:
        if inner == 0:
            return splat_element(x, at)
        return load(x, at + i) if count >= lanes else load_first(x, at + i, count)

    def body(p: Any, worker: Any) -> None:
        a, b, y = buffer(worker, p.a), buffer(worker, p.b), buffer(worker, p.y)
        low, high = splat(np.float32(p.low)), splat(np.float32(p.high))
        first, second = np.float32(p.parameter_0), np.float32(p.parameter_1)
        # The compiler takes choices out of the inner loop where it sees that no store can change them.
        code, activation, a_inner, b_inner = p.operator, p.activation, p.a_inner, p.b_inner
        while True:
            task = claim(worker, p.tiles)
            if task >= p.tiles:
                break
            start = task % p.inner_tasks * p.task_inner
            stop = min(p.inner, start + p.task_inner)
            first_row = task // p.inner_tasks * p.task_rows
            i3 = first_row % p.size_3
            rest = first_row // p.size_3
            i2 = rest % p.size_2
            rest //= p.size_2
            i1, i0 = rest % p.size_1, rest // p.size_1
            for row in range(first_row, min(p.rows, first_row + p.task_rows)):
                a_at = i0 * p.a_0 + i1 * p.a_1 + i2 * p.a_2 + i3 * p.a_3
                b_at = i0 * p.b_0 + i1 * p.b_1 + i2 * p.b_2 + i3 * p.b_3
                i3 += 1
                if i3 == p.size_3:
                    i3, i2 = 0, i2 + 1
                    if i2 == p.size_2:
                        i2, i1 = 0, i1 + 1
                        if i1 == p.size_1:
                            i1, i0 = 0, i0 + 1
                y_at = row * p.inner
                for i in range(start, stop, lanes):
                    count = stop - i
                    value = combine(operand(a, a_at, i, a_inner, count), operand(b, b_at, i, b_inner, count), code)
                    value = clamp(value, low, high)
                    if activation != 0:
                        value = apply(value, activation, first, second)
                    if count >= lanes:
                        store(y, y_at + i, value)
                    else:
                        store_first(y, y_at + i, value, count)

    return body
