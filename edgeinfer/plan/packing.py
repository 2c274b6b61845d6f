"""Bringing weights into the order in which kernels read them: what is to be done, and its references in NumPy.

Planning describes; a ``Packer`` does it all at once, straight into the block of weights. The one here uses NumPy, for
plans made on another machine than they run on; the runtime's uses kernels, which give the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from edgeinfer.plan.kernel_set import KernelRow
from edgeinfer.records import NamedTuple


class Packing(NamedTuple):
    """How one constant is made from another one.

    Attributes:
        source: weights [out, channels, rows, columns] of elements of four bytes, perhaps a view.
        shape: shape of the result, of the source's dtype.
        reference: makes the result from the source.
        kernel: the kernel that does the same.
        values: its params without those of buffers and of the source's strides.
        scratch_bytes: memory that each worker needs.
    """

    source: np.ndarray
    shape: tuple[int, ...]
    reference: Callable[[np.ndarray], np.ndarray]
    kernel: KernelRow
    values: Mapping[str, int | float]
    scratch_bytes: int = 0

    @property
    def dtype(self) -> np.dtype:
        """The result's dtype."""
        return self.source.dtype

    @property
    def nbytes(self) -> int:
        """Bytes of the result."""
        return math.prod(self.shape) * self.source.itemsize


# Fills arrays with what packings describe.
Packer = Callable[[Sequence[tuple[Packing, np.ndarray]]], None]


def pack_by_references(packings: Sequence[tuple[Packing, np.ndarray]]) -> None:
    """The packer that needs no kernels."""
    for packing, target in packings:
        np.copyto(target, packing.reference(packing.source))
