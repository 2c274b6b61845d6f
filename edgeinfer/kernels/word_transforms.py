"""Transforms of Winograd's minimal filtering with whole numbers: words of x to frequencies, int32 sums back to pixels.

F(4x4, 3x3) takes 36 products where direct convolution takes 144; with a stride of 2 it is F(4, 2), 81 for 144, or
F(2, 2), 25 for 36. Bytes of x, less 128 where they are unsigned, are transformed in 16 bits, which always have room:
rows of B^T add up to at most 10 of them. A filter's transform is made whole by factors r of the rows of G,
``U = (r G) g (r G)^T``, and fits 16 bits too. Products are added up modulo 2**32, and multiplied by 1 / r on the way
back:

    y * scale^2 = (scale A^T / r) [ U * (B^T d B) ] (scale A^T / r)^T   modulo 2**32

where ``scale`` makes ``A^T / r`` whole. Its square is a power of two times an odd number, which is divided by with the
odd number's inverse modulo 2**32, and the power with a shift. So y is exact if its magnitude is less than 2**31 over
that power; planners see to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numba import njit

from edgeinfer.kernels.quantized_output import quantized_output
from edgeinfer.kernels.registry import Simd
from edgeinfer.kernels.winograd_transforms import storing_each
from edgeinfer.simd.pointers import buffer_f32, opaque_pointer
from edgeinfer.simd.tile import TileOps
from edgeinfer.simd.vectors import bits_to_f32, bits_to_i32
from edgeinfer.simd.word_tile import finished_sums
from edgeinfer.simd.words import Words


@dataclass(frozen=True)
class IntegerFiltering:
    """A filtering with whole numbers.

    Attributes:
        output: pixels of an output tile along one axis.
        taps: taps of the filter along one axis, those of the first phase.
        stride: the convolution's stride.
        forth: ``B^T``, from a tuple of vectors of words to one.
        back: ``scale A^T / r``, from a tuple of int32 vectors to one.
        inverse: of the odd part of ``scale^2``, modulo 2**32.
        shift: the power of two in ``scale^2``.
    """

    output: int
    taps: int
    stride: int
    forth: Callable[..., Any]
    back: Callable[..., Any]
    inverse: int
    shift: int

    @property
    def size(self) -> int:
        """Frequencies along one axis."""
        return self.output + self.taps - 1


@njit(forceinline=True, error_model="numpy")
def _forth_23(d: Any) -> Any:
    d0, d1, d2, d3 = d
    return d0 - d2, d1 + d2, d2 - d1, d1 - d3


@njit(forceinline=True, error_model="numpy")
def _back_23(m: Any) -> Any:
    """F(2, 3) with a scale of 2 and r = (2, 2, 2, 2)."""
    m0, m1, m2, m3 = m
    return m0 + m1 + m2, m1 - m2 - m3


@njit(forceinline=True, error_model="numpy")
def _forth_43(d: Any) -> Any:
    d0, d1, d2, d3, d4, d5 = d
    even, odd = d4 - _four(d2), d3 - _four(d1)
    inner, outer = d4 - d2, _twice(d3 - d1)
    first, last = _four(d0 - d2) - d2 + d4, _four(d1 - d3) - d3 + d5
    return first, even + odd, even - odd, inner + outer, inner - outer, last


@njit(forceinline=True, error_model="numpy")
def _back_43(m: Any) -> Any:
    """F(4, 3) with a scale of 24 and r = (12, 12, 12, 24, 24, 12)."""
    m0, m1, m2, m3, m4, m5 = m
    sum_1, difference_1, sum_2, difference_2 = m1 + m2, m1 - m2, m3 + m4, m3 - m4
    return (
        _twice(m0 + sum_1) + sum_2, _twice(difference_1 + difference_2), _twice(sum_1 + _twice(sum_2)),
        _twice(difference_1 + _four(difference_2) + m5),
    )  # fmt: skip


@njit(forceinline=True, error_model="numpy")
def _forth_22(d: Any) -> Any:
    d0, d1, d2 = d
    return d0 - d1, d1, d2 - d1


@njit(forceinline=True, error_model="numpy")
def _back_22(m: Any) -> Any:
    """F(2, 2), where everything is whole."""
    m0, m1, m2 = m
    return m0 + m1, m1 + m2


@njit(forceinline=True, error_model="numpy")
def _forth_5(d: Any) -> Any:
    """The points are 0, 1, -1, 2 and infinity."""
    d0, d1, d2, d3, d4 = d
    difference, sum_ = d3 - d1, d3 + d1
    return (
        _twice(d0 - d2) + difference, difference - d1 - d2, sum_ + d1 - d2 - _twice(d2), difference,
        d4 - d2 - _twice(difference),
    )  # fmt: skip


@njit(forceinline=True, error_model="numpy")
def _back_42(m: Any) -> Any:
    """F(4, 2) with a scale of 6 and r = (6, 6, 6, 6, 6)."""
    m0, m1, m2, m3, m4 = m
    sum_, difference, twice = m1 + m2, m1 - m2, _twice(m3)
    return m0 + sum_ + m3, difference + twice, sum_ + _twice(twice), difference + _four(twice) + m4


@njit(forceinline=True, error_model="numpy")
def _twice(value: Any) -> Any:
    return value + value


@njit(forceinline=True, error_model="numpy")
def _four(value: Any) -> Any:
    return _twice(_twice(value))


_INVERSE_OF_9 = pow(9, -1, 1 << 32)


@njit(forceinline=True, error_model="numpy")
def _back_33(m: Any) -> Any:
    """F(3, 3) with a scale of 6 and r = (6, 6, 6, 6, 6)."""
    m0, m1, m2, m3, m4 = m
    sum_, difference, twice = m1 + m2, m1 - m2, _twice(m3)
    return m0 + sum_ + m3, difference + twice, sum_ + _twice(twice) + m4


F23 = IntegerFiltering(2, 3, 1, _forth_23, _back_23, 1, 2)
F43 = IntegerFiltering(4, 3, 1, _forth_43, _back_43, _INVERSE_OF_9, 6)
F22 = IntegerFiltering(2, 2, 2, _forth_22, _back_22, 1, 0)
F42 = IntegerFiltering(4, 2, 2, _forth_5, _back_42, _INVERSE_OF_9, 2)
F33 = IntegerFiltering(3, 3, 1, _forth_5, _back_33, _INVERSE_OF_9, 2)
# Along one axis alone the scale is 24.
F43_DOWN = IntegerFiltering(4, 3, 1, _forth_43, _back_43, pow(3, -1, 1 << 32), 3)


def word_transform(words: Words, filtering: IntegerFiltering) -> Callable[..., None]:
    """As ``input_transform``, of vectors of words."""
    forth, load, store_each = (
        filtering.forth,
        vectors_loader(words.load, filtering.size),
        storing_each(filtering.size, words.store),
    )

    @njit(forceinline=True, error_model="numpy")
    def transform(y: Any, y_index: Any, y_stride: Any, x: Any, x_index: Any, x_stride: Any) -> None:
        store_each(forth(load(x, x_index, x_stride)), (y, y_index, y_stride))

    return transform


def vectors_loader(load: Callable[..., Any], count: int) -> Callable[..., Any]:
    """``run(x, index, stride)``: a tuple of ``count`` vectors, each by ``load(x, index)``."""
    if count == 1:

        @njit(forceinline=True, error_model="numpy")
        def only(x: Any, index: Any, stride: Any) -> Any:
            return (load(x, index),)

        return only
    before, last = vectors_loader(load, count - 1), count - 1

    @njit(forceinline=True, error_model="numpy")
    def run(x: Any, index: Any, stride: Any) -> Any:
        return (*before(x, index, stride), load(x, index + last * stride))

    return run


def inverse_word_transform(simd: Simd, vectors: int, filtering: IntegerFiltering) -> Callable[..., None]:
    """As ``inverse_transform``: from sums of products to pixels, which are scaled and rounded, or stay float32."""
    lanes, columns, output, size = simd.lanes, vectors * simd.lanes, filtering.output, filtering.size
    load, transform, store_bits = simd.load, filtering.back, storing_each(output, bits_storer(simd))
    finished = finished_sums(simd, output, filtering.inverse, filtering.shift)
    result = vectors_loader(bits_loader(simd), size)
    written = quantized_output(simd, TileOps(simd, output, 1))
    buffers_of, write, finish_task = written.buffers, written.write, written.finish_task

    @njit(forceinline=True, error_model="numpy")
    def run(
        p: Any, worker: Any, m: Any, m_pitch: Any, tile_pitch: Any, buffer: Any, block: Any, row_tiles: Any,
        column_tiles: Any, row_pitch: Any, out_row: Any, out_column: Any, image: Any,
    ) -> None:  # fmt: skip
        bias, factors, buffers = buffer_f32(worker, p.bias), buffer_f32(worker, p.multipliers), buffers_of(p, worker)
        y_row, y_pixel = p.y_row, p.y_pixel
        y_start = p.y_start + image * p.y_image + out_row * y_row + out_column * y_pixel
        first_channel = block * columns
        channels = min(columns, p.out_channels - first_channel)
        for tile_row in range(row_tiles):
            rows = min(output, p.out_height - out_row - tile_row * output)
            for tile_column in range(column_tiles):
                across = min(output, p.out_width - out_column - tile_column * output)
                for part in range(0, channels, lanes):
                    channel = first_channel + part
                    add, multiply = bits_to_i32(load(bias, channel)), load(factors, channel)
                    at = (tile_row * row_pitch + tile_column) * tile_pitch + part
                    for j in range(size):
                        values = transform(result(opaque_pointer(m, at + j * m_pitch), 0, size * m_pitch))
                        store_bits(values, (buffer, j * lanes, size * lanes))
                    place = y_start + tile_row * output * y_row + tile_column * output * y_pixel + channel
                    for i in range(rows):
                        values = transform(result(buffer, i * size * lanes, lanes))
                        tile = finished(values, add, multiply)
                        write(tile, buffers, p, place + i * y_row, across, p.out_channels - channel)
        high = min(row_tiles * output, p.out_height - out_row)
        wide = min(column_tiles * output, p.out_width - out_column)
        finish_task((buffers,), p, y_start + first_channel, high, wide, channels)

    return run


def bits_storer(simd: Simd) -> Callable[..., None]:
    """``store(y, index, vector)``: an int32 vector in the place of floats."""
    store = simd.store

    @njit(forceinline=True, error_model="numpy")
    def store_bits(y: Any, index: Any, vector: Any) -> None:
        store(y, index, bits_to_f32(vector))

    return store_bits


def bits_loader(simd: Simd) -> Callable[..., Any]:
    """``load(x, index)``: an int32 vector that lies in the place of floats."""
    load = simd.load

    @njit(forceinline=True, error_model="numpy")
    def load_bits(x: Any, index: Any) -> Any:
        return bits_to_i32(load(x, index))

    return load_bits


def phased_word_transform(words: Words, filtering: IntegerFiltering, phases: int) -> Callable[..., None]:
    """As ``phased_input_transform``, of vectors of words."""
    forth, store_each = filtering.forth, storing_each(filtering.size, words.store)
    load = phased_vectors_loader(words.load, filtering.size, phases)

    @njit(forceinline=True, error_model="numpy")
    def transform(y: Any, y_index: Any, y_stride: Any, x: Any, x_index: Any, phase_stride: Any, step: Any) -> None:
        store_each(forth(load(x, x_index, phase_stride, step)), (y, y_index, y_stride))

    return transform


def phased_vectors_loader(load: Callable[..., Any], count: int, phases: int) -> Callable[..., Any]:
    """``run(x, index, phase_stride, step)``: a tuple of ``count`` vectors.

    Vector t is ``load(x, index + t % phases * phase_stride + t // phases * step)``.
    """
    phase, steps = (count - 1) % phases, (count - 1) // phases
    if count == 1:

        @njit(forceinline=True, error_model="numpy")
        def only(x: Any, index: Any, phase_stride: Any, step: Any) -> Any:
            return (load(x, index),)

        return only
    before = phased_vectors_loader(load, count - 1, phases)

    @njit(forceinline=True, error_model="numpy")
    def run(x: Any, index: Any, phase_stride: Any, step: Any) -> Any:
        return (*before(x, index, phase_stride, step), load(x, index + phase * phase_stride + steps * step))

    return run
