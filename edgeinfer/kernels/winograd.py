"""Convolution by Winograd's minimal filtering: F(4x4, 3x3) takes 36 products where direct convolution takes 144.

F(6x6, 3x3) takes 64 for 324, but needs whole tiles of 6x6; F(2x2, 3x3) takes 16 for 36; its filters are less than half
as large, which decides where there are many channels and few pixels. Lavin and Gray, "Fast Algorithms for Convolutional
Neural Networks", 2015. For tiles d of input pixels, filters g and tiles Y of output pixels:

    Y = A^T [ (G g G^T) * (B^T d B) ] A,  summed over the input channels inside the brackets

With a stride of 2 the even and the odd pixels along an axis are channels of their own, ``[row's phase][column's
phase][channel]``, and so are the taps: 3 of them become 2 and 1, 7 become 4 and 3. What an odd phase has one tap less
leaves nothing at the last frequency, which is at infinity, so those products are left out: F(7, 2) takes 225 products
for 49 pixels where the direct form takes 441.

A task is a block of tiles. Its input pixels are read into a patch, transformed to V[frequency][tile][channel],
multiplied with the packed filters U[output block][frequency][channel][columns] by register tiles, and each
block of output channels is transformed back and written at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numba import njit

from edgeinfer.kernels.normalised_patch import NORMALISED_CONV_PARAMS, normalised_patch_reader
from edgeinfer.kernels.products import prefetching_products
from edgeinfer.kernels.registry import Simd, kernel_family
from edgeinfer.kernels.winograd_transforms import input_transform, inverse_transform
from edgeinfer.simd.pointers import advance, claim, opaque_pointer
from edgeinfer.simd.prefetch import step_ahead
from edgeinfer.simd.tile import TileOps

TILES = {"avx512": [(8, 2), (7, 2)], "avx2": [(6, 2), (4, 3)], "v128": [(6, 2)], "neon": [(4, 4), (8, 2)]}
FLOAT16_TILES = {"dotprod": [(8, 2)]}
# Elsewhere larger tiles and strides have not been measured to be quicker.
LARGE_TILES = {"avx2": [(6, 2)], "neon": [(4, 4)]}
STRIDE_TILES = {"avx512": [(8, 2)], "avx2": [(6, 2), (4, 3)], "neon": [(4, 4)]}
SMALL_STRIDE_TILES = {"avx2": [(4, 3)]}
FIRST_LAYER_TILES = {"avx512": [(8, 2)], "avx2": [(6, 2)], "neon": [(4, 4)]}
NEON_TILES = {"neon": [(4, 4)]}


@dataclass(frozen=True)
class WinogradArithmetic:
    """What a number format brings along: compiled functions.

    Attributes:
        simd: vectors of the units of x.
        rows: tiles of pixels of a register tile.
        columns: output channels of a register tile.
        output: pixels of an output tile along one axis.
        width: channels of x that one unit of V and U, a float or four bytes, holds.
        zeros: the register tile to start from, see ``TileOps``.
        store_tile: writes a register tile, see ``TileOps``.
        inner: adds outer products to a tile, see ``prefetching_products``.
        transform_down: ``B^T d`` from the patch to vectors of x, see ``input_transform``.
        transform_across: the same from these to vectors of units.
        read_patch: ``read(patch, x, p, worker, image, top, left, rows, columns)``, see ``patch_reader``.
        transform_back: see ``inverse_transform``.
        taps: taps of the filter along one axis; with strides those of the first phase.
        stride: the convolution's stride along both axes; the filter has ``stride * taps - stride + 1`` taps.
    """

    simd: Simd
    rows: int
    columns: int
    output: int
    width: int
    zeros: Callable[..., Any]
    store_tile: Callable[..., None]
    inner: Callable[..., Any]
    transform_down: Callable[..., None]
    transform_across: Callable[..., None]
    read_patch: Callable[..., None]
    transform_back: Callable[..., None]
    taps: int = 3
    stride: int = 1


def float_arithmetic(
    simd: Simd, tile_rows: int, vectors: int, output: int, taps: int = 3, stride: int = 1,
    inner: Callable[..., Any] | None = None, width: int = 1, store_units: Callable[..., None] | None = None,
) -> WinogradArithmetic:  # fmt: skip
    """float32 or float16; ``inner`` multiplies units of ``width`` channels, which ``store_units`` writes."""
    ops, size = TileOps(simd, tile_rows, vectors), output + taps - 1
    return WinogradArithmetic(
        simd, tile_rows, ops.columns, output, width, ops.zeros, ops.store, inner or prefetching_products(ops),
        input_transform(simd, size, simd.store), input_transform(simd, size, store_units or simd.store),
        normalised_patch_reader(simd), inverse_transform(simd, vectors, output, size), taps, stride,
    )  # fmt: skip


@njit(forceinline=True, error_model="numpy")
def parts_of_task(p: Any, task: Any) -> Any:
    """First block of output channels, number among the tasks of all pixels, and that of columns, of rows, of images."""
    pixel_task = task // p.block_tasks
    column_task, row_task = pixel_task % p.column_tasks, pixel_task // p.column_tasks % p.row_tasks
    image = pixel_task // p.column_tasks // p.row_tasks
    return task % p.block_tasks * p.task_blocks, pixel_task, column_task, row_task, image


@njit(forceinline=True, error_model="numpy")
def first_row_of(p: Any, row_task: Any, high: Any, block: Any, blocks: Any) -> Any:
    """Where the rows of tiles of a task begin that it computes for a block of output channels; 0 to ``high``.

    Rows are shared out evenly. A row at the border of two of ``p.row_shares`` equal shares belongs to one for the first
    blocks, and to the other one for the rest.
    """
    if row_task * p.row_shares % p.row_tasks != 0:
        return row_task * high // p.row_tasks
    return (2 * blocks * row_task * high + (2 * block + 1) * p.row_tasks) // (2 * blocks * p.row_tasks)


@njit(forceinline=True, error_model="numpy")
def whole_tiles(tiles: Any, tile_rows: Any) -> Any:
    """Tiles that are computed for so many: whole register tiles."""
    return (tiles + tile_rows - 1) // tile_rows * tile_rows


def frequency_products(arithmetic: WinogradArithmetic) -> Callable[..., None]:
    """``run(...)``: the products of one frequency of a task's tiles with one block of filters.

    Filters are runs of channels: ``runs`` of ``run`` units, those of a tile ``v_step`` units apart. The filters of the
    next frequency are asked for meanwhile. Further arguments: sums and where they begin, floats from tile to tile
    there, transformed input, where it begins, units from tile to tile there, filters, where these begin, number of
    tiles.
    """
    tile_rows, columns = arithmetic.rows, arithmetic.columns
    zeros, inner, store_tile = arithmetic.zeros, arithmetic.inner, arithmetic.store_tile

    @njit(forceinline=True, error_model="numpy")
    def run_tiles(
        m: Any, place: Any, tile_pitch: Any, v: Any, v_index: Any, v_pitch: Any, v_step: Any, u: Any, u_index: Any,
        run: Any, runs: Any, tiles: Any,
    ) -> None:  # fmt: skip
        ahead_step = step_ahead(columns, tiles // tile_rows)
        for first in range(0, tiles, tile_rows):
            start = v_index + first * v_pitch
            asked = min(first // tile_rows * ahead_step, columns)
            ahead = u_index + runs * run * (columns + asked)
            tile, weights = zeros(), u_index
            for _ in range(runs):
                tile = inner(tile, v, start, v_pitch, u, weights, run, ahead, ahead_step)
                start += v_step
                weights += run * columns
                ahead += run * ahead_step
            store_tile(tile, m, place + first * tile_pitch, tile_pitch, tile_rows, columns)

    return run_tiles


def winograd_conv(arithmetic: WinogradArithmetic) -> Callable[..., None]:
    """The body of a convolution kernel with the filter and stride of ``arithmetic``, dilation 1, one group."""
    simd, tile_rows, columns = arithmetic.simd, arithmetic.rows, arithmetic.columns
    output, width, lanes = arithmetic.output, arithmetic.width, simd.lanes
    taps, stride, size = arithmetic.taps, arithmetic.stride, output + arithmetic.taps - 1
    multiply_frequency = frequency_products(arithmetic)
    transform_down, transform_across = arithmetic.transform_down, arithmetic.transform_across
    read_patch, transform_back = arithmetic.read_patch, arithmetic.transform_back
    floats, scratch = simd.buffer, simd.scratch
    frequencies = size * size
    filter_units = (stride * (size - 1) + 1) ** 2
    # Where addresses take instructions of their own, the products of a tile lie at fixed distances.
    fixed_pitch = columns if simd.level.by_lane else 0
    fixed_tile_pitch = frequencies * columns + 4 * lanes

    @njit(error_model="numpy")
    def to_frequencies(
        v: Any, patch: Any, buffer: Any, row_tiles: Any, column_tiles: Any, tiles: Any, row_pitch: Any, channels: Any,
        v_pitch: Any,
    ) -> None:  # fmt: skip
        """Fill V from the patch; ``channels`` counts the pixels of all phases of a column."""
        frequency_pitch = tiles * v_pitch + lanes
        for row in range(row_tiles):
            for column in range(column_tiles):
                for phase in range(stride):
                    start = (row * output * stride + phase) * row_pitch + column * output * channels
                    first = (row * column_tiles + column) * v_pitch + phase * channels // width
                    for c in range(0, channels, lanes):
                        for j in range(size):
                            transform_down(
                                buffer, j * lanes, size * lanes, patch, start + j * channels + c, stride * row_pitch
                            )
                        for i in range(size):
                            place = i * size * frequency_pitch + first + c // width
                            # A pointer to each frequency that moves on by itself would take too many registers.
                            transform_across(
                                opaque_pointer(v, place), 0, frequency_pitch, buffer, i * size * lanes, lanes
                            )

    @njit(forceinline=True, error_model="numpy")
    def runs_of_units(frequency: Any, units: Any) -> Any:
        """Neighbouring units that filters have at a frequency, and how many times; phases may have none at the last."""
        last_row, last_column = frequency >= frequencies - size, frequency % size == size - 1
        rows = 1 if last_row else stride
        return (units, rows) if last_column else (rows * stride * units, 1)

    @njit(error_model="numpy")
    def multiply(
        m: Any, m_pitch: Any, tile_pitch: Any, v: Any, v_index: Any, frequency_pitch: Any, u: Any, u_index: Any,
        tiles: Any, units: Any, v_pitch: Any,
    ) -> None:  # fmt: skip
        """Products of all frequencies with the tiles from ``v[v_index]`` on."""
        for frequency in range(frequencies):
            run, runs = runs_of_units(frequency, units)
            start = v_index + frequency * frequency_pitch
            multiply_frequency(
                m, frequency * m_pitch, tile_pitch, v, start, v_pitch, stride * units, u, u_index, run, runs, tiles
            )
            u_index += runs * run * columns

    def body(p: Any, worker: Any) -> None:
        x, u, channels = floats(worker, p.x), floats(worker, p.w), p.channels
        blocks = (p.out_channels + columns - 1) // columns
        units = (channels + width - 1) // width
        # One vector more: rows of a tile that lie a power of two apart compete for lines of the first-level cache.
        v_pitch = (stride * stride * channels + lanes - 1) // lanes * lanes // width + lanes
        high = (p.out_height + output - 1) // output
        transformed = -1
        while True:
            task = claim(worker, p.tiles)
            if task >= p.tiles:
                break
            first_block, task, column_task, row_task, image = parts_of_task(p, task)
            # Rows that any of its blocks needs.
            first_row = first_row_of(p, row_task, high, 0, blocks)
            row_tiles = first_row_of(p, row_task + 1, high, blocks - 1, blocks) - first_row
            out_row, out_column = first_row * output, column_task * p.task_columns * output
            column_tiles = min(p.task_columns, (p.out_width - out_column + output - 1) // output)
            tiles = whole_tiles(row_tiles * column_tiles, tile_rows)
            patch_rows = (row_tiles * output + taps - 1) * stride
            patch_columns = (column_tiles * output + taps - 1) * stride
            m_pitch = fixed_pitch if fixed_pitch > 0 else tiles * columns + lanes
            tile_pitch = fixed_tile_pitch if fixed_pitch > 0 else columns

            buffer = scratch(worker)
            m = advance(buffer, frequencies * lanes)
            v = advance(m, frequencies * (tiles * columns + lanes) + tiles * 4 * lanes)
            patch = advance(v, frequencies * (tiles * v_pitch + lanes))
            # Tasks that follow each other mostly differ in their output channels alone.
            if task != transformed:
                transformed = task
                top, left = out_row * stride - p.pad_top, out_column * stride - p.pad_left
                read_patch(patch, x, p, worker, image, top, left, patch_rows, patch_columns)
                to_frequencies(
                    v, patch, buffer, row_tiles, column_tiles, tiles, patch_columns * channels, stride * channels,
                    v_pitch,
                )  # fmt: skip
            for block in range(first_block, min(blocks, first_block + p.task_blocks)):
                first = first_row_of(p, row_task, high, block, blocks)
                rows = first_row_of(p, row_task + 1, high, block, blocks) - first
                first_filter = block * filter_units * units * columns
                multiply(
                    m, m_pitch, tile_pitch, v, (first - first_row) * column_tiles * v_pitch, tiles * v_pitch + lanes, u,
                    first_filter, whole_tiles(rows * column_tiles, tile_rows), units, v_pitch,
                )  # fmt: skip
                transform_back(
                    p, worker, m, m_pitch, tile_pitch, buffer, block, rows, column_tiles, column_tiles, first * output,
                    out_column, image,
                )  # fmt: skip

    return body


@kernel_family("f32_winograd4x4", NORMALISED_CONV_PARAMS, TILES, output=4, normalises=1)
def f32_winograd4x4(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """3x3 convolution with stride 1 and dilation 1, one group; ``task_rows`` and ``task_columns`` count tiles."""
    return winograd_conv(float_arithmetic(simd, tile_rows, vectors, 4))


@kernel_family("f32_winograd2x2", NORMALISED_CONV_PARAMS, TILES, float16=FLOAT16_TILES, output=2, normalises=1)
def f32_winograd2x2(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """As ``f32_winograd4x4``, with tiles of 2x2 pixels."""
    return winograd_conv(float_arithmetic(simd, tile_rows, vectors, 2))


@kernel_family("f32_winograd6x6", NORMALISED_CONV_PARAMS, LARGE_TILES, output=6, normalises=1)
def f32_winograd6x6(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """As ``f32_winograd4x4``, with tiles of 6x6 pixels."""
    return winograd_conv(float_arithmetic(simd, tile_rows, vectors, 6))


@kernel_family(
    "f32_winograd7x7_stride2_3x3", NORMALISED_CONV_PARAMS, NEON_TILES, output=7, taps=2, stride=2, normalises=1
)
def f32_winograd7x7_stride2_3x3(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """3x3 convolution with stride 2 and dilation 1, one group, by F(7, 2)."""
    return winograd_conv(float_arithmetic(simd, tile_rows, vectors, 7, 2, 2))


@kernel_family(
    "f32_winograd4x4_stride2_3x3", NORMALISED_CONV_PARAMS, STRIDE_TILES, output=4, taps=2, stride=2, normalises=1
)
def f32_winograd4x4_stride2_3x3(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """As ``f32_winograd7x7_stride2_3x3``, by F(4, 2)."""
    return winograd_conv(float_arithmetic(simd, tile_rows, vectors, 4, 2, 2))


@kernel_family(
    "f32_winograd2x2_stride2_3x3", NORMALISED_CONV_PARAMS, SMALL_STRIDE_TILES, output=2, taps=2, stride=2, normalises=1
)
def f32_winograd2x2_stride2_3x3(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """As ``f32_winograd7x7_stride2_3x3``, by F(2, 2), whose filters are a third as large."""
    return winograd_conv(float_arithmetic(simd, tile_rows, vectors, 2, 2, 2))


@kernel_family(
    "f32_winograd5x5_stride2_7x7", NORMALISED_CONV_PARAMS, FIRST_LAYER_TILES, output=5, taps=4, stride=2, normalises=1
)
def f32_winograd5x5_stride2_7x7(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """7x7 convolution with stride 2 and dilation 1, one group, by F(5, 4)."""
    return winograd_conv(float_arithmetic(simd, tile_rows, vectors, 5, 4, 2))
