"""The inner loop of every convolution and matrix product."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from edgeinfer.simd.byte_tile import ByteTileOps
from edgeinfer.simd.lane_products import FloatLanes, lane_products
from edgeinfer.simd.pointers import as_bytes
from edgeinfer.simd.prefetch import prefetch
from edgeinfer.simd.tile import TileOps


def inner_products(ops: TileOps | ByteTileOps, by_matrix: bool = False) -> Callable[..., Any]:
    """``accumulate(tile, x, index, row_stride, w, w_index, count)``: adds ``count`` outer products to a tile.

    Product k is of the column ``x[index + k + i * row_stride]`` and the row of ``columns`` floats at
    ``w[w_index + k * columns]``, or of quads of bytes in their places. Where the processor multiplies by one lane of
    a vector, a vector of k is read at once. With ``by_matrix`` weights are packed as ``ops.matrix_products`` wants.
    """
    if not ops.by_lane:
        return products_one_by_one(ops.outer, ops.columns)
    if isinstance(ops, ByteTileOps):
        return ops.matrix_products if by_matrix else ops.products
    return lane_products(ops.type, FloatLanes(ops.type, ops.in_order))


def prefetching_products(ops: TileOps | ByteTileOps, by_matrix: bool = False) -> Callable[..., Any]:
    """``accumulate(…, count, ahead, step)``: as ``inner_products``; meanwhile memory from ``w[ahead]`` on arrives.

    With each product the line that holds ``w[ahead + k * step]`` is asked for, so that the weights that come next are
    read while the processor multiplies, and not in front of it. Nothing is asked for elsewhere than on x86, since it
    could not be measured there.
    """
    if ops.prefetches:
        return with_prefetches(ops.outer, ops.columns)
    return without_prefetches(inner_products(ops, by_matrix))


def with_prefetches(
    outer: Callable[..., Any], columns: int, unit_bytes: int = 4, x_step: int = 1
) -> Callable[..., Any]:
    """See ``prefetching_products``; ``outer`` adds one outer product, of weights in units of four or two bytes.

    ``x_step`` is what an index of x moves on from product to product.
    """

    @njit(forceinline=True, error_model="numpy")
    def accumulate(
        tile: Any, x: Any, index: Any, row_stride: Any, w: Any, w_index: Any, count: Any, ahead: Any, step: Any
    ) -> Any:
        octets = as_bytes(w)
        for k in range(count):
            tile = outer(tile, x, index + k * x_step, row_stride, w, w_index + k * columns)
            prefetch(octets, (ahead + k * step) * unit_bytes)
        return tile

    return accumulate


def without_prefetches(inner: Callable[..., Any]) -> Callable[..., Any]:
    """``inner`` with the signature of ``prefetching_products``; it asks for nothing."""

    @njit(forceinline=True, error_model="numpy")
    def accumulate(
        tile: Any, x: Any, index: Any, row_stride: Any, w: Any, w_index: Any, count: Any, ahead: Any, step: Any
    ) -> Any:
        return inner(tile, x, index, row_stride, w, w_index, count)

    return accumulate


def products_one_by_one(outer: Callable[..., Any], columns: int) -> Callable[..., Any]:
    """``accumulate`` as of ``inner_products``; ``outer`` adds one outer product."""

    @njit(forceinline=True, error_model="numpy")
    def accumulate(tile: Any, x: Any, index: Any, row_stride: Any, w: Any, w_index: Any, count: Any) -> Any:
        for k in range(count):
            tile = outer(tile, x, index + k, row_stride, w, w_index + k * columns)
        return tile

    return accumulate
