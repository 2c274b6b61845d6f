"""Normalisation over the pixels of each channel, channels last, in three steps.

1. ``f32_channel_statistics``: mean and sum of squared deviations of each channel over a block of pixels.
2. ``f32_merge_statistics``: all blocks merged by Chan's formula into one scale and shift for each channel:
   scale = gamma / sqrt(variance + epsilon), shift = beta - mean * scale.
3. ``f32_scale_shift``: y = act(x * scale + shift + residual).

Deviations d of a block of n pixels are taken from the mean of its first m pixels, so that large means do not cancel the
variance: sum (x - mean)^2 = sum d^2 - (sum d)^2 / n. What is subtracted is at most n / m times the result, since the
mean of m numbers is not farther from the mean of all than their variance allows (Cauchy's inequality).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from edgeinfer.kernels.activation import activate
from edgeinfer.kernels.registry import Simd, kernel_family, struct
from edgeinfer.simd.pointers import advance, buffer_f32, claim, scratch_f32
from edgeinfer.simd.prefetch import LINE_BYTES, prefetch
from edgeinfer.simd.vectors import fma, vector_sqrt, widen

# Pixels whose mean the others are compared with.
SAMPLE = 8

STATISTICS_PARAMS = struct("x partials pixels channels pitch task_pixels pixel_tasks tiles")
MERGE_PARAMS = struct("partials gamma beta affine pixels channels pitch task_pixels pixel_tasks tiles", "epsilon")
SCALE_SHIFT_PARAMS = struct(
    "x affine affine_image residual y pixels channels pitch task_pixels pixel_tasks tiles activation",
    "low high parameter_0 parameter_1",
)


@njit(forceinline=True, error_model="numpy")
def pixels_of_task(p: Any, task: Any) -> Any:
    """The first element of a task's pixels, channels last, and how many pixels these are."""
    first = task % p.pixel_tasks * p.task_pixels
    return (task // p.pixel_tasks * p.pixels + first) * p.channels, min(p.task_pixels, p.pixels - first)


@njit(forceinline=True, error_model="numpy")
def affine_of_task(p: Any, affine: Any, task: Any, pattern: Any, period: Any) -> Any:
    """Scales and shifts of a task's image; those of a period above 0 repeat the channels' in memory ``pattern``."""
    at = task // p.pixel_tasks * p.affine_image
    scales, shifts = advance(affine, at), advance(affine, at + p.pitch)
    if period == 0:
        return scales, shifts
    repeated = advance(pattern, period)
    for i in range(period):
        pattern[i] = scales[i % p.channels]
        repeated[i] = shifts[i % p.channels]
    return pattern, repeated


@kernel_family("f32_channel_statistics", STATISTICS_PARAMS, float16=True)
def f32_channel_statistics(simd: Simd) -> Callable[..., None]:
    """Partial statistics [image, block, 2, pitch]: means, then sums of squared deviations."""
    wide, load, load_first, buffer = simd.wide, simd.load, simd.load_first, simd.buffer
    lanes, store, splat, clamp = wide.lanes, wide.store, wide.splat, wide.clamp
    line = LINE_BYTES // simd.element_bytes if simd.level.architecture == "x86_64" else 0

    @njit(forceinline=True, error_model="numpy")
    def read(x: Any, index: Any, count: Any) -> Any:
        return widen(load(x, index) if count >= lanes else load_first(x, index, count))

    @njit(error_model="numpy")
    def block_statistics(partials: Any, place: Any, x: Any, start: Any, pixels: Any, channels: Any, pitch: Any) -> None:
        if line > 0:
            # In the order of memory: below, each vector of channels steps from pixel to pixel.
            for i in range(0, pixels * channels, line):
                prefetch(x, start + i)
        whole, sample = pixels - pixels % 4, min(pixels, SAMPLE)
        inverse, none, no_bound = splat(np.float32(1 / pixels)), splat(np.float32(0)), splat(np.float32(np.inf))
        for c in range(0, channels, lanes):
            count = channels - c
            near = none
            for pixel in range(sample):
                near = near + read(x, start + pixel * channels + c, count)
            near = near * splat(np.float32(1 / sample))
            s0 = s1 = s2 = s3 = none
            m0 = m1 = m2 = m3 = none
            for pixel in range(0, whole, 4):
                at = start + pixel * channels + c
                d0, d1 = read(x, at, count) - near, read(x, at + channels, count) - near
                d2, d3 = read(x, at + 2 * channels, count) - near, read(x, at + 3 * channels, count) - near
                s0, s1, s2, s3 = s0 + d0, s1 + d1, s2 + d2, s3 + d3
                m0, m1, m2, m3 = fma(d0, d0, m0), fma(d1, d1, m1), fma(d2, d2, m2), fma(d3, d3, m3)
            for pixel in range(whole, pixels):
                d0 = read(x, start + pixel * channels + c, count) - near
                s0, m0 = s0 + d0, fma(d0, d0, m0)
            total = s0 + s1 + s2 + s3
            offset = total * inverse
            deviations = clamp(m0 + m1 + m2 + m3 - total * offset, none, no_bound)
            store(partials, place + c, near + offset)
            store(partials, place + pitch + c, deviations)

    def body(p: Any, worker: Any) -> None:
        x, partials = buffer(worker, p.x), buffer_f32(worker, p.partials)
        while True:
            task = claim(worker, p.tiles)
            if task >= p.tiles:
                break
            start, pixels = pixels_of_task(p, task)
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
            task = claim(worker, p.tiles)
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


@kernel_family("f32_scale_shift", SCALE_SHIFT_PARAMS, float16=True)
def f32_scale_shift(simd: Simd) -> Callable[..., None]:
    """``y = act(x * scale + shift + residual)`` with a scale and a shift for each channel, float32 or float16.

    ``affine_image`` is the number of floats from one image's scales to the next's, 0 if all share them. Pixels are
    done ``lanes`` at a time: so many are ``channels`` whole vectors, each with its own vector of scales. Where
    ``channels`` is not a multiple of ``lanes``, these are laid out in scratch memory first.
    """
    wide, buffer, narrow = simd.wide, simd.buffer, simd.narrow
    read, read_first, write, write_first = simd.load, simd.load_first, simd.store, simd.store_first
    lanes, load, splat, clamp = wide.lanes, wide.load, wide.splat, wide.clamp
    apply = activate(wide)

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
                value = fma(widen(read(x, start + i)), scale, shift)
                if has_residual:
                    value = value + widen(read(residual, start + i))
                write(y, start + i, narrow(finish(value, p)))
                i += period
        if whole < floats:
            at, rest = start + whole, floats - whole
            scale, shift = load(scales, whole % period), load(shifts, whole % period)
            value = fma(widen(read_first(x, at, rest)), scale, shift)
            if has_residual:
                value = value + widen(read_first(residual, at, rest))
            write_first(y, at, narrow(finish(value, p)), rest)

    def body(p: Any, worker: Any) -> None:
        x, affine, y = buffer(worker, p.x), buffer_f32(worker, p.affine), buffer(worker, p.y)
        has_residual = p.residual >= 0
        residual = buffer(worker, p.residual if has_residual else p.affine)
        channels, pattern = p.channels, scratch_f32(worker)
        repeated = channels * lanes if channels % lanes != 0 else 0
        while True:
            task = claim(worker, p.tiles)
            if task >= p.tiles:
                break
            start, pixels = pixels_of_task(p, task)
            scales, shifts = affine_of_task(p, affine, task, pattern, repeated)
            run(p, y, x, residual, has_residual, start, pixels * channels, scales, shifts, max(channels, repeated))

    return body
