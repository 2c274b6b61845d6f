"""What quantized convolutions do with their sums: activation, bounds, rounding, or float32 as it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from edgeinfer.kernels.byte_sums import residual_adder
from edgeinfer.kernels.direct_conv import CONV_FLOATS, CONV_INTEGERS
from edgeinfer.kernels.epilogue import pixel_activation, row_activation
from edgeinfer.kernels.registry import Simd, struct
from edgeinfer.simd.byte_tile import store_bytes_of, store_plain_bytes_of
from edgeinfer.simd.pointers import advance, buffer_f32, buffer_u8, scratch_f32
from edgeinfer.simd.tile import TileOps

# multipliers: per output channel; fill: four bytes of x_zero_point; float_y: whether y is float32; tile_scratch: floats
# of scratch before a tile's place; plain_y: whether y's rounding is plain, see edgeinfer.simd.rounding; flip: 128 where
# kernels of words read unsigned bytes, else 0. With a residual, y is read again and becomes the sum of both: own_… tell
# what its bytes stand for before, residual_… those of the residual, sum_… those of the sum and its bounds.
QUANTIZED_CONV_INTEGERS = (
    f"{CONV_INTEGERS} multipliers fill y_zero_point float_y tile_scratch plain_y flip"
    " own_flip own_zero_point residual_flip residual_zero_point sum_zero_point"
)
QUANTIZED_CONV_FLOATS = f"{CONV_FLOATS} y_scale own_scale residual_scale sum_scale sum_low sum_high"
QUANTIZED_CONV_PARAMS = struct(QUANTIZED_CONV_INTEGERS, QUANTIZED_CONV_FLOATS)


@dataclass(frozen=True)
class QuantizedOutput:
    """Compiled functions.

    Attributes:
        buffers: ``buffers(p, worker)``: a tuple with what the others need.
        write: ``write(tile, buffers, p, place, rows, columns)``: writes a float32 tile of sums times multipliers.
        finish_task: ``finish_task(buffers, p, start, rows, columns, channels)``, ``buffers`` being a tuple whose last
            element is the one above: is called after a block of pixels.
    """

    buffers: Callable[..., Any]
    write: Callable[..., None]
    finish_task: Callable[..., None]


def quantized_output(simd: Simd, ops: TileOps, down: bool = False) -> QuantizedOutput:
    """The functions for tiles of a size; ``p`` holds QUANTIZED_CONV_PARAMS.

    Rows of a tile are neighbouring pixels of a row of y, or with ``down`` of a column.
    """
    clamp, store_tile, store_bytes = ops.clamp, ops.store, store_bytes_of(simd, ops.type)
    activate_pixels, activated, add = pixel_activation(simd), _activated_tile(simd, ops), residual_adder(simd)

    @njit(forceinline=True, error_model="numpy")
    def buffers(p: Any, worker: Any) -> Any:
        step = p.y_row if down else p.y_pixel
        bounds = np.float32(p.low), np.float32(p.high), p.y_zero_point, step, p.float_y, p.activation
        y_bytes = buffer_u8(worker, p.y)
        residual = buffer_u8(worker, p.residual) if p.residual >= 0 else y_bytes
        return buffer_f32(worker, p.y), y_bytes, advance(scratch_f32(worker), p.tile_scratch), bounds, residual

    @njit(forceinline=True, error_model="numpy")
    def write(tile: Any, buffers: Any, p: Any, place: Any, rows: Any, columns: Any) -> None:
        y, y_bytes, memory, (low, high, zero_point, step, float_y, activation), _ = buffers
        if float_y != 0:
            store_tile(clamp(tile, low, high), y, place, step, rows, columns)
        else:
            if activation != 0:
                first, second = np.float32(p.parameter_0), np.float32(p.parameter_1)
                tile = activated(tile, memory, activation, first, second, np.float32(p.y_scale))
            store_bytes(tile, y_bytes, place, step, rows, columns, zero_point, low, high)

    @njit(forceinline=True, error_model="numpy")
    def finish_task(buffers: Any, p: Any, start: Any, rows: Any, columns: Any, channels: Any) -> None:
        if p.activation != 0 and p.float_y != 0:
            activate_pixels(buffers[-1][0], start, p, rows, columns, channels)
        if p.residual >= 0:
            add(
                buffers[-1][1], buffers[-1][4], start, rows, p.y_row, columns, p.y_pixel, channels,
                p.own_flip, p.own_zero_point, np.float32(p.own_scale), p.residual_flip, p.residual_zero_point,
                np.float32(p.residual_scale), p.sum_zero_point, np.float32(p.sum_scale), np.float32(p.sum_low),
                np.float32(p.sum_high),
            )  # fmt: skip

    return QuantizedOutput(buffers, write, finish_task)


@dataclass(frozen=True)
class ByteOutput:
    """Compiled functions of ``QuantizedOutput`` where y holds bytes and the activation does no more than bound them.

    Attributes:
        buffers: ``buffers(p, worker)``.
        write: ``write(tile, buffers, place, rows, columns)``.
    """

    buffers: Callable[..., Any]
    write: Callable[..., None]


def byte_output(simd: Simd, ops: TileOps) -> ByteOutput:
    """The functions for tiles of a size; ``p`` holds QUANTIZED_CONV_PARAMS."""
    store_bytes, has_plain = store_bytes_of(simd, ops.type), simd.level.architecture == "aarch64"
    store_plain_bytes = store_plain_bytes_of(simd, ops.type)

    @njit(forceinline=True, error_model="numpy")
    def buffers(p: Any, worker: Any) -> Any:
        return buffer_u8(worker, p.y), p.y_pixel, p.y_zero_point, np.float32(p.low), np.float32(p.high), p.plain_y

    @njit(forceinline=True, error_model="numpy")
    def write(tile: Any, buffers: Any, place: Any, rows: Any, columns: Any) -> None:
        y, y_pixel, zero_point, low, high, plain = buffers
        if has_plain and plain != 0:
            store_plain_bytes(tile, y, place, y_pixel, rows, columns, zero_point)
        else:
            store_bytes(tile, y, place, y_pixel, rows, columns, zero_point, low, high)

    return ByteOutput(buffers, write)


def _activated_tile(simd: Simd, ops: TileOps) -> Callable[..., Any]:
    """``run(tile, memory, p)``: the activation of a float tile and the division by ``y_scale``, through memory."""
    activate_row, splat, lanes = row_activation(simd), simd.splat, simd.lanes
    load, store, load_tile, store_tile, rows, columns = (
        simd.load,
        simd.store,
        ops.load,
        ops.store,
        ops.rows,
        ops.columns,
    )

    @njit(error_model="numpy")
    def run(tile: Any, memory: Any, code: Any, first: Any, second: Any, scale: Any) -> Any:
        store_tile(tile, memory, 0, columns, rows, columns)
        activate_row(memory, 0, rows * columns, code, first, second)
        for at in range(0, rows * columns, lanes):
            store(memory, at, load(memory, at) / splat(scale))
        return load_tile(memory, 0, columns, rows, columns)

    return run
