"""Bytes of pixels as quads: channels padded to a multiple of 4, signed bytes made unsigned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from edgeinfer.kernels.registry import Simd, kernel_family, struct
from edgeinfer.simd.pointers import buffer_i32, buffer_u8, claim

# channels: bytes of a pixel of x; quads: quads of a pixel of y; flip: four bytes that y is xor-ed with
QUADS_PARAMS = struct("x y pixels channels quads flip task_pixels tiles")


@kernel_family("x8_quads", QUADS_PARAMS)
def x8_quads(simd: Simd) -> Callable[..., None]:
    """y[pixel, quad] = the four bytes x[pixel, 4 * quad ..], zeros beyond the last channel, xor ``flip``."""

    @njit(forceinline=True, error_model="numpy")
    def quad(x: Any, at: Any, count: Any) -> Any:
        value = 0
        for byte in range(count):
            value |= x[at + byte] << (8 * byte)
        return value

    def body(p: Any, worker: Any) -> None:
        x, y = buffer_u8(worker, p.x), buffer_i32(worker, p.y)
        channels, quads, flip = p.channels, p.quads, p.flip
        whole = channels // 4
        while True:
            task = claim(worker)
            if task >= p.tiles:
                break
            for pixel in range(task * p.task_pixels, min(p.pixels, (task + 1) * p.task_pixels)):
                for index in range(whole):
                    y[pixel * quads + index] = quad(x, pixel * channels + 4 * index, 4) ^ flip
                if whole < quads:
                    y[pixel * quads + whole] = quad(x, pixel * channels + 4 * whole, channels - 4 * whole) ^ flip

    return body
