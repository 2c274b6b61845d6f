"""Normalisation over the pixels of each channel of 8-bit pictures, channels last, bit for bit as ONNX Runtime does it.

What is normalised is quantized again at once, where the last bit of a mean decides how thousands of pixels are rounded.
So sums are added up in the order in which ONNX Runtime's (Eigen's, of vectors of four float32) adds them:

    sum = ((l0 + l2) + (l1 + l3)) + first pixels + last pixels
    lj = (s[j] + s[j + 4]) + the four pixels after the last whole eight, if there are so many
    s[j] = pixels j, j + 8, j + 16 … one after another

where pixels are counted from the first that lies at a multiple of 16 bytes in pictures of float32, channels first.
Three steps before ``qu8_scale_shift``:

1. ``qu8_channel_sums``: s of the pixels' numbers x = (byte - zero_point) * x_scale.
2. ``qu8_channel_squares``: s of (x - mean)², counted from the first pixel.
3. ``qu8_merge_sums``: scale = gamma * (1 / sqrt(squares / pixels + epsilon)), shift = beta - mean * scale.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from edgeinfer.kernels.byte_sums import dequantizer
from edgeinfer.kernels.registry import Simd, kernel_family, struct
from edgeinfer.simd.pointers import advance, buffer_f32, buffer_u8, claim, scratch_f32
from edgeinfer.simd.prefetch import prefetch
from edgeinfer.simd.vectors import select, vector_sqrt

# Numbers that are added up one beside another.
SUMS = 8
# A task adds up two of them: additions wait for each other, but no longer than it takes to read the next pixels.
TASK_SUMS = 2
# Pixels that are done for one vector of channels after another: their lines are in the first-level cache by then.
BLOCK_PIXELS = 64
# Half of the lines come from the cache of another worker, who wrote them: they are asked for so many pixels before.
AHEAD_PIXELS = 128

# sums [image, start, chunk, SUMS, pitch], squares [image, chunk, SUMS, pitch], affine [image, 2, pitch]; starts: 1
# where all channels are counted from their first pixel, else 4; each sum is made of chunks of chunk_pixels, since
# float32 could not hold that of all; a task of the first two steps has group_channels.
BYTE_STATISTICS_PARAMS = struct(
    "x sums squares gamma beta affine pixels channels pitch starts chunks chunk_pixels group_channels groups flip"
    " zero_point tiles",
    "scale epsilon",
)


@dataclass(frozen=True)
class _OrderedSums:
    """Compiled functions that add up one term for each pixel.

    Attributes:
        add: ``add(sums, p, x, first, last, c, count, zero_point, scale, mean)``: to a sum of a vector of channels and
            the next one, pixel ``first`` of a picture and the next, and every eighth before ``last``.
        total: ``total(sums, p, x, start, c, count, mean)``: the sums and what is left of the picture in one vector.
    """

    add: Callable[..., None]
    total: Callable[..., Any]


def _ordered_sums(simd: Simd, squares: bool) -> _OrderedSums:
    load, store, splat, number = simd.load, simd.store, simd.splat, dequantizer(simd).vector

    @njit(forceinline=True, error_model="numpy", fastmath=False)
    def term(x: Any, at: Any, count: Any, flip: Any, zero_point: Any, scale: Any, mean: Any) -> Any:
        value = number(x, at, count, flip, zero_point, scale)
        if squares:
            difference = value - mean
            return difference * difference
        return value

    @njit(forceinline=True, error_model="numpy", fastmath=False)
    def add(
        sums: Any, p: Any, x: Any, first: Any, last: Any, c: Any, count: Any, zero_point: Any, scale: Any, mean: Any
    ) -> None:
        a, b = load(sums, c), load(sums, p.pitch + c)
        at = first * p.channels + c
        for _ in range(first, last, SUMS):
            a = a + term(x, at, count, p.flip, zero_point, scale, mean)
            b = b + term(x, at + p.channels, count, p.flip, zero_point, scale, mean)
            at += SUMS * p.channels
        store(sums, c, a)
        store(sums, p.pitch + c, b)

    @njit(forceinline=True, error_model="numpy", fastmath=False)
    def total(sums: Any, p: Any, x: Any, start: Any, c: Any, count: Any, mean: Any) -> Any:
        zero_point, scale = splat(np.float32(p.zero_point)), splat(np.float32(p.scale))
        first = min(start, p.pixels)
        eights, fours = (p.pixels - first) // SUMS * SUMS + first, (p.pixels - first) // 4 * 4 + first
        even = odd = splat(np.float32(0))
        for lane in range(4):
            low, high = load(sums, lane * p.pitch + c), load(sums, (lane + 4) * p.pitch + c)
            for chunk in range(1, p.chunks):
                at = (chunk * SUMS + lane) * p.pitch + c
                low, high = low + load(sums, at), high + load(sums, at + 4 * p.pitch)
            value = low + high
            if fours > eights:
                value = value + term(x, (eights + lane) * p.channels + c, count, p.flip, zero_point, scale, mean)
            # Nothing is lost by adding to zero.
            even, odd = odd, even + value
        result = even + odd
        for i in range(first + p.pixels - fours):
            pixel = i if i < first else fours + i - first
            result = result + term(x, pixel * p.channels + c, count, p.flip, zero_point, scale, mean)
        return result

    return _OrderedSums(add, total)


def _channel_means(simd: Simd) -> Callable[..., Any]:
    """``mean(sums, p, x, image, c, count, starts_of_lanes)``: of a vector of channels; the last is scratch memory."""
    lanes, load, splat, total = simd.lanes, simd.load, simd.splat, _ordered_sums(simd, False).total

    @njit(forceinline=True, error_model="numpy", fastmath=False)
    def mean(sums: Any, p: Any, x: Any, image: Any, c: Any, count: Any, starts_of_lanes: Any) -> Any:
        none = splat(np.float32(0))
        result = total(sums, p, x, 0, c, count, none)
        if p.starts > 1:
            for lane in range(lanes):
                starts_of_lanes[lane] = np.float32(-(image * p.channels + c + lane) * p.pixels % 4)
            own = load(starts_of_lanes, 0)
            for start in range(1, p.starts):
                other = total(advance(sums, start * p.chunks * SUMS * p.pitch), p, x, start, c, count, none)
                result = select(own == splat(np.float32(start)), other, result)
        return result / splat(np.float32(p.pixels))

    return mean


def _sums_kernel(simd: Simd, squares: bool) -> Callable[..., None]:
    lanes, load, store, splat = simd.lanes, simd.load, simd.store, simd.splat
    add, mean_of = _ordered_sums(simd, squares).add, _channel_means(simd)
    parts = SUMS // TASK_SUMS

    def body(p: Any, worker: Any) -> None:
        x, sums, results = buffer_u8(worker, p.x), buffer_f32(worker, p.sums), buffer_f32(worker, p.squares)
        zero_point, scale, none = splat(np.float32(p.zero_point)), splat(np.float32(p.scale)), splat(np.float32(0))
        # Scratch memory: where channels start, then the means of a group.
        starts_of_lanes = scratch_f32(worker)
        means = advance(starts_of_lanes, lanes)
        starts = 1 if squares else p.starts
        while True:
            task = claim(worker, p.tiles)
            if task >= p.tiles:
                break
            first_sum = task % parts * TASK_SUMS
            group, rest = task // parts % p.groups, task // parts // p.groups
            chunk, image = rest % p.chunks, rest // p.chunks
            begin = group * p.group_channels
            end = min(p.channels, begin + p.group_channels)
            picture = advance(x, image * p.pixels * p.channels)
            image_sums = advance(sums, image * p.starts * p.chunks * SUMS * p.pitch)
            if squares:
                for c in range(begin, end, lanes):
                    mean = mean_of(image_sums, p, picture, image, c, p.channels - c, starts_of_lanes)
                    store(means, c - begin, mean)
                image_sums = advance(results, image * p.chunks * SUMS * p.pitch)
            for start in range(starts):
                own = advance(image_sums, ((start * p.chunks + chunk) * SUMS + first_sum) * p.pitch)
                for c in range(begin, end, lanes):
                    store(own, c, none)
                    store(own, p.pitch + c, none)
                first = start + chunk * p.chunk_pixels
                last = min(first + p.chunk_pixels, p.pixels - (p.pixels - start) % SUMS)
                for block in range(first, last, BLOCK_PIXELS):
                    stop = min(last, block + BLOCK_PIXELS)
                    for pixel in range(block + AHEAD_PIXELS + first_sum, stop + AHEAD_PIXELS, SUMS):
                        prefetch(picture, pixel * p.channels + begin)
                        prefetch(picture, (pixel + 1) * p.channels + begin)
                    for c in range(begin, end, lanes):
                        mean = load(means, c - begin) if squares else none
                        add(own, p, picture, block + first_sum, stop, c, p.channels - c, zero_point, scale, mean)

    return body


@kernel_family("qu8_channel_sums", BYTE_STATISTICS_PARAMS, sums=SUMS, task_sums=TASK_SUMS)
def qu8_channel_sums(simd: Simd) -> Callable[..., None]:
    """Sums of each channel's numbers, as the module's text says."""
    return _sums_kernel(simd, False)


@kernel_family("qu8_channel_squares", BYTE_STATISTICS_PARAMS)
def qu8_channel_squares(simd: Simd) -> Callable[..., None]:
    """Sums of the squares of their distances from the mean, from the sums."""
    return _sums_kernel(simd, True)


@kernel_family("qu8_merge_sums", BYTE_STATISTICS_PARAMS)
def qu8_merge_sums(simd: Simd) -> Callable[..., None]:
    """Scale and shift [image, 2, pitch] from both sums; a tile is one image's vector of channels."""
    lanes, load_first, store, splat = simd.lanes, simd.load_first, simd.store, simd.splat
    total, mean_of = _ordered_sums(simd, True).total, _channel_means(simd)

    @njit(forceinline=True, error_model="numpy", fastmath=False)
    def shifted(beta: Any, mean: Any, scale: Any) -> Any:
        return beta - mean * scale

    def body(p: Any, worker: Any) -> None:
        x, sums, squares = buffer_u8(worker, p.x), buffer_f32(worker, p.sums), buffer_f32(worker, p.squares)
        gamma, beta = buffer_f32(worker, p.gamma), buffer_f32(worker, p.beta)
        affine, starts_of_lanes = buffer_f32(worker, p.affine), scratch_f32(worker)
        vectors = p.pitch // lanes
        while True:
            task = claim(worker, p.tiles)
            if task >= p.tiles:
                break
            c, image = task % vectors * lanes, task // vectors
            count = p.channels - c
            picture = advance(x, image * p.pixels * p.channels)
            image_sums = advance(sums, image * p.starts * p.chunks * SUMS * p.pitch)
            mean = mean_of(image_sums, p, picture, image, c, count, starts_of_lanes)
            deviations = total(advance(squares, image * p.chunks * SUMS * p.pitch), p, picture, 0, c, count, mean)
            variance = deviations / splat(np.float32(p.pixels))
            inverse = splat(np.float32(1)) / vector_sqrt(variance + splat(np.float32(p.epsilon)))
            scale = inverse * load_first(gamma, c, count)
            store(affine, image * 2 * p.pitch + c, scale)
            store(affine, (image * 2 + 1) * p.pitch + c, shifted(load_first(beta, c, count), mean, scale))

    return body
