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
from dataclasses import dataclass
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

STATISTICS_PARAMS = struct("x partials pixels channels pitch task_pixels pixel_tasks flip tiles")
MERGE_PARAMS = struct("partials gamma beta affine pixels channels pitch task_pixels pixel_tasks tiles", "epsilon")
# flip, y_zero_point, y_scale, y_low, y_high: of quantized pictures, see QUANTIZE_PARAMS; residual_flip,
# residual_scale, residual_zero: of a residual of bytes, which stand for residual_scale * byte + residual_zero
SCALE_SHIFT_PARAMS = struct(
    "x affine affine_image residual y pixels channels pitch task_pixels pixel_tasks tiles activation flip y_zero_point"
    " residual_flip",
    "low high parameter_0 parameter_1 y_scale y_low y_high residual_scale residual_zero",
)


@kernel_family("f32_channel_statistics", STATISTICS_PARAMS, float16=True)
def f32_channel_statistics(simd: Simd) -> Callable[..., None]:
    """Statistics of float32 or float16 pictures."""
    lanes, load, load_first = simd.lanes, simd.load, simd.load_first

    @njit(forceinline=True, error_model="numpy")
    def read(x: Any, index: Any, count: Any, flip: Any) -> Any:
        return widen(load(x, index) if count >= lanes else load_first(x, index, count))

    return channel_statistics(simd.wide, simd.buffer, read, simd.element_bytes)


def channel_statistics(
    simd: Simd, buffer: Callable[..., Any], read: Callable[..., Any], element_bytes: int
) -> Callable[..., None]:
    """Partial statistics [image, block, 2, pitch]: means, then sums of squared deviations.

    ``buffer`` gives the pointer of a buffer reference, ``read(x, index, count, flip)`` at most ``count`` elements as
    float32.
    """
    lanes, store, splat, clamp = simd.lanes, simd.store, simd.splat, simd.clamp
    line = LINE_BYTES // element_bytes if simd.level.architecture == "x86_64" else 0

    @njit(error_model="numpy")
    def block_statistics(
        partials: Any, place: Any, x: Any, start: Any, pixels: Any, channels: Any, pitch: Any, flip: Any
    ) -> None:
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
                near = near + read(x, start + pixel * channels + c, count, flip)
            near = near * splat(np.float32(1 / sample))
            s0 = s1 = s2 = s3 = none
            m0 = m1 = m2 = m3 = none
            for pixel in range(0, whole, 4):
                at = start + pixel * channels + c
                d0, d1 = read(x, at, count, flip) - near, read(x, at + channels, count, flip) - near
                d2, d3 = read(x, at + 2 * channels, count, flip) - near, read(x, at + 3 * channels, count, flip) - near
                s0, s1, s2, s3 = s0 + d0, s1 + d1, s2 + d2, s3 + d3
                m0, m1, m2, m3 = fma(d0, d0, m0), fma(d1, d1, m1), fma(d2, d2, m2), fma(d3, d3, m3)
            for pixel in range(whole, pixels):
                d0 = read(x, start + pixel * channels + c, count, flip) - near
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
            first = task % p.pixel_tasks * p.task_pixels
            start = (task // p.pixel_tasks * p.pixels + first) * p.channels
            pixels = min(p.task_pixels, p.pixels - first)
            block_statistics(partials, task * 2 * p.pitch, x, start, pixels, p.channels, p.pitch, p.flip)

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


@dataclass(frozen=True)
class Elements:
    """How elements of one number format are read or written, as compiled functions.

    Attributes:
        buffer: gives the pointer of a buffer reference.
        whole: ``load(x, index, p)`` or ``store(y, index, vector, p)``.
        first: ``load_first(x, index, count, p)`` or ``store_first(y, index, vector, count, p)``.
    """

    buffer: Callable[..., Any]
    whole: Callable[..., Any]
    first: Callable[..., Any]


def float_elements(simd: Simd) -> Elements:
    """Reads of float32 elements as they are, or of float16."""
    load_vector, first_elements = simd.load, simd.load_first

    @njit(forceinline=True, error_model="numpy")
    def load(x: Any, index: Any, p: Any) -> Any:
        return widen(load_vector(x, index))

    @njit(forceinline=True, error_model="numpy")
    def load_first(x: Any, index: Any, count: Any, p: Any) -> Any:
        return widen(first_elements(x, index, count))

    return Elements(simd.buffer, load, load_first)


@kernel_family("f32_scale_shift", SCALE_SHIFT_PARAMS, float16=True)
def f32_scale_shift(simd: Simd) -> Callable[..., None]:
    """``y = act(x * scale + shift + residual)`` of float32 or float16 pictures."""
    store_vector, store_elements, narrow = simd.store, simd.store_first, simd.narrow

    @njit(forceinline=True, error_model="numpy")
    def store(y: Any, index: Any, value: Any, p: Any) -> None:
        store_vector(y, index, narrow(value))

    @njit(forceinline=True, error_model="numpy")
    def store_first(y: Any, index: Any, value: Any, count: Any, p: Any) -> None:
        store_elements(y, index, narrow(value), count)

    reader = float_elements(simd)
    return scale_shift(simd.wide, reader, reader, Elements(simd.buffer, store, store_first))


def scale_shift(simd: Simd, reader: Elements, residual_reader: Elements, writer: Elements) -> Callable[..., None]:
    """``y = act(x * scale + shift + residual)`` with a scale and a shift for each channel.

    ``affine_image`` is the number of floats from one image's scales to the next's, 0 if all share them. Pixels are
    done ``lanes`` at a time: so many are ``channels`` whole vectors, each with its own vector of scales. Where
    ``channels`` is not a multiple of ``lanes``, these are laid out in scratch memory first.
    """
    lanes, load, splat, clamp = simd.lanes, simd.load, simd.splat, simd.clamp
    read, read_first, write, write_first = reader.whole, reader.first, writer.whole, writer.first
    read_residual, read_first_residual = residual_reader.whole, residual_reader.first
    x_buffer, residual_buffer, y_buffer = reader.buffer, residual_reader.buffer, writer.buffer
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
                value = fma(read(x, start + i, p), scale, shift)
                if has_residual:
                    value = value + read_residual(residual, start + i, p)
                write(y, start + i, finish(value, p), p)
                i += period
        if whole < floats:
            at, rest = start + whole, floats - whole
            value = fma(read_first(x, at, rest, p), load(scales, whole % period), load(shifts, whole % period))
            if has_residual:
                value = value + read_first_residual(residual, at, rest, p)
            write_first(y, at, finish(value, p), rest, p)

    def body(p: Any, worker: Any) -> None:
        x, affine, y = x_buffer(worker, p.x), buffer_f32(worker, p.affine), y_buffer(worker, p.y)
        has_residual = p.residual >= 0
        residual = residual_buffer(worker, p.residual if has_residual else p.affine)
        channels = p.channels
        repeated = channels % lanes != 0
        period = channels * lanes if repeated else channels
        pattern = scratch_f32(worker)
        while True:
            task = claim(worker, p.tiles)
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
