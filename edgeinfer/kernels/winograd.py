"""3x3 convolution by Winograd's minimal filtering: F(4x4, 3x3) takes 36 products where direct convolution takes 144.

F(2x2, 3x3) takes 16 for 36; its filters are less than half as large, which decides where there are many channels and
few pixels. Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015. For tiles d of input pixels,
filters g and tiles Y of output pixels:

    Y = A^T [ (G g G^T) * (B^T d B) ] A,  summed over the input channels inside the brackets

A task is a block of tiles. Its input pixels are read into a patch, transformed to V[frequency][tile][channel],
multiplied with the packed filters U[output block][frequency][channel][columns] by register tiles, and each
block of output channels is transformed back and written at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numba import njit

from edgeinfer.kernels.conv import CONV_PARAMS
from edgeinfer.kernels.patch import patch_reader
from edgeinfer.kernels.products import inner_products, prefetching_products
from edgeinfer.kernels.registry import Simd, kernel_family
from edgeinfer.kernels.winograd_transforms import input_transform, inverse_transform
from edgeinfer.simd.pointers import advance, claim
from edgeinfer.simd.prefetch import LINE
from edgeinfer.simd.tile import TileOps

TILES = {"avx512": [(8, 2), (7, 2)], "avx2": [(6, 2), (4, 3)], "v128": [(6, 2)], "neon": [(8, 2)]}


@dataclass(frozen=True)
class WinogradProducts:
    """How the transformed input is kept and multiplied.

    Attributes:
        output: pixels of an output tile along one axis.
        width: channels that one unit of V and U, a float or four bytes, holds.
        inner: ``inner(tile, v, index, row_stride, u, u_index, count)``: adds ``count`` outer products to a tile.
        prefetching: the same, see ``prefetching_products``.
        store_units: ``store_units(v, index, vector)``: writes a vector of channels as units.
    """

    output: int
    width: int
    inner: Callable[..., Any]
    prefetching: Callable[..., Any]
    store_units: Callable[..., None]


def float_products(simd: Simd, tile_rows: int, vectors: int, output: int) -> WinogradProducts:
    """Products of float32 or float16."""
    ops = TileOps(simd, tile_rows, vectors)
    return WinogradProducts(output, 1, inner_products(ops), prefetching_products(ops), simd.store)


def winograd_conv(simd: Simd, tile_rows: int, vectors: int, products: WinogradProducts) -> Callable[..., None]:
    """The body of a 3x3 convolution kernel with stride 1 and dilation 1, one group."""
    ops, lanes, output, width = TileOps(simd, tile_rows, vectors), simd.lanes, products.output, products.width
    zeros, inner, prefetching = ops.zeros, products.inner, products.prefetching
    store_tile, columns, floats, scratch = ops.store, ops.columns, simd.buffer, simd.scratch
    transform_down = input_transform(simd, output, simd.store)
    transform_across = input_transform(simd, output, products.store_units)
    read_patch, transform_back = patch_reader(simd), inverse_transform(simd, vectors, output)
    size = output + 2
    frequencies = size * size

    @njit(error_model="numpy")
    def to_frequencies(
        v: Any, patch: Any, buffer: Any, row_tiles: Any, column_tiles: Any, tiles: Any, row_pitch: Any, channels: Any,
        v_pitch: Any,
    ) -> None:  # fmt: skip
        frequency_pitch = tiles * v_pitch + lanes
        for row in range(row_tiles):
            for column in range(column_tiles):
                start = row * output * row_pitch + column * output * channels
                tile = row * column_tiles + column
                for c in range(0, channels, lanes):
                    for j in range(size):
                        transform_down(buffer, j * lanes, size * lanes, patch, start + j * channels + c, row_pitch)
                    for i in range(size):
                        place = i * size * frequency_pitch + tile * v_pitch + c // width
                        transform_across(v, place, frequency_pitch, buffer, i * size * lanes, lanes)

    @njit(error_model="numpy")
    def multiply(m: Any, v: Any, u: Any, u_index: Any, tiles: Any, units: Any, v_pitch: Any) -> None:
        """Products of all frequencies; the filters of the next one are asked for while the first tiles are made."""
        for frequency in range(frequencies):
            for first in range(0, tiles, tile_rows):
                start = frequency * (tiles * v_pitch + lanes) + first * v_pitch
                asked = first // tile_rows * LINE
                if asked < columns:
                    ahead = u_index + units * (columns + asked)
                    tile = prefetching(zeros(), v, start, v_pitch, u, u_index, units, ahead, LINE)
                else:
                    tile = inner(zeros(), v, start, v_pitch, u, u_index, units)
                place = frequency * (tiles * columns + lanes) + first * columns
                store_tile(tile, m, place, columns, tile_rows, columns)
            u_index += units * columns

    def body(p: Any, worker: Any) -> None:
        x, u, channels = floats(worker, p.x), floats(worker, p.w), p.channels
        blocks = (p.out_channels + columns - 1) // columns
        units = (channels + width - 1) // width
        v_pitch = (channels + lanes - 1) // lanes * lanes // width
        while True:
            task = claim(worker)
            if task >= p.tiles:
                break
            first_block = task % p.block_tasks * p.task_blocks
            task //= p.block_tasks
            column_task = task % p.column_tasks
            row_task = task // p.column_tasks % p.row_tasks
            image = task // p.column_tasks // p.row_tasks
            out_row, out_column = row_task * p.task_rows * output, column_task * p.task_columns * output
            row_tiles = min(p.task_rows, (p.out_height - out_row + output - 1) // output)
            column_tiles = min(p.task_columns, (p.out_width - out_column + output - 1) // output)
            tiles = (row_tiles * column_tiles + tile_rows - 1) // tile_rows * tile_rows
            patch_rows, patch_columns = row_tiles * output + 2, column_tiles * output + 2

            buffer = scratch(worker)
            m = advance(buffer, frequencies * lanes)
            v = advance(m, frequencies * (tiles * columns + lanes))
            patch = advance(v, frequencies * (tiles * v_pitch + lanes))
            image_start = image * p.height * p.width * p.x_channels
            read_patch(
                patch, x, p, image_start, 0, out_row - p.pad_top, out_column - p.pad_left, patch_rows, patch_columns
            )
            to_frequencies(
                v, patch, buffer, row_tiles, column_tiles, tiles, patch_columns * channels, channels, v_pitch
            )
            for block in range(first_block, min(blocks, first_block + p.task_blocks)):
                multiply(m, v, u, block * frequencies * units * columns, tiles, units, v_pitch)
                transform_back(
                    p, worker, m, buffer, block, row_tiles, column_tiles, column_tiles, tiles, out_row, out_column,
                    image,
                )  # fmt: skip

    return body


@kernel_family("f32_winograd4x4", CONV_PARAMS, TILES, output=4)
def f32_winograd4x4(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """3x3 convolution with stride 1 and dilation 1, one group; ``task_rows`` and ``task_columns`` count tiles."""
    return winograd_conv(simd, tile_rows, vectors, float_products(simd, tile_rows, vectors, 4))


@kernel_family("f32_winograd2x2", CONV_PARAMS, TILES, float16=True, output=2)
def f32_winograd2x2(simd: Simd, tile_rows: int, vectors: int) -> Callable[..., None]:
    """As ``f32_winograd4x4``, with tiles of 2x2 pixels."""
    return winograd_conv(simd, tile_rows, vectors, float_products(simd, tile_rows, vectors, 2))
