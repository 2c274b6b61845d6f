"""Bytes of pixels as quads: channels padded to a multiple of 4, or all taps of a filter; signed ones made unsigned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from edgeinfer.kernels.patch import source_index
from edgeinfer.kernels.registry import Simd, kernel_family, struct
from edgeinfer.simd.bytes import copy_octet
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
            task = claim(worker, p.tiles)
            if task >= p.tiles:
                break
            for pixel in range(task * p.task_pixels, min(p.pixels, (task + 1) * p.task_pixels)):
                for index in range(whole):
                    y[pixel * quads + index] = quad(x, pixel * channels + 4 * index, 4) ^ flip
                if whole < quads:
                    y[pixel * quads + whole] = quad(x, pixel * channels + 4 * whole, channels - 4 * whole) ^ flip

    return body


# run: bytes of a kernel row's taps, at least 8; pixel_bytes: bytes of a pixel of y; fill: the byte of the border;
# flip: what bytes of x and the border are xor-ed with
TAPS_PARAMS = struct(
    "x y height width channels out_height out_width kernel_height kernel_width stride_y stride_x pad_top pad_left"
    " pad_mode run pixel_bytes fill flip task_rows row_tasks tiles"
)


@kernel_family("x8_taps", TAPS_PARAMS)
def x8_taps(simd: Simd) -> Callable[..., None]:
    """y[pixel, (ky, kx, c)] = the taps of a filter at that pixel; what is behind them is left as it was."""

    @njit(error_model="numpy")
    def at_border(y: Any, place: Any, x: Any, row: Any, left: Any, p: Any) -> None:
        channels, width, fill = p.channels, p.width, p.fill ^ p.flip
        for kx in range(p.kernel_width):
            column = source_index(left + kx, width, p.pad_mode)
            for c in range(channels):
                inside = row >= 0 and column >= 0
                y[place + kx * channels + c] = x[row + column * channels + c] ^ p.flip if inside else fill

    @njit(error_model="numpy")
    def copy(
        y: Any, place: Any, pixel_bytes: Any, x: Any, start: Any, step: Any, count: Any, run: Any, flip: Any
    ) -> None:
        last = run - 8
        if last <= 8:
            for _ in range(count):
                copy_octet(y, place, x, start, flip)
                copy_octet(y, place + last, x, start + last, flip)
                place, start = place + pixel_bytes, start + step
            return
        for _ in range(count):
            for at in range(0, last, 8):
                copy_octet(y, place + at, x, start + at, flip)
            copy_octet(y, place + last, x, start + last, flip)
            place, start = place + pixel_bytes, start + step

    def body(p: Any, worker: Any) -> None:
        x, y = buffer_u8(worker, p.x), buffer_u8(worker, p.y)
        channels, run, flip, pixel_bytes, width, kernel_width = (
            p.channels, p.run, p.flip, p.pixel_bytes, p.width, p.kernel_width,
        )  # fmt: skip
        out_width, stride, pad_left = p.out_width, p.stride_x, p.pad_left
        # Outputs from first_inside up to stop_inside read no pixel beyond the left and right border.
        first_inside = min(out_width, (pad_left + stride - 1) // stride)
        stop_inside = max(first_inside, min(out_width, (width - kernel_width + pad_left) // stride + 1))
        while True:
            task = claim(worker, p.tiles)
            if task >= p.tiles:
                break
            image, first_row = task // p.row_tasks, task % p.row_tasks * p.task_rows
            for out_row in range(first_row, min(p.out_height, first_row + p.task_rows)):
                for ky in range(p.kernel_height):
                    place = (image * p.out_height + out_row) * out_width * pixel_bytes + ky * run
                    source = source_index(out_row * p.stride_y - p.pad_top + ky, p.height, p.pad_mode)
                    row = (image * p.height + source) * width * channels if source >= 0 else -1
                    first, stop = (first_inside, stop_inside) if source >= 0 else (out_width, out_width)
                    for column in range(first):
                        at_border(y, place + column * pixel_bytes, x, row, column * stride - pad_left, p)
                    start = row + (first * stride - pad_left) * channels
                    copy(
                        y,
                        place + first * pixel_bytes,
                        pixel_bytes,
                        x,
                        start,
                        stride * channels,
                        stop - first,
                        run,
                        flip,
                    )
                    for column in range(stop, out_width):
                        at_border(y, place + column * pixel_bytes, x, row, column * stride - pad_left, p)

    return body
