"""Reading a piece of a picture for a convolution: padding and nearest upsampling happen on the way.

A patch is a copy of the input pixels that one task of a convolution needs, in the worker's scratch
memory: rows of pixels, channels last, borders already filled in. So the inner loops of every
convolution see a picture without borders, whatever the padding.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from edgeinfer.kernels.registry import Simd
from edgeinfer.simd.pointers import advance, bytes_as_f32
from edgeinfer.simd.shared import shared

# Values of the params' field `pad_mode`.
PAD_CONSTANT, PAD_REFLECT, PAD_EDGE = 0, 1, 2


@njit(forceinline=True, error_model="numpy")
def source_index(position: Any, size: Any, pad_mode: Any) -> Any:
    """The pixel at a position of the padded axis, -1 for a zero; positions count from the first real pixel."""
    if position >= 0 and position < size:
        return position
    if pad_mode == PAD_CONSTANT:
        return -1
    if pad_mode == PAD_REFLECT:
        if position < 0:
            position = -position
        if position >= size:
            position = 2 * (size - 1) - position
    return max(0, min(position, size - 1))


@functools.cache
def copy_floats(simd: Simd) -> Callable[..., None]:
    """``copy(y, y_index, x, x_index, count)``: copies floats that do not overlap."""
    lanes, load, store = simd.lanes, simd.load, simd.store
    load_first, store_first = simd.load_first, simd.store_first

    @njit(forceinline=True, error_model="numpy")
    def copy(y: Any, y_index: Any, x: Any, x_index: Any, count: Any) -> None:
        whole = count - count % lanes
        for i in range(0, whole, lanes):
            store(y, y_index + i, load(x, x_index + i))
        if whole < count:
            rest = count - whole
            store_first(y, y_index + whole, load_first(x, x_index + whole, rest), rest)

    return copy


@functools.cache
def copy_bytes(simd: Simd) -> Callable[..., None]:
    """``copy(y, y_index, x, x_index, count)``: copies bytes that do not overlap, four times ``lanes`` at once."""
    floats = copy_floats(simd)

    @njit(forceinline=True, error_model="numpy")
    def copy(y: Any, y_index: Any, x: Any, x_index: Any, count: Any) -> None:
        whole = count // 4
        floats(bytes_as_f32(advance(y, y_index)), 0, bytes_as_f32(advance(x, x_index)), 0, whole)
        for i in range(4 * whole, count):
            y[y_index + i] = x[x_index + i]

    return copy


@functools.cache
def fill_floats(simd: Simd) -> Callable[..., None]:
    """``fill(y, index, value, count)``: writes a vector's value to ``count`` floats."""
    lanes, store, store_first = simd.lanes, simd.store, simd.store_first

    @njit(forceinline=True, error_model="numpy")
    def fill(y: Any, index: Any, value: Any, count: Any) -> None:
        whole = count - count % lanes
        for i in range(0, whole, lanes):
            store(y, index + i, value)
        if whole < count:
            store_first(y, index + whole, value, count - whole)

    return fill


@functools.cache
def zero_border(simd: Simd) -> Callable[[Any], Any]:
    """``border(p)``: a vector of zeros."""
    splat = simd.splat

    @njit(forceinline=True, error_model="numpy")
    def border(p: Any) -> Any:
        return splat(np.float32(0))

    return border


@njit(forceinline=True, error_model="numpy")
def leave_row(patch: Any, place: Any, p: Any, left: Any, columns: Any, state: Any) -> None:
    """A ``finish_row`` of ``row_reader`` that leaves rows as they are."""


@functools.cache
def patch_reader(simd: Simd, border_of: Callable[[Simd], Callable[[Any], Any]] = zero_border) -> Callable[..., None]:
    """``read(patch, x, p, image, first_channel, top, left, rows, columns)``: fills a patch, see ``row_reader``."""
    read_rows = row_reader(simd, border_of, leave_row)

    @njit(forceinline=True, error_model="numpy")
    def read(
        patch: Any, x: Any, p: Any, image: Any, first_channel: Any, top: Any, left: Any, rows: Any, columns: Any
    ) -> None:
        read_rows(patch, x, p, image, first_channel, top, left, rows, columns, 0)

    return read


def row_reader(
    simd: Simd, border_of: Callable[[Simd], Callable[[Any], Any]], finish_row: Callable[..., None]
) -> Callable[..., None]:
    """``read(patch, x, p, image, first_channel, top, left, rows, columns, state)``: fills a patch row by row.

    Args:
        simd: the vector operations.
        border_of: gives ``border(p)``, the vector that fills pixels outside the picture where ``pad_mode`` is constant.
        finish_row: ``finish_row(patch, place, p, left, columns, state)`` is called for each row that lies inside the
            picture, when its floats from ``patch[place]`` on were read.

    ``p`` is the convolution's params (height, width, channels of a group, x_channels of a pixel, pad_mode,
    upsample_y, upsample_x); ``image`` the index of the first float of the picture; ``top`` and ``left``
    the position of the patch in the upsampled picture, negative inside the padding.
    """
    copy, fill, border = copy_floats(simd), fill_floats(simd), border_of(simd)

    @shared
    def read_row(
        patch: Any, place: Any, x: Any, row: Any, left: Any, columns: Any, outside: Any,
        width: Any, channels: Any, x_channels: Any, pad_mode: Any, upsample: Any,
    ) -> None:  # fmt: skip
        scaled = width * upsample
        column = 0
        while column < columns:
            position = left + column
            inside = min(columns - column, scaled - position)
            if position >= 0 and inside > 1 and upsample == 1 and x_channels == channels:
                copy(patch, place + column * channels, x, row + position * channels, inside * channels)
                column += inside
                continue
            if position >= 0 and inside > 1 and upsample > 1:
                at, left_of_pixel = row + position // upsample * x_channels, upsample - position % upsample
                for _ in range(inside):
                    copy(patch, place + column * channels, x, at, channels)
                    column += 1
                    left_of_pixel -= 1
                    if left_of_pixel == 0:
                        at, left_of_pixel = at + x_channels, upsample
                continue
            source = source_index(position, scaled, pad_mode)
            if source < 0:
                fill(patch, place + column * channels, outside, channels)
            else:
                copy(patch, place + column * channels, x, row + source // upsample * x_channels, channels)
            column += 1

    @njit(forceinline=True, error_model="numpy")
    def read(
        patch: Any, x: Any, p: Any, image: Any, first_channel: Any, top: Any, left: Any, rows: Any, columns: Any,
        state: Any,
    ) -> None:  # fmt: skip
        height, width, channels, x_channels = p.height, p.width, p.channels, p.x_channels
        pitch, outside = columns * channels, border(p)
        before = -1
        for row in range(rows):
            position = source_index(top + row, height * p.upsample_y, p.pad_mode)
            source = position // p.upsample_y if position >= 0 else -1
            if source < 0:
                fill(patch, row * pitch, outside, pitch)
            elif source == before:
                copy(patch, row * pitch, patch, (row - 1) * pitch, pitch)
            else:
                start = image + source * width * x_channels + first_channel
                read_row(
                    patch, row * pitch, x, start, left, columns, outside,
                    width, channels, x_channels, p.pad_mode, p.upsample_x,
                )  # fmt: skip
                finish_row(patch, row * pitch, p, left, columns, state)
            before = source

    return read
