"""Softmax of bytes, by a table of exponentials."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edgeinfer.kernels.registry import Simd, kernel_family, struct
from edgeinfer.simd.pointers import buffer_f32, buffer_u8, claim
from edgeinfer.simd.rounding import ROUNDER

# Flip, zero point and bounds as in QUANTIZE_PARAMS.
QUANTIZED_SOFTMAX_PARAMS = struct("x y table count inner flip y_zero_point tiles", "y_scale low high")


@kernel_family("qu8_softmax", QUANTIZED_SOFTMAX_PARAMS)
def qu8_softmax(simd: Simd) -> Callable[..., None]:
    """``y = round(table[max(x) - x] / (sum of those * y_scale)) + y_zero_point`` over the axis ``count``.

    A tile is one index of all other axes. The table holds whole numbers, whose sum is exact in float64.
    """
    rounder = np.float32(ROUNDER)

    def body(p: Any, worker: Any) -> None:
        x, y, table = buffer_u8(worker, p.x), buffer_u8(worker, p.y), buffer_f32(worker, p.table)
        low, high, zero_point = np.float32(p.low), np.float32(p.high), np.int32(p.y_zero_point)
        while True:
            task = claim(worker, p.tiles)
            if task >= p.tiles:
                break
            start = task // p.inner * p.count * p.inner + task % p.inner
            stop = start + p.count * p.inner
            top, at = 0, start
            while at < stop:
                top = max(top, np.int64(x[at]) ^ p.flip)
                at += p.inner
            total, at = 0.0, start
            while at < stop:
                total += table[top - (np.int64(x[at]) ^ p.flip)]
                at += p.inner
            unit, at = np.float32(total) * np.float32(p.y_scale), start
            while at < stop:
                value = min(max(table[top - (np.int64(x[at]) ^ p.flip)] / unit, low), high)
                y[at] = np.uint8(np.int32((value + rounder) - rounder) + zero_point)
                at += p.inner

    return body
