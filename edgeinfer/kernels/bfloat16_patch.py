"""Reading a piece of a float32 picture as bfloat16 for a convolution, which may be normalised on the way."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from edgeinfer.kernels.patch import source_index
from edgeinfer.kernels.registry import Simd
from edgeinfer.simd.bfloat16 import store_pairs
from edgeinfer.simd.pointers import advance, as_bytes, buffer_f32, bytes_as_f32
from edgeinfer.simd.vectors import fma

_BYTES = 2


@functools.cache
def _rounding(simd: Simd) -> Callable[..., None]:
    """``read(patch, place, x, at, floats)``: rounds floats to bfloat16, from byte ``patch[place]`` on.

    Writes beyond the last one, up to a whole vector.
    """
    lanes, load, load_first, store = simd.lanes, simd.load, simd.load_first, store_pairs(simd)

    @njit(error_model="numpy")
    def read(patch: Any, place: Any, x: Any, at: Any, floats: Any) -> None:
        pairs, whole = bytes_as_f32(advance(patch, place)), floats - floats % lanes
        for i in range(0, whole, lanes):
            store(pairs, i // 2, load(x, at + i))
        if whole < floats:
            store(pairs, whole // 2, load_first(x, at + whole, floats - whole))

    return read


@functools.cache
def _normalising(simd: Simd) -> Callable[..., None]:
    """``read(patch, place, x, at, pixels, channels, affine)``: the same of pixels of whole vectors.

    They become ``x * scale + shift``, bounded, before they are rounded.
    """
    lanes, load, store, splat, clamp = simd.lanes, simd.load, store_pairs(simd), simd.splat, simd.clamp

    @njit(error_model="numpy")
    def read(patch: Any, place: Any, x: Any, at: Any, pixels: Any, channels: Any, affine: Any) -> None:
        scales, shifts, low, high = affine
        pairs, least, most = bytes_as_f32(advance(patch, place)), splat(low), splat(high)
        first, i = at, 0
        for _ in range(pixels):
            for c in range(0, channels, lanes):
                value = fma(load(x, first + c), load(scales, c), load(shifts, c))
                store(pairs, i, clamp(value, least, most))
                i += lanes // 2
            first += channels

    return read


def _row_reader(simd: Simd, packed: bool, normalises: bool) -> Callable[..., None]:
    """``read(patch, x, p, image, top, left, rows, columns, normalised, affine)``: fills a patch row by row.

    ``image`` is the index of a picture's first float; see the functions below for the others.
    """
    round_pixels, normalise_pixels = _rounding(simd), _normalising(simd)

    @njit(forceinline=True, error_model="numpy")
    def convert(
        patch: Any, place: Any, x: Any, at: Any, pixels: Any, floats: Any, normalised: Any, affine: Any
    ) -> None:
        if normalises and normalised:
            normalise_pixels(patch, place, x, at, pixels, floats, affine)
        else:
            round_pixels(patch, place, x, at, pixels * floats)

    @njit(error_model="numpy")
    def fill(patch: Any, place: Any, count: Any) -> None:
        for i in range(place, place + count):
            patch[i] = 0

    @njit(error_model="numpy")
    def read_row(
        patch: Any, place: Any, x: Any, start: Any, left: Any, columns: Any, width: Any, upsample: Any, floats: Any,
        pixel: Any, pad_mode: Any, normalised: Any, affine: Any,
    ) -> None:  # fmt: skip
        """``pixel`` counts a pixel's bytes in the patch."""
        column = 0
        while column < columns:
            position = left + column
            inside = min(columns - column, width - position)
            if position >= 0 and inside > 1 and upsample == 1 and pixel == _BYTES * floats:
                convert(patch, place + column * pixel, x, start + position * floats, inside, floats, normalised, affine)
                column += inside
                continue
            source = source_index(position, width * upsample, pad_mode)
            if source < 0:
                fill(patch, place + column * pixel, pixel)
            else:
                at = start + source // upsample * floats
                convert(patch, place + column * pixel, x, at, 1, floats, normalised, affine)
            column += 1

    @njit(forceinline=True, error_model="numpy")
    def read(
        patch: Any, x: Any, p: Any, image: Any, top: Any, left: Any, rows: Any, columns: Any, normalised: Any,
        affine: Any,
    ) -> None:  # fmt: skip
        octets, floats = as_bytes(patch), p.x_channels
        pixel = p.channels * (_BYTES if packed else 2 * _BYTES)
        for row in range(rows):
            source, place = source_index(top + row, p.height * p.upsample_y, p.pad_mode), row * columns * pixel
            if source < 0:
                fill(octets, place, columns * pixel)
            else:
                start = image + source // p.upsample_y * p.width * floats
                read_row(
                    octets, place, x, start, left, columns, p.width, p.upsample_x, floats, pixel, p.pad_mode,
                    normalised, affine,
                )  # fmt: skip
        if packed:
            # The last pair of an odd row of taps takes a number behind the patch in, which must not be NaN.
            fill(octets, rows * columns * pixel, _BYTES)

    return read


def bfloat16_patch_reader(simd: Simd, packed: bool = False) -> Callable[..., None]:
    """``read(patch, x, p, image, first_channel, top, left, rows, columns)``: fills a patch of one group.

    ``channels`` counts pairs of a pixel of the patch, or with ``packed`` its numbers, and ``x_channels`` floats of a
    pixel of x. Beyond an odd last channel stands zero.
    """
    read_rows = _row_reader(simd, packed, normalises=False)

    @njit(forceinline=True, error_model="numpy")
    def read(
        patch: Any, x: Any, p: Any, image: Any, first_channel: Any, top: Any, left: Any, rows: Any, columns: Any
    ) -> None:
        read_rows(patch, x, p, image, top, left, rows, columns, False, 0)

    return read


def normalised_bfloat16_patch_reader(simd: Simd) -> Callable[..., None]:
    """``read(patch, x, p, worker, image, top, left, rows, columns)``: as ``normalised_patch_reader``, of pairs."""
    read_rows = _row_reader(simd, packed=False, normalises=True)

    @njit(forceinline=True, error_model="numpy")
    def read(patch: Any, x: Any, p: Any, worker: Any, image: Any, top: Any, left: Any, rows: Any, columns: Any) -> None:
        scales = advance(buffer_f32(worker, p.affine if p.affine >= 0 else p.bias), image * p.affine_image)
        affine = scales, advance(scales, p.affine_pitch), np.float32(p.x_low), np.float32(p.x_high)
        picture = image * p.height * p.width * p.x_channels
        read_rows(patch, x, p, picture, top, left, rows, columns, p.affine >= 0, affine)

    return read
