"""What convolutions do to finished pixels: activations that are too long for the register tiles' loops."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from edgeinfer.kernels.activation import activate
from edgeinfer.kernels.registry import Simd
from edgeinfer.simd.shared import shared


@functools.cache
def row_activation(simd: Simd) -> Callable[..., None]:
    """``run_row(y, at, count, code, first, second)``: applies an activation to ``count`` floats in place."""
    apply = activate(simd)
    lanes, load, store, load_first, store_first = simd.lanes, simd.load, simd.store, simd.load_first, simd.store_first

    @shared
    def run_row(y: Any, at: Any, count: Any, code: Any, first: Any, second: Any) -> None:
        whole = count - count % lanes
        for i in range(0, whole, lanes):
            store(y, at + i, apply(load(y, at + i), code, first, second))
        if whole < count:
            part = count - whole
            store_first(y, at + whole, apply(load_first(y, at + whole, part), code, first, second), part)

    return run_row


@functools.cache
def pixel_activation(simd: Simd) -> Callable[..., None]:
    """``run(y, start, p, rows, columns, channels)``: applies ``p.activation`` to a block of pixels in place.

    ``start`` is the index of the block's first float; ``p`` gives the floats from row to row and pixel to pixel.
    The pixels were written a moment ago and are still in the cache.
    """
    run_row = row_activation(simd)

    @njit(forceinline=True, error_model="numpy")
    def run(y: Any, start: Any, p: Any, rows: Any, columns: Any, channels: Any) -> None:
        code, first, second = p.activation, np.float32(p.parameter_0), np.float32(p.parameter_1)
        for row in range(rows):
            at = start + row * p.y_row
            if p.y_pixel == channels:
                run_row(y, at, columns * channels, code, first, second)
            else:
                for column in range(columns):
                    run_row(y, at + column * p.y_pixel, channels, code, first, second)

    return run
