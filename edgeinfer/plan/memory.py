"""Blocks of memory whose address suits vector loads and large pages."""

from __future__ import annotations

import contextlib
import mmap

import numpy as np

from edgeinfer.abi import ALIGNMENT

# From this size on a block gets pages of its own, which the system may back by huge pages.
MAPPED_BYTES = 1 << 21


def align(size: int) -> int:
    """``size`` rounded up to a multiple of ALIGNMENT."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def aligned_block(size: int) -> np.ndarray:
    """A writable uint8 array of ``size`` bytes that starts on a multiple of ALIGNMENT; contents are arbitrary."""
    if size >= MAPPED_BYTES:
        # Private pages: a forked process gets its own, and the system backs no others by huge pages.
        pages = mmap.mmap(-1, size + MAPPED_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            with contextlib.suppress(OSError):
                pages.madvise(mmap.MADV_HUGEPAGE)
        block = np.frombuffer(pages, np.uint8)
        start = -block.ctypes.data % MAPPED_BYTES
        return block[start : start + size]
    block = np.empty(size + ALIGNMENT, np.uint8)
    start = -block.ctypes.data % ALIGNMENT
    return block[start : start + size]
