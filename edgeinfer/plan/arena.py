"""Offsets of buffers in one arena, so that no two that live at the same time overlap.

Buffers are placed from the largest to the smallest, each into the tightest gap that is free during its
life (greedy by size; Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020).
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from itertools import accumulate

from edgeinfer.plan.lifetimes import Buffer
from edgeinfer.plan.memory import align
from edgeinfer.records import NamedTuple


class Arena(NamedTuple):
    """Where buffers lie.

    Attributes:
        offsets: byte offset of each buffer, in the order given.
        size: bytes of the arena.
        lower_bound: bytes that any arena needs: the largest sum of buffers alive at one step.
    """

    offsets: list[int]
    size: int
    lower_bound: int


def plan_arena(buffers: Sequence[Buffer]) -> Arena:
    """Place buffers on 64-byte boundaries."""
    sizes = [align(buffer.size) for buffer in buffers]
    bound = _largest_live_sum(buffers, sizes)
    orders = (
        lambda i: (-sizes[i], buffers[i].first),
        lambda i: (-sizes[i] * (buffers[i].last - buffers[i].first + 1), buffers[i].first),
        lambda i: (buffers[i].first, -sizes[i]),
    )
    best: tuple[int, list[int]] | None = None
    for order in orders:
        offsets = _place(buffers, sizes, sorted(range(len(buffers)), key=order))
        size = max((offset + size for offset, size in zip(offsets, sizes, strict=True)), default=0)
        if best is None or size < best[0]:
            best = (size, offsets)
        if size == bound:
            break
    assert best is not None
    return Arena(best[1], best[0], bound)


def _largest_live_sum(buffers: Sequence[Buffer], sizes: Sequence[int]) -> int:
    changes = [0] * (max((buffer.last for buffer in buffers), default=0) + 2)
    for buffer, size in zip(buffers, sizes, strict=True):
        changes[buffer.first] += size
        changes[buffer.last + 1] -= size
    return max(accumulate(changes))


def _place(buffers: Sequence[Buffer], sizes: Sequence[int], order: Sequence[int]) -> list[int]:
    offsets = [0] * len(buffers)
    # (start, end, first, last) of buffers placed so far, by start.
    placed: list[tuple[int, int, int, int]] = []
    for index in order:
        buffer, size = buffers[index], sizes[index]
        first, last = buffer.first, buffer.last
        best_start, best_gap, free_from = -1, 0, 0
        for start, end, other_first, other_last in placed:
            if other_first > last or other_last < first:
                continue
            gap = start - free_from
            if gap >= size and (best_start < 0 or gap < best_gap):
                best_start, best_gap = free_from, gap
            free_from = max(free_from, end)
        offsets[index] = best_start if best_start >= 0 else free_from
        bisect.insort(placed, (offsets[index], offsets[index] + size, first, last))
    return offsets
