"""Many runs of sessions side by side do not make memory grow."""

from __future__ import annotations

import mmap

import edgeinfer
from benchmarks.soak import ALLOWED_GROWTH, feeds_of, growth, is_flat, run_many, side_by_side
from edgeinfer.video.shipped_model import shipped_model

RUNS = 240


def test_memory_is_flat_over_many_runs():
    with edgeinfer.load(shipped_model(), threads=2) as one, edgeinfer.load(shipped_model(), threads=1) as other:
        for session in (one, other):
            session.run(feeds_of(32))
        assert is_flat(growth(lambda count, first: run_many(one, count, first), RUNS))
        assert is_flat(growth(lambda count, first: side_by_side((one, other), count, first), RUNS))


def test_growth_is_noticed():
    """Pages of their own: memory that the allocator still holds from earlier tests would not make the process grow."""
    held: list[mmap.mmap] = []

    def leak(count: int, first: int) -> None:
        held.append(mmap.mmap(-1, ALLOWED_GROWTH // 2))
        held[-1].write(b"x" * (ALLOWED_GROWTH // 2))

    samples = growth(leak, 20)
    for block in held:
        block.close()
    assert not is_flat(samples)
