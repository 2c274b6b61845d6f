"""Reductions, softmax and layer normalisation over one axis of [outer, count, inner]."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from edgeinfer.activation_codes import REDUCTION_CODES
from edgeinfer.kernels.registry import Simd, kernel_family, struct
from edgeinfer.kernels.vector_math import vector_exp, vector_log
from edgeinfer.simd.pointers import buffer_f32, claim
from edgeinfer.simd.vectors import (
    fma,
    maximum,
    minimum,
    reduce_add,
    reduce_max,
    reduce_min,
    select,
    vector_abs,
    vector_sqrt,
    widen,
)

REDUCE_PARAMS = struct("x y outer count inner operator tiles")
SOFTMAX_PARAMS = struct("x y outer count inner logarithm tiles")
LAYER_NORM_PARAMS = struct("x scale bias y outer count tiles", "epsilon")

_SUM, _MEAN, _MAX, _MIN, _L1, _L2, _SQUARES = (
    REDUCTION_CODES[name]
    for name in (
        "ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare",
    )
)  # fmt: skip


@kernel_family("f32_reduce", REDUCE_PARAMS, float16=True)
def f32_reduce(simd: Simd) -> Callable[..., None]:
    """``y[o, i] = reduce over n of x[o, n, i]``; a tile is one vector of i, or one o where inner is 1.

    Sums are float32.
    """
    lanes, load_elements, load_first_elements, buffer = simd.lanes, simd.load, simd.load_first, simd.buffer
    store_elements, splat_element, splat, narrow = simd.store_first, simd.splat_element, simd.wide.splat, simd.narrow

    @njit(forceinline=True, error_model="numpy")
    def load(x: Any, at: Any) -> Any:
        return widen(load_elements(x, at))

    @njit(forceinline=True, error_model="numpy")
    def load_first(x: Any, at: Any, count: Any) -> Any:
        return widen(load_first_elements(x, at, count))

    @njit(forceinline=True, error_model="numpy")
    def store_first(y: Any, at: Any, value: Any, count: Any) -> None:
        store_elements(y, at, narrow(value), count)

    @njit(forceinline=True, error_model="numpy")
    def start(code: Any) -> Any:
        if code == _MAX:
            return splat(np.float32(-np.inf))
        if code == _MIN:
            return splat(np.float32(np.inf))
        return splat(np.float32(0))

    @njit(forceinline=True, error_model="numpy")
    def step(total: Any, value: Any, code: Any) -> Any:
        if code == _MAX:
            return maximum(total, value)
        if code == _MIN:
            return minimum(total, value)
        if code == _L1:
            return total + vector_abs(value)
        if code == _L2 or code == _SQUARES:  # noqa: SIM109 - Numba compiles this form to a comparison
            return fma(value, value, total)
        return total + value

    @njit(forceinline=True, error_model="numpy")
    def finish(total: Any, count: Any, code: Any) -> Any:
        if code == _MEAN:
            return total / splat(np.float32(count))
        if code == _L2:
            return vector_sqrt(total)
        return total

    @njit(forceinline=True, error_model="numpy")
    def across(total: Any, code: Any) -> Any:
        if code == _MAX:
            return splat(reduce_max(total))
        if code == _MIN:
            return splat(reduce_min(total))
        return splat(reduce_add(total))

    @njit(error_model="numpy")
    def reduce_columns(y: Any, place: Any, x: Any, at: Any, count: Any, inner: Any, width: Any, code: Any) -> None:
        first = second = start(code)
        for n in range(0, count - 1, 2):
            here = at + n * inner
            a = load(x, here) if width >= lanes else load_first(x, here, width)
            b = load(x, here + inner) if width >= lanes else load_first(x, here + inner, width)
            first, second = step(first, a, code), step(second, b, code)
        if count % 2:
            last = at + (count - 1) * inner
            first = step(first, load(x, last) if width >= lanes else load_first(x, last, width), code)
        if code == _MAX:
            first = maximum(first, second)
        elif code == _MIN:
            first = minimum(first, second)
        else:
            first = first + second
        store_first(y, place, finish(first, count, code), width)

    @njit(error_model="numpy")
    def reduce_row(y: Any, place: Any, x: Any, at: Any, count: Any, code: Any) -> None:
        whole = count - count % lanes
        total = start(code)
        for n in range(0, whole, lanes):
            total = step(total, load(x, at + n), code)
        total = across(total, code) if whole else start(code)
        rest = splat(np.float32(0))
        for n in range(whole, count):
            rest = widen(splat_element(x, at + n))
            total = step(total, rest, code)
        store_first(y, place, finish(total, count, code), 1)

    def body(p: Any, worker: Any) -> None:
        x, y = buffer(worker, p.x), buffer(worker, p.y)
        vectors = (p.inner + lanes - 1) // lanes
        while True:
            task = claim(worker, p.tiles)
            if task >= p.tiles:
                break
            if p.inner == 1:
                reduce_row(y, task, x, task * p.count, p.count, p.operator)
            else:
                outer, i = task // vectors, task % vectors * lanes
                at, width = outer * p.count * p.inner + i, min(lanes, p.inner - i)
                reduce_columns(y, outer * p.inner + i, x, at, p.count, p.inner, width, p.operator)

    return body


@kernel_family("f32_softmax", SOFTMAX_PARAMS)
def f32_softmax(simd: Simd) -> Callable[..., None]:
    """Softmax or LogSoftmax over the axis ``count``; a tile is one row, or one vector of ``inner``."""
    lanes, load_first, store_first, splat = simd.lanes, simd.load_first, simd.store_first, simd.splat
    exp, log, iota, splat_i32 = vector_exp(simd), vector_log(simd), simd.iota, simd.splat_i32

    @njit(forceinline=True, error_model="numpy")
    def or_lowest(value: Any, width: Any) -> Any:
        """The first ``width`` lanes, minus infinity in the others."""
        return select(iota() < splat_i32(np.int32(width)), value, splat(np.float32(-np.inf)))

    @njit(error_model="numpy")
    def softmax_row(y: Any, x: Any, at: Any, count: Any, logarithm: Any) -> None:
        top = splat(np.float32(-np.inf))
        for n in range(0, count, lanes):
            top = maximum(top, or_lowest(load_first(x, at + n, count - n), count - n))
        top = splat(reduce_max(top))
        total = splat(np.float32(0))
        for n in range(0, count, lanes):
            value = exp(or_lowest(load_first(x, at + n, count - n), count - n) - top)
            if not logarithm:
                store_first(y, at + n, value, count - n)
            total = total + value
        total = splat(reduce_add(total))
        shift, factor = top + log(total), splat(np.float32(1)) / total
        for n in range(0, count, lanes):
            if logarithm:
                store_first(y, at + n, load_first(x, at + n, count - n) - shift, count - n)
            else:
                store_first(y, at + n, load_first(y, at + n, count - n) * factor, count - n)

    @njit(error_model="numpy")
    def softmax_columns(y: Any, x: Any, at: Any, count: Any, inner: Any, width: Any, logarithm: Any) -> None:
        top = splat(np.float32(-np.inf))
        for n in range(count):
            top = maximum(top, load_first(x, at + n * inner, width))
        total = splat(np.float32(0))
        for n in range(count):
            value = exp(load_first(x, at + n * inner, width) - top)
            if not logarithm:
                store_first(y, at + n * inner, value, width)
            total = total + value
        shift, factor = top + log(total), splat(np.float32(1)) / total
        for n in range(count):
            if logarithm:
                store_first(y, at + n * inner, load_first(x, at + n * inner, width) - shift, width)
            else:
                store_first(y, at + n * inner, load_first(y, at + n * inner, width) * factor, width)

    def body(p: Any, worker: Any) -> None:
        x, y = buffer_f32(worker, p.x), buffer_f32(worker, p.y)
        vectors = (p.inner + lanes - 1) // lanes
        while True:
            task = claim(worker, p.tiles)
            if task >= p.tiles:
                break
            if p.inner == 1:
                softmax_row(y, x, task * p.count, p.count, p.logarithm != 0)
            else:
                i = task % vectors * lanes
                at = task // vectors * p.count * p.inner + i
                softmax_columns(y, x, at, p.count, p.inner, min(lanes, p.inner - i), p.logarithm != 0)

    return body


@kernel_family("f32_layer_norm", LAYER_NORM_PARAMS)
def f32_layer_norm(simd: Simd) -> Callable[..., None]:
    """``y = (x - mean) / sqrt(variance + epsilon) * scale + bias`` over rows of ``count`` floats; a tile is one row."""
    lanes, load_first, store_first, splat = simd.lanes, simd.load_first, simd.store_first, simd.splat
    iota, splat_i32 = simd.iota, simd.splat_i32

    @njit(error_model="numpy")
    def normalize_row(y: Any, x: Any, at: Any, count: Any, scale: Any, bias: Any, has_bias: Any, epsilon: Any) -> None:
        zero = splat(np.float32(0))
        total = zero
        for n in range(0, count, lanes):
            total = total + load_first(x, at + n, count - n)
        mean = splat(reduce_add(total) / np.float32(count))
        squares = zero
        for n in range(0, count, lanes):
            inside = iota() < splat_i32(np.int32(count - n))
            difference = select(inside, load_first(x, at + n, count - n) - mean, zero)
            squares = fma(difference, difference, squares)
        variance = splat(reduce_add(squares) / np.float32(count))
        inverse = splat(np.float32(1)) / vector_sqrt(variance + splat(epsilon))
        for n in range(0, count, lanes):
            value = (load_first(x, at + n, count - n) - mean) * inverse * load_first(scale, n, count - n)
            if has_bias:
                value = value + load_first(bias, n, count - n)
            store_first(y, at + n, value, count - n)

    def body(p: Any, worker: Any) -> None:
        x, y, scale = buffer_f32(worker, p.x), buffer_f32(worker, p.y), buffer_f32(worker, p.scale)
        has_bias = p.bias >= 0
        bias = buffer_f32(worker, p.bias) if has_bias else scale
        while True:
            task = claim(worker, p.tiles)
            if task >= p.tiles:
                break
            normalize_row(y, x, task * p.count, p.count, scale, bias, has_bias, np.float32(p.epsilon))

    return body
