"""Bringing weights into the order of kernels by kernels, all workers together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeinfer.abi import FIRST_BINDING, STEP, buffer_ref
from edgeinfer.plan.memory import align, aligned_block
from edgeinfer.plan.packing import Packing
from edgeinfer.plan.step import strips_fields
from edgeinfer.runtime.kernel_loader import Kernels
from edgeinfer.runtime.workers import WorkerTeam

_AXES = ("output", "channel", "row", "column")

# What is smaller is brought into order by one worker alone: nobody waits for anybody after each tensor of a network of
# a hundred, least of all for a worker that has just been made.
SHARED_BYTES = 512 * 1024


def pack_by_kernels(packings: Sequence[tuple[Packing, np.ndarray]], kernels: Kernels, team: WorkerTeam) -> None:
    """The packer of a session.

    Args:
        packings: what is to be done, and where the results go.
        kernels: where compiled kernels come from.
        team: the workers.
    """
    strips = kernels.kernel_set.only("run_strips")
    addresses = kernels.load({strips.name, *(packing.kernel.name for packing, _ in packings)})
    bases = np.zeros(FIRST_BINDING + 2 * len(packings), np.int64)
    shared: list[tuple[int, np.ndarray]] = []
    alone: list[tuple[int, np.ndarray]] = []
    sources = []
    for index, (packing, target) in enumerate(packings):
        source = packing.source
        if any(stride < 0 or stride % source.itemsize for stride in source.strides):
            source = np.ascontiguousarray(source)
        sources.append(source)
        first = FIRST_BINDING + 2 * index
        bases[first], bases[first + 1] = source.ctypes.data, target.ctypes.data
        strides = {f"x_{axis}": stride // source.itemsize for axis, stride in zip(_AXES, source.strides, strict=True)}
        values = {**packing.values, **strides, "x": buffer_ref(first, 0), "y": buffer_ref(first + 1, 0)}
        params = packing.kernel.params_from(packing.kernel.in_order(values))
        (alone if packing.nbytes < SHARED_BYTES else shared).append((addresses[packing.kernel.name], params))
    fields = strips_fields(len(shared) + 1, len(alone), 1, len(bases))
    run_alone = strips.params_from(strips.in_order(fields))
    steps = [*shared, (addresses[strips.name], run_alone)]
    table = np.array([(address, params.ctypes.data) for address, params in steps + alone], STEP)
    scratch_bytes = align(fields["scratch_start"] + max(packing.scratch_bytes for packing, _ in packings))
    scratch = aligned_block(scratch_bytes * team.threads)
    team.run(table.ctypes.data, 0, len(steps), bases.ctypes.data, scratch.ctypes.data, scratch_bytes)
