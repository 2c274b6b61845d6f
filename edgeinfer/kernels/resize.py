"""Resizing pictures, channels last, by tables of source pixels and weights for each axis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from edgeinfer.kernels.registry import Simd, kernel_family, struct
from edgeinfer.simd.pointers import buffer_f32, buffer_i32, claim
from edgeinfer.simd.vectors import fma, widen

RESIZE_PARAMS = struct(
    "x y row_indices row_weights column_indices column_weights row_taps column_taps height width channels out_height"
    " out_width tiles"
)


@kernel_family("f32_resize", RESIZE_PARAMS, float16=True)
def f32_resize(simd: Simd) -> Callable[..., None]:
    """``y[r, c] = sum over taps of row_weight * column_weight * x[row, column]``; a tile is one output row."""
    lanes, load, store, splat, floats = simd.lanes, simd.load, simd.store, simd.wide.splat, simd.buffer
    load_first, store_first, narrow = simd.load_first, simd.store_first, simd.narrow

    @njit(error_model="numpy")
    def pixel(
        y: Any, place: Any, x: Any, image: Any, width: Any, channels: Any, rows: Any, row_weights: Any, row_at: Any,
        row_taps: Any, columns: Any, column_weights: Any, column_at: Any, column_taps: Any,
    ) -> None:  # fmt: skip
        for c in range(0, channels, lanes):
            count = channels - c
            total = splat(np.float32(0))
            for i in range(row_taps):
                row = image + rows[row_at + i] * width
                for j in range(column_taps):
                    at = (row + columns[column_at + j]) * channels + c
                    value = widen(load(x, at) if count >= lanes else load_first(x, at, count))
                    weight = row_weights[row_at + i] * column_weights[column_at + j]
                    total = fma(value, splat(weight), total)
            if count >= lanes:
                store(y, place + c, narrow(total))
            else:
                store_first(y, place + c, narrow(total), count)

    def body(p: Any, worker: Any) -> None:
        x, y = floats(worker, p.x), floats(worker, p.y)
        rows, row_weights = buffer_i32(worker, p.row_indices), buffer_f32(worker, p.row_weights)
        columns, column_weights = buffer_i32(worker, p.column_indices), buffer_f32(worker, p.column_weights)
        while True:
            task = claim(worker, p.tiles)
            if task >= p.tiles:
                break
            row = task % p.out_height
            image = task // p.out_height * p.height * p.width
            for column in range(p.out_width):
                pixel(
                    y, (task * p.out_width + column) * p.channels, x, image, p.width, p.channels,
                    rows, row_weights, row * p.row_taps, p.row_taps,
                    columns, column_weights, column * p.column_taps, p.column_taps,
                )  # fmt: skip

    return body
