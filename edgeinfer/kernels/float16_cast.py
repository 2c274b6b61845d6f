"""float32 to float16, rounded half to even, and back; beyond the range of float16 lies infinity."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from edgeinfer.kernels.registry import Simd, kernel_family, struct
from edgeinfer.simd.pointers import claim
from edgeinfer.simd.vectors import widen

CAST_PARAMS = struct("x y count task_count tiles")


@kernel_family("f32_f16_cast", CAST_PARAMS, numbers="f16")
def f32_f16_cast(simd: Simd) -> Callable[..., None]:
    """float32 to float16."""
    return _cast(simd.wide, simd, simd.narrow)


@kernel_family("f16_f32_cast", CAST_PARAMS, numbers="f16")
def f16_f32_cast(simd: Simd) -> Callable[..., None]:
    """float16 to float32."""

    @njit(forceinline=True, error_model="numpy")
    def convert(value: Any) -> Any:
        return widen(value)

    return _cast(simd, simd.wide, convert)


def _cast(source: Simd, target: Simd, convert: Callable[..., Any]) -> Callable[..., None]:
    """``y = convert(x)`` for every float; a tile is ``task_count`` floats, and both formats have as many lanes."""
    lanes, x_buffer, y_buffer = source.lanes, source.buffer, target.buffer
    load, load_first, store, store_first = source.load, source.load_first, target.store, target.store_first

    def body(p: Any, worker: Any) -> None:
        x, y = x_buffer(worker, p.x), y_buffer(worker, p.y)
        while True:
            task = claim(worker, p.tiles)
            if task >= p.tiles:
                break
            start = task * p.task_count
            stop = min(p.count, start + p.task_count)
            whole = start + (stop - start) // lanes * lanes
            for i in range(start, whole, lanes):
                store(y, i, convert(load(x, i)))
            if whole < stop:
                store_first(y, whole, convert(load_first(x, whole, stop - whole)), stop - whole)

    return body
