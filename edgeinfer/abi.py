"""The contract between planner, kernels and runtime: memory layouts that all three share.

A kernel is ``kernel(params, worker)``: two pointers, no return value. ``params`` points to the
kernel's own struct, ``worker`` to a ``WORKER`` record. A tensor is named in ``params`` by a buffer
reference: one int64 that holds the number of a base and the byte offset from it. The bases of a run
are a table of addresses: the arena, the weights, then the model's inputs and outputs in order.
"""

from __future__ import annotations

import numpy as np

ABI_VERSION = 2

OFFSET_BITS = 48
ARENA = 0
WEIGHTS = 1
FIRST_BINDING = 2

ALIGNMENT = 64

# One row of the plan's table: address of a kernel, address of its params.
STEP = np.dtype([("kernel", "<i8"), ("params", "<i8")], align=True)

# What all workers of a session share. `arrived` and what follows sit on cache lines of their own.
TEAM = np.dtype(
    {
        "names": [
            "threads", "bases", "steps", "first", "last", "stop", "futex_call", "spins",
            "arrived", "generation", "epoch", "sleepers",
        ],
        "formats": ["<i8"] * 12,
        "offsets": [0, 8, 16, 24, 32, 40, 48, 56, 64, 128, 192, 256],
        "itemsize": 320,
    }
)  # fmt: skip

# What one worker owns. `bases` and `scratch` are addresses; `scratch` is aligned to ALIGNMENT; `epoch` is
# the team's epoch when the worker was made, so that a thread that starts late misses no run. `taken` counts the
# tiles that were taken from this worker's range in this step, on a cache line of its own. The workers' records are
# neighbours in memory.
WORKER = np.dtype(
    {
        "names": ["team", "bases", "scratch", "index", "threads", "epoch", "taken"],
        "formats": ["<i8"] * 7,
        "offsets": [0, 8, 16, 24, 32, 40, 64],
        "itemsize": 128,
    }
)


def buffer_ref(base: int, offset: int) -> int:
    """The int64 by which ``params`` names a place: ``base * 2**48 + offset`` (offset in bytes)."""
    if not 0 <= offset < 1 << OFFSET_BITS:
        raise ValueError(f"offset {offset} does not fit into {OFFSET_BITS} bits")
    return base << OFFSET_BITS | offset


def split_ref(ref: int) -> tuple[int, int]:
    """Base and byte offset of a buffer reference."""
    return ref >> OFFSET_BITS, ref & ((1 << OFFSET_BITS) - 1)


def field_offset(record: np.dtype, field: str) -> int:
    """Byte offset of a field in a record."""
    assert record.fields is not None
    return record.fields[field][1]
