"""Products of matrices that are both computed at run time, in batches.

A task multiplies some rows of one matrix of the batch by one block of columns, which it copies into
scratch memory first so that register tiles read it in order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from edgeinfer.kernels.activation import activate
from edgeinfer.kernels.patch import copy_floats
from edgeinfer.kernels.products import inner_products
from edgeinfer.kernels.registry import Simd, kernel_family, struct
from edgeinfer.simd.pointers import buffer_f32, buffer_i64, claim, scratch_f32
from edgeinfer.simd.tile import TileOps

MATMUL_PARAMS = struct(
    "a b bias y offsets batch rows depth columns a_row b_row b_column"
    " task_rows row_tasks column_tasks tiles activation",
    "low high parameter_0 parameter_1",
)

TILES = {"avx512": [(8, 2)], "avx2": [(6, 2)], "v128": [(6, 2)], "neon": [(8, 2)]}


def _rows(ops: TileOps) -> Callable[..., None]:
    """``run(y, place, y_row, a, at, a_row, panel, depth, count)``: the product of ``ops.rows`` rows and a panel."""
    zeros, inner, store_tile, rows = ops.zeros, inner_products(ops), ops.store, ops.rows

    @njit(error_model="numpy")
    def run(y: Any, place: Any, y_row: Any, a: Any, at: Any, a_row: Any, panel: Any, depth: Any, count: Any) -> None:
        tile = inner(zeros(), a, at, a_row, panel, 0, depth)
        store_tile(tile, y, place, y_row, rows, count)

    return run


@kernel_family("f32_matmul", MATMUL_PARAMS, TILES)
def f32_matmul(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """``y[n] = act(a[n] @ b[n] + bias)``; ``offsets`` holds for each n the first floats of a, b (int64 pairs)."""
    many, single = _rows(TileOps(simd, tile_rows, vectors)), _rows(TileOps(simd, 1, vectors))
    block_columns = vectors * simd.lanes
    lanes, load_first, store_first, splat = simd.lanes, simd.load_first, simd.store_first, simd.splat
    copy, apply, clamp = copy_floats(simd), activate(simd), simd.clamp

    @njit(error_model="numpy")
    def pack_panel(panel: Any, b: Any, first: Any, depth: Any, count: Any, b_row: Any, b_column: Any) -> None:
        for k in range(depth):
            if b_column == 1:
                copy(panel, k * block_columns, b, first + k * b_row, count)
            else:
                for j in range(count):
                    panel[k * block_columns + j] = b[first + k * b_row + j * b_column]
            for j in range(count, block_columns):
                panel[k * block_columns + j] = np.float32(0)

    @njit(error_model="numpy")
    def finish_rows(
        y: Any, at: Any, rows: Any, count: Any, bias: Any, bias_at: Any, has_bias: Any, p: Any
    ) -> None:  # fmt: skip
        low, high = splat(np.float32(p.low)), splat(np.float32(p.high))
        first, second = np.float32(p.parameter_0), np.float32(p.parameter_1)
        for row in range(rows):
            for i in range(0, count, lanes):
                part = min(lanes, count - i)
                value = load_first(y, at + row * p.columns + i, part)
                if has_bias:
                    value = value + load_first(bias, bias_at + i, part)
                value = apply(clamp(value, low, high), p.activation, first, second)
                store_first(y, at + row * p.columns + i, value, part)

    def body(p: Any, worker: Any) -> None:
        a, b, y = buffer_f32(worker, p.a), buffer_f32(worker, p.b), buffer_f32(worker, p.y)
        offsets = buffer_i64(worker, p.offsets)
        has_bias = p.bias >= 0
        bias = buffer_f32(worker, p.bias) if has_bias else y
        panel = scratch_f32(worker)
        while True:
            task = claim(worker, p.tiles)
            if task >= p.tiles:
                break
            row_task = task % p.row_tasks
            column_task = task // p.row_tasks % p.column_tasks
            item = task // p.row_tasks // p.column_tasks
            first_column = column_task * block_columns
            count = min(block_columns, p.columns - first_column)
            first_b = offsets[2 * item + 1] + first_column * p.b_column
            pack_panel(panel, b, first_b, p.depth, count, p.b_row, p.b_column)
            first_row = row_task * p.task_rows
            last_row = min(p.rows, first_row + p.task_rows)
            row = first_row
            while row < last_row:
                at = offsets[2 * item] + row * p.a_row
                place = (item * p.rows + row) * p.columns + first_column
                if row + tile_rows <= last_row:
                    many(y, place, p.columns, a, at, p.a_row, panel, p.depth, count)
                    row += tile_rows
                else:
                    single(y, place, p.columns, a, at, p.a_row, panel, p.depth, count)
                    row += 1
            place = (item * p.rows + first_row) * p.columns + first_column
            finish_rows(y, place, last_row - first_row, count, bias, first_column, has_bias, p)

    return body
