"""Reading a piece of a picture of bytes for a convolution that multiplies words: bytes are widened on the way."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from edgeinfer.kernels.patch import fill_floats, source_index
from edgeinfer.kernels.registry import Simd
from edgeinfer.simd.pointers import as_bytes
from edgeinfer.simd.vectors import bits_to_f32
from edgeinfer.simd.word_tile import widen

# Bytes that are widened at once, where there are as many and else.
_WHOLE, _LEAST = 16, 4
_widen_whole, _widen_least = widen(_WHOLE), widen(_LEAST)


@njit(error_model="numpy")
def read_bytes(patch: Any, place: Any, x: Any, at: Any, count: Any, flip: Any) -> None:
    """Widen ``count`` bytes from ``x[at]`` on, a multiple of 4, to pairs of words from ``patch[place]`` on."""
    whole = count - count % _WHOLE
    for i in range(0, whole, _WHOLE):
        _widen_whole(patch, place + i // 2, x, at + i, flip)
    for i in range(whole, count, _LEAST):
        _widen_least(patch, place + i // 2, x, at + i, flip)


@functools.cache
def word_patch_reader(simd: Simd) -> Callable[..., None]:
    """``read(patch, x, p, image, first_channel, top, left, rows, columns)``: fills a patch with pairs of words.

    ``p`` holds QUANTIZED_CONV_PARAMS of one group, so ``first_channel`` is 0. ``channels`` counts pairs from pixel to
    pixel of the patch: what is behind the last channel is not written. ``x_channels`` counts bytes of a pixel of x, a
    multiple of 4; ``image`` is the index of the first byte of the picture. Words are bytes of x, less 128 with a
    ``flip`` of 128; ``fill`` is the pair of the border.
    """
    fill, splat = fill_floats(simd), simd.splat_i32

    @njit(forceinline=True, error_model="numpy")
    def read(
        patch: Any, x: Any, p: Any, image: Any, first_channel: Any, top: Any, left: Any, rows: Any, columns: Any
    ) -> None:
        picture, width, pairs, octets, flip = as_bytes(x), p.width, p.channels, p.x_channels, p.flip
        upsample, outside, pitch = p.upsample_x, bits_to_f32(splat(np.int32(p.fill))), columns * p.channels
        for row in range(rows):
            source = source_index(top + row, p.height * p.upsample_y, p.pad_mode)
            if source < 0:
                fill(patch, row * pitch, outside, pitch)
                continue
            start = image + source // p.upsample_y * width * octets
            column = 0
            while column < columns:
                position, place = left + column, row * pitch + column * pairs
                inside = min(columns - column, width - position)
                if position >= 0 and inside > 1 and upsample == 1 and 2 * pairs == octets:
                    read_bytes(patch, place, picture, start + position * octets, inside * octets, flip)
                    column += inside
                    continue
                pixel = source_index(position, width * upsample, p.pad_mode)
                if pixel < 0:
                    fill(patch, place, outside, pairs)
                else:
                    read_bytes(patch, place, picture, start + pixel // upsample * octets, octets, flip)
                column += 1

    return read


@functools.cache
def picture_word_reader(simd: Simd) -> Callable[..., None]:
    """``read(patch, x, p, worker, image, top, left, rows, columns)``: as ``word_patch_reader``.

    ``image`` counts images.
    """
    read_words = word_patch_reader(simd)

    @njit(forceinline=True, error_model="numpy")
    def read(patch: Any, x: Any, p: Any, worker: Any, image: Any, top: Any, left: Any, rows: Any, columns: Any) -> None:
        read_words(patch, x, p, image * p.height * p.width * p.x_channels, 0, top, left, rows, columns)

    return read
