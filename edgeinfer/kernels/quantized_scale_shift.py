"""``y = quantize(act(x * scale + shift + residual))`` with a scale and a shift for each channel: 8-bit pictures out.

x and residual are 8-bit pictures, which stand for ``(byte - zero_point) * scale``, or float32. Products are rounded
before sums, as in NumPy and ONNX Runtime.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from edgeinfer.kernels.activation import activate
from edgeinfer.kernels.byte_sums import Dequantizer, dequantizer, rounded_sum
from edgeinfer.kernels.instance_norm import affine_of_task, pixels_of_task
from edgeinfer.kernels.registry import Simd, kernel_family, struct
from edgeinfer.simd.bytes import byte_vectors
from edgeinfer.simd.pointers import buffer_f32, buffer_u8, claim, scratch_f32
from edgeinfer.simd.quotient import division
from edgeinfer.simd.vectors import select

# x and residual as in BYTE_STATISTICS_PARAMS, tasks and affine as in SCALE_SHIFT_PARAMS; y_low and y_high bound the
# integers less y_zero_point; bounded: whether numbers are known to be numbers, at most 2**30 steps and 2**70 large.
QUANTIZED_SCALE_SHIFT_PARAMS = struct(
    "x affine affine_image residual y pixels channels pitch task_pixels pixel_tasks tiles activation x_flip"
    " x_zero_point residual_flip residual_zero_point y_zero_point bounded",
    "x_scale residual_scale y_scale y_low y_high parameter_0 parameter_1",
)


@kernel_family("qu8_scale_shift", QUANTIZED_SCALE_SHIFT_PARAMS)
def qu8_scale_shift(simd: Simd) -> Callable[..., None]:
    """Bytes, and a float32 residual."""
    return _scale_shift(simd, dequantizer(simd), buffer_u8, _floats(simd), buffer_f32)


@kernel_family("qu8_scale_shift_bytes", QUANTIZED_SCALE_SHIFT_PARAMS)
def qu8_scale_shift_bytes(simd: Simd) -> Callable[..., None]:
    """Bytes, and a residual of bytes."""
    return _scale_shift(simd, dequantizer(simd), buffer_u8, dequantizer(simd), buffer_u8)


@kernel_family("f32_qu8_scale_shift", QUANTIZED_SCALE_SHIFT_PARAMS)
def f32_qu8_scale_shift(simd: Simd) -> Callable[..., None]:
    """float32, and a float32 residual."""
    return _scale_shift(simd, _floats(simd), buffer_f32, _floats(simd), buffer_f32)


@kernel_family("f32_qu8_scale_shift_bytes", QUANTIZED_SCALE_SHIFT_PARAMS)
def f32_qu8_scale_shift_bytes(simd: Simd) -> Callable[..., None]:
    """float32, and a residual of bytes."""
    return _scale_shift(simd, _floats(simd), buffer_f32, dequantizer(simd), buffer_u8)


def _floats(simd: Simd) -> Dequantizer:
    """Reads of float32 numbers as they are."""
    lanes, load, load_first = simd.lanes, simd.load, simd.load_first

    @njit(forceinline=True, error_model="numpy")
    def group(x: Any, at: Any, flip: Any, zero_point: Any, scale: Any) -> Any:
        return load(x, at), load(x, at + lanes), load(x, at + 2 * lanes), load(x, at + 3 * lanes)

    @njit(forceinline=True, error_model="numpy")
    def vector(x: Any, at: Any, count: Any, flip: Any, zero_point: Any, scale: Any) -> Any:
        return load(x, at) if count >= lanes else load_first(x, at, count)

    return Dequantizer(group, vector)


def _scale_shift(
    simd: Simd,
    numbers: Dequantizer,
    x_buffer: Callable[..., Any],
    residual_numbers: Dequantizer,
    residual_buffer: Callable[..., Any],
) -> Callable[..., None]:
    """The kernel; pixels are done a group of vectors at a time, whose scales begin at any channel."""
    lanes, load, splat, octets = simd.lanes, simd.load, simd.splat, byte_vectors(simd)
    read_group, read = numbers.group, numbers.vector
    read_residual_group, read_residual = residual_numbers.group, residual_numbers.vector
    store, store_first, store_group, group = octets.store, octets.store_first, octets.store_group, octets.group
    divide_by, divide, apply = division(simd).by, division(simd).divide, activate(simd)

    @njit(forceinline=True, error_model="numpy", fastmath=False)
    def affine_of(value: Any, scales: Any, shifts: Any, channel: Any) -> Any:
        return value * load(scales, channel) + load(shifts, channel)

    @njit(forceinline=True, error_model="numpy")
    def steps(value: Any, bounded: Any, divisor: Any, low: Any) -> Any:
        """In steps of y; what is not bounded may be NaN, which is the least."""
        value = divide(value, divisor)
        return value if bounded else select(value > low, value, low)

    @njit(forceinline=True, error_model="numpy")
    def run(
        p: Any, y: Any, x: Any, residual: Any, has_residual: Any, start: Any, count: Any, scales: Any, shifts: Any
    ) -> None:
        x_zero, x_scale = splat(np.float32(p.x_zero_point)), splat(np.float32(p.x_scale))
        zero, factor = splat(np.float32(p.residual_zero_point)), splat(np.float32(p.residual_scale))
        least, most, zero_point = np.float32(p.y_low), np.float32(p.y_high), p.y_zero_point
        bounded = p.bounded != 0
        divisor, low, high = divide_by(np.float32(p.y_scale), bounded), splat(least), splat(most)
        step, channels, channel = group % p.channels, p.channels, 0
        # Functions are computed a vector at a time.
        whole = start if p.activation != 0 else start + count // group * group
        for i in range(start, whole, group):
            a, b, c, d = read_group(x, i, p.x_flip, x_zero, x_scale)
            a, b = affine_of(a, scales, shifts, channel), affine_of(b, scales, shifts, channel + lanes)
            c = affine_of(c, scales, shifts, channel + 2 * lanes)
            d = affine_of(d, scales, shifts, channel + 3 * lanes)
            if has_residual:
                e, f, g, h = read_residual_group(residual, i, p.residual_flip, zero, factor)
                a, b, c, d = rounded_sum(a, e), rounded_sum(b, f), rounded_sum(c, g), rounded_sum(d, h)
            a, b = steps(a, bounded, divisor, low), steps(b, bounded, divisor, low)
            c, d = steps(c, bounded, divisor, low), steps(d, bounded, divisor, low)
            store_group(y, i, (a, b, c, d), zero_point, least, most)
            channel += step
            if channel >= channels:
                channel -= channels
        step = lanes % channels
        for i in range(whole, start + count, lanes):
            rest = start + count - i
            value = affine_of(read(x, i, rest, p.x_flip, x_zero, x_scale), scales, shifts, channel)
            if has_residual:
                value = rounded_sum(value, read_residual(residual, i, rest, p.residual_flip, zero, factor))
            if p.activation != 0:
                value = apply(value, p.activation, np.float32(p.parameter_0), np.float32(p.parameter_1))
            value = steps(value, False, divisor, low)
            value = select(value < high, value, high)
            if rest >= lanes:
                store(y, i, value, zero_point)
            else:
                store_first(y, i, value, rest, zero_point)
            channel += step
            if channel >= channels:
                channel -= channels

    def body(p: Any, worker: Any) -> None:
        x, affine, y = x_buffer(worker, p.x), buffer_f32(worker, p.affine), buffer_u8(worker, p.y)
        has_residual = p.residual >= 0
        residual = residual_buffer(worker, p.residual if has_residual else p.affine)
        pattern = scratch_f32(worker)
        repeated = p.channels + group if p.channels % group != 0 else 0
        while True:
            task = claim(worker, p.tiles)
            if task >= p.tiles:
                break
            start, pixels = pixels_of_task(p, task)
            scales, shifts = affine_of_task(p, affine, task, pattern, repeated)
            run(p, y, x, residual, has_residual, start, pixels * p.channels, scales, shifts)

    return body
