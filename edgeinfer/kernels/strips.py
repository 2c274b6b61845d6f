"""Several kernels in turn on one strip of rows of a picture after the other, each strip by one worker alone.

What a kernel hands to the next of its strip lies in memory of the worker's own, where it stays in that processor's
cache; nobody waits for anybody between them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgeinfer.abi import STEP, TEAM, WORKER, field_offset
from edgeinfer.kernels.registry import Simd, kernel_family, struct
from edgeinfer.simd.calls import call_kernel
from edgeinfer.simd.pointers import as_i64, atomic_store, claim

# The calls of all strips are rows of the team's table from row ``first`` on, strip by strip. Scratch memory holds a
# WORKER record and a table of bases, from ``local_start`` on what the calls of a strip hand on, and from
# ``scratch_start`` on the scratch memory of their kernels. ``bases`` counts the bases of the run.
STRIPS_PARAMS = struct("first calls bases local_start scratch_start tiles")

_WORD = 8
_STEP_WORDS = STEP.itemsize // _WORD
_STEPS = field_offset(TEAM, "steps")
_TEAM, _BASES, _SCRATCH, _INDEX, _THREADS, _TAKEN = (
    field_offset(WORKER, field) for field in ("team", "bases", "scratch", "index", "threads", "taken")
)
_WORKER_BYTES = WORKER.itemsize


@kernel_family("run_strips", STRIPS_PARAMS, cache_bytes=lambda level: level.cache_bytes)
def run_strips(simd: Simd) -> Callable[..., None]:
    """Run the calls of each strip; ``tiles`` are the strips. The base behind those of the run is the worker's own."""

    def body(p: Any, worker: Any) -> None:
        own = worker.scratch
        bases, own_bases = as_i64(worker.bases), as_i64(own + _WORKER_BYTES)
        for index in range(p.bases):
            own_bases[index] = bases[index]
        own_bases[p.bases] = own + p.local_start
        # A team of one: its kernels claim all of their tiles.
        as_i64(own + _TEAM)[0] = worker.team
        as_i64(own + _BASES)[0] = own + _WORKER_BYTES
        as_i64(own + _SCRATCH)[0] = own + p.scratch_start
        as_i64(own + _INDEX)[0] = 0
        as_i64(own + _THREADS)[0] = 1
        steps = as_i64(as_i64(worker.team + _STEPS)[0])
        while True:
            strip = claim(worker, p.tiles)
            if strip >= p.tiles:
                break
            first = p.first + strip * p.calls
            for row in range(first, first + p.calls):
                atomic_store(as_i64(own + _TAKEN), 0)
                call_kernel(steps[row * _STEP_WORDS], steps[row * _STEP_WORDS + 1], own)

    return body
