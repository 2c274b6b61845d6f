"""Normalisation over the pixels of each channel, channels last, in three steps.

1. ``f32_channel_statistics``: mean and sum of squared deviations of each channel over a block of pixels.
2. ``f32_merge_statistics``: all blocks merged by Chan's formula into one scale and shift for each channel:
   scale = gamma / sqrt(variance + epsilon), shift = beta - mean * scale.
3. ``f32_scale_shift``: y = act(x * scale + shift + residual).

Deviations are taken from each block's own mean, so that large means do not cancel the variance.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from edgeinfer.kernels.activation import activate
from edgeinfer.kernels.registry import Simd, kernel_family, struct
from edgeinfer.simd.pointers import advance, buffer_f32, claim, scratch_f32
from edgeinfer.simd.vectors import clamp, fma, vector_sqrt

STATISTICS_PARAMS = struct("x partials pixels channels pitch task_pixels pixel_tasks tiles")
MERGE_PARAMS = struct("partials gamma beta affine pixels channels pitch task_pixels pixel_tasks tiles", "epsilon")
SCALE_SHIFT_PARAMS = struct(
    "x affine affine_image residual y pixels channels pitch task_pixels pixel_tasks tiles activation",
    "low high parameter_0 parameter_1",
)


@kernel_family("f32_channel_statistics", STATISTICS_PARAMS)
def f32_channel_statistics(simd: Simd) -> Callable[..., None]:
    """Partial statistics [image, block, 2, pitch]: means, then sums of squared deviations."""
    lanes, load, load_first, store, splat = simd.lanes, simd.load, simd.load_first, simd.store, simd.splat

    @njit(forceinline=True, error_model="numpy")
    def read(x: Any, index: Any, count: Any) -> Any:
        return load(x, index) if count >= lanes else load_first(x, index, count)

    @njit(error_model="numpy")
    def block_statistics(partials: Any, place: Any, x: Any, start: Any, pixels: Any, channels: Any, pitch: Any) -> None:
        whole = pixels - pixels % 4
        for c in range(0, channels, lanes):
            count = channels - c
            s0 = s1 = s2 = s3 = splat(np.float32(0))
            for pixel in range(0, whole, 4):
                at = start + pixel * channels + c
                s0 = s0 + read(x, at, count)
                s1 = s1 + read(x, at + channels, count)
                s2 = s2 + read(x, at + 2 * channels, count)
                s3 = s3 + read(x, at + 3 * channels, count)
            for pixel in range(whole, pixels):
                s0 = s0 + read(x, start + pixel * channels + c, count)
            mean = (s0 + s1 + s2 + s3) / splat(np.float32(pixels))
            m0 = m1 = m2 = m3 = splat(np.float32(0))
            for pixel in range(0, whole, 4):
                at = start + pixel * channels + c
                d0, d1 = read(x, at, count) - mean, read(x, at + channels, count) - mean
                d2, d3 = read(x, at + 2 * channels, count) - mean, read(x, at + 3 * channels, count) - mean
                m0, m1, m2, m3 = fma(d0, d0, m0), fma(d1, d1, m1), fma(d2, d2, m2), fma(d3, d3, m3)
            for pixel in range(whole, pixels):
                d0 = read(x, start + pixel * channels + c, count) - mean
                m0 = fma(d0, d0, m0)
            store(partials, place + c, mean)
            store(partials, place + pitch + c, m0 + m1 + m2 + m3)

    def body(p: Any, worker: Any) -> None:
        x, partials = buffer_f32(worker, p.x), buffer_f32(worker, p.partials)
        while True:
            task = claim(worker)
            if task >= p.tiles:
                break
            first = task % p.pixel_tasks * p.task_pixels
            start = (task // p.pixel_tasks * p.pixels + first) * p.channels
            pixels = min(p.task_pixels, p.pixels - first)
            block_statistics(partials, task * 2 * p.pitch, x, start, pixels, p.channels, p.pitch)

    return body


@kernel_family("f32_merge_statistics", MERGE_PARAMS)
def f32_merge_statistics(simd: Simd) -> Callable[..., None]:
    """Scale and shift [image, 2, pitch] from partial statistics; a tile is one image's vector of channels."""
    lanes, load, load_first, store, splat = simd.lanes, simd.load, simd.load_first, simd.store, simd.splat

    def body(p: Any, worker: Any) -> None:
        partials, affine = buffer_f32(worker, p.partials), buffer_f32(worker, p.affine)
        gamma, beta = buffer_f32(worker, p.gamma), buffer_f32(worker, p.beta)
        vectors = p.pitch // lanes
        while True:
            task = claim(worker)
            if task >= p.tiles:
                break
            c = task % vectors * lanes
            image = task // vectors
            mean = deviations = splat(np.float32(0))
            merged = 0
            for block in range(p.pixel_tasks):
                place = (image * p.pixel_tasks + block) * 2 * p.pitch + c
                pixels = min(p.task_pixels, p.pixels - block * p.task_pixels)
                total = merged + pixels
                difference = load(partials, place) - mean
                share = splat(np.float32(pixels / total))
                mean = fma(difference, share, mean)
                between = difference * difference * share * splat(np.float32(merged))
                deviations = deviations + load(partials, place + p.pitch) + between
                merged = total
            variance = deviations / splat(np.float32(p.pixels))
            count = p.channels - c
            one = splat(np.float32(1))
            inverse = one / vector_sqrt(variance + splat(np.float32(p.epsilon)))
            scale = load_first(gamma, c, count) * inverse
            shift = load_first(beta, c, count) - mean * scale
            store(affine, image * 2 * p.pitch + c, scale)
            store(affine, (image * 2 + 1) * p.pitch + c, shift)

    return body


@kernel_family("f32_scale_shift", SCALE_SHIFT_PARAMS)
def f32_scale_shift(simd: Simd) -> Callable[..., None]:
    """``y = act(x * scale + shift + residual)`` with a scale and a shift for each channel.

    ``affine_image`` is the number of floats from one image's scales to the next's, 0 if all share them. Pixels are
    done ``lanes`` at a time: so many are ``channels`` whole vectors, each with its own vector of scales. Where
    ``channels`` is not a multiple of ``lanes``, these are laid out in scratch memory first.
    """
    lanes, load, store, splat = simd.lanes, simd.load, simd.store, simd.splat
    load_first, store_first = simd.load_first, simd.store_first
    apply = activate(simd)

    @njit(forceinline=True, error_model="numpy")
    def finish(value: Any, p: Any) -> Any:
        value = clamp(value, splat(np.float32(p.low)), splat(np.float32(p.high)))
        if p.activation != 0:
            value = apply(value, p.activation, np.float32(p.parameter_0), np.float32(p.parameter_1))
        return value

    @njit(forceinline=True, error_model="numpy")
    def run(
        p: Any, y: Any, x: Any, residual: Any, has_residual: Any, start: Any, floats: Any, scales: Any, shifts: Any,
        period: Any,
    ) -> None:  # fmt: skip
        """Floats ``start`` to ``start + floats``; vector i takes scale and shift ``i % period``."""
        whole = floats - floats % lanes
        for first in range(0, min(period, whole), lanes):
            scale, shift = load(scales, first), load(shifts, first)
            i = first
            while i < whole:
                value = fma(load(x, start + i), scale, shift)
                if has_residual:
                    value = value + load(residual, start + i)
                store(y, start + i, finish(value, p))
                i += period
        if whole < floats:
            at, rest = start + whole, floats - whole
            value = fma(load_first(x, at, rest), load(scales, whole % period), load(shifts, whole % period))
            if has_residual:
                value = value + load_first(residual, at, rest)
            store_first(y, at, finish(value, p), rest)

    def body(p: Any, worker: Any) -> None:
        x, affine, y = buffer_f32(worker, p.x), buffer_f32(worker, p.affine), buffer_f32(worker, p.y)
        has_residual = p.residual >= 0
        residual = buffer_f32(worker, p.residual) if has_residual else y
        channels = p.channels
        repeated = channels % lanes != 0
        period = channels * lanes if repeated else channels
        pattern = scratch_f32(worker)
        while True:
            task = claim(worker)
            if task >= p.tiles:
                break
            image = task // p.pixel_tasks
            first_pixel = task % p.pixel_tasks * p.task_pixels
            pixels = min(p.task_pixels, p.pixels - first_pixel)
            start = (image * p.pixels + first_pixel) * channels
            scales, shifts = advance(affine, image * p.affine_image), advance(affine, image * p.affine_image + p.pitch)
            if repeated:
                for i in range(period):
                    pattern[i] = scales[i % channels]
                    pattern[period + i] = shifts[i % channels]
                scales, shifts = pattern, advance(pattern, period)
            run(p, y, x, residual, has_residual, start, pixels * channels, scales, shifts, period)

    return body
