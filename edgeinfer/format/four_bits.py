"""Integers of 4 bits: two in a byte in files, the lower half first; one in a byte in memory."""

from __future__ import annotations

import math

import numpy as np

from edgeinfer.errors import FormatError
from edgeinfer.graph import DType, TensorType, is_static

FOUR_BITS = (DType.INT4, DType.UINT4)


def pack_four_bits(array: np.ndarray) -> np.ndarray:
    """int8 or uint8 of any shape as uint8 [ceil(size / 2)]; an odd number of them leaves the last half 0."""
    halves = np.zeros(array.size + array.size % 2, np.uint8)
    halves[: array.size] = array.reshape(-1).astype(np.uint8) & 15
    return halves[::2] | halves[1::2] << 4


def unpack_four_bits(packed: np.ndarray, declared: TensorType, what: str) -> np.ndarray:
    """The integers of ``pack_four_bits`` in their declared shape, int8 for INT4 and uint8 for UINT4.

    Raises:
        FormatError: naming ``what`` if the bytes do not fit the type.
    """
    shape = declared.shape
    if shape is None or not is_static(shape):
        raise FormatError(f"{what} is declared as {declared}, which is no shape of a tensor")
    dims = tuple(int(dim) for dim in shape)
    count = math.prod(dims)
    if packed.dtype != np.uint8 or packed.shape != ((count + 1) // 2,):
        raise FormatError(
            f"{what} is declared as {declared}, which takes uint8[{(count + 1) // 2}], but stored as "
            f"{packed.dtype}{list(packed.shape)}"
        )
    if count % 2 and packed[-1] > 15:
        raise FormatError(f"{what} holds an integer more than its shape {list(dims)}")
    halves = np.empty(2 * packed.size, np.uint8)
    halves[::2], halves[1::2] = packed & 15, packed >> 4
    values = halves[:count].reshape(dims)
    return (values.view(np.int8) ^ np.int8(8)) - np.int8(8) if declared.dtype is DType.INT4 else values
