"""Plans cut their work so finely that workers of unequal speed end at about the same time."""

from __future__ import annotations

import heapq

import edgeinfer
from edgeinfer.video.shipped_model import shipped_model

SPEEDS = (1.0, 0.5)


def rounds(tiles: int) -> float:
    """Time until the last tile is done, in tiles of a worker of speed 1, where each takes the next when it is free."""
    workers = [(1 / speed, 1 / speed) for speed in SPEEDS]
    heapq.heapify(workers)
    end = 0.0
    for _ in range(tiles):
        free, duration = heapq.heappop(workers)
        end = max(end, free)
        heapq.heappush(workers, (free + duration, duration))
    return end


def test_a_core_of_half_the_speed_is_made_use_of():
    with edgeinfer.load(shipped_model(), threads=2) as session:
        plan = session.plan({"image": (1, 3, 256, 256), "style_weights": (26,)})
    needed = ideal = 0.0
    for step in plan.native_steps():
        tiles = int(step.params["tiles"])
        needed += step.call.macs / tiles * rounds(tiles)
        ideal += step.call.macs / sum(SPEEDS)
    assert rounds(1) == 1
    assert ideal > 0
    assert needed < 1.15 * ideal
