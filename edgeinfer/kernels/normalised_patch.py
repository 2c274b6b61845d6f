"""Reading a piece of a picture for a convolution, which is normalised on the way.

Pixels become ``x * scale + shift``, bounded: what ``f32_scale_shift`` would have written. Borders are added after that.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from edgeinfer.kernels.direct_conv import CONV_FLOATS, CONV_INTEGERS
from edgeinfer.kernels.patch import PAD_CONSTANT, row_reader, zero_border
from edgeinfer.kernels.registry import Simd, struct
from edgeinfer.simd.pointers import advance, buffer_f32
from edgeinfer.simd.shared import shared
from edgeinfer.simd.vectors import fma, widen

# affine: scales [channels] of an image and from affine_pitch on shifts, float32; -1 for a picture as it is.
# affine_image: floats from one image's scales to the next's, 0 if all share them.
NORMALISED_INTEGERS = f"{CONV_INTEGERS} affine affine_image affine_pitch"
NORMALISED_FLOATS = f"{CONV_FLOATS} x_low x_high"
NORMALISED_CONV_PARAMS = struct(NORMALISED_INTEGERS, NORMALISED_FLOATS)


@functools.cache
def normalised_patch_reader(simd: Simd) -> Callable[..., None]:
    """``read(patch, x, p, worker, image, top, left, rows, columns)``: fills a patch of whole vectors of channels.

    ``p`` holds NORMALISED_CONV_PARAMS of a convolution with one group; ``image`` counts images. See ``row_reader`` for
    the others.
    """
    lanes, load, store, narrow = simd.lanes, simd.load, simd.store, simd.narrow
    load_affine, splat, clamp = simd.wide.load, simd.wide.splat, simd.wide.clamp

    @njit(forceinline=True, error_model="numpy")
    def normalised(patch: Any, at: Any, affine: Any) -> Any:
        scale, shift, low, high = affine
        return narrow(clamp(fma(widen(load(patch, at)), scale, shift), low, high))

    @shared
    def normalise(
        patch: Any, place: Any, pixels: Any, channels: Any, scales: Any, shifts: Any, low: Any, high: Any
    ) -> None:
        for c in range(0, channels, lanes):
            affine = load_affine(scales, c), load_affine(shifts, c), splat(np.float32(low)), splat(np.float32(high))
            at, end = place + c, place + c + pixels * channels
            while at + 3 * channels < end:
                second, third, fourth = at + channels, at + 2 * channels, at + 3 * channels
                y0, y1 = normalised(patch, at, affine), normalised(patch, second, affine)
                y2, y3 = normalised(patch, third, affine), normalised(patch, fourth, affine)
                store(patch, at, y0)
                store(patch, second, y1)
                store(patch, third, y2)
                store(patch, fourth, y3)
                at += 4 * channels
            while at < end:
                store(patch, at, normalised(patch, at, affine))
                at += channels

    @njit(forceinline=True, error_model="numpy")
    def finish_row(patch: Any, place: Any, p: Any, left: Any, columns: Any, scales: Any) -> None:
        if p.affine < 0:
            return
        first, last = 0, columns
        if p.pad_mode == PAD_CONSTANT:
            first, last = max(0, -left), min(columns, p.width * p.upsample_x - left)
        if last > first:
            start, shifts = place + first * p.channels, advance(scales, p.affine_pitch)
            normalise(patch, start, last - first, p.channels, scales, shifts, p.x_low, p.x_high)

    read_rows = row_reader(simd, zero_border, finish_row)

    @njit(forceinline=True, error_model="numpy")
    def read(patch: Any, x: Any, p: Any, worker: Any, image: Any, top: Any, left: Any, rows: Any, columns: Any) -> None:
        scales = advance(buffer_f32(worker, p.affine if p.affine >= 0 else p.bias), image * p.affine_image)
        read_rows(patch, x, p, image * p.height * p.width * p.x_channels, 0, top, left, rows, columns, scales)

    return read
