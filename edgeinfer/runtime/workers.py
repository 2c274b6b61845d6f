"""The team of workers that runs the native steps of a plan."""

from __future__ import annotations

import os
import platform
import threading
from collections.abc import Callable

import numpy as np

from edgeinfer.abi import TEAM, WORKER
from edgeinfer.errors import KernelError
from edgeinfer.runtime.placement import WorkerPlacement

Entry = Callable[[int, int], None]

_FUTEX_CALL = {
    "x86_64": 202, "aarch64": 98, "riscv64": 98, "armv7l": 240, "armv6l": 240, "i686": 240,
}  # fmt: skip
# A waiting worker looks this often before it sleeps: some tens of microseconds, as long as many steps take.
SPINS = 4000


class WorkerTeam:
    """Worker threads that sleep until a range of steps is to be run.

    The calling thread is worker 0. The others are Python threads that spend their life in one native call
    without the interpreter's lock.

    Attributes:
        threads: number of workers.
    """

    def __init__(self, threads: int, run_tape: Entry, worker_loop: Entry) -> None:
        machine = platform.machine()
        if machine not in _FUTEX_CALL:
            raise KernelError(f"worker threads are not supported on {machine}")
        self.threads = threads
        self._run_tape = run_tape
        self._worker_loop = worker_loop
        self._start()

    def _start(self) -> None:
        threads = self.threads
        self._process = os.getpid()
        # One more record than needed, so that the first can start on a cache line of its own.
        self._memory = np.zeros(TEAM.itemsize + (threads + 1) * WORKER.itemsize, np.uint8)
        start = -self._memory.ctypes.data % 64
        self._team = self._memory[start : start + TEAM.itemsize].view(TEAM)
        first = start + TEAM.itemsize
        self._workers = self._memory[first : first + threads * WORKER.itemsize].view(WORKER)
        # More workers than processors must not spin: they would keep those from running that they wait for.
        crowded = threads > len(os.sched_getaffinity(0))
        team = self._team
        team["threads"], team["spins"] = threads, 0 if crowded else SPINS
        team["futex_call"] = _FUTEX_CALL[platform.machine()]
        self._workers["team"] = team.ctypes.data
        self._workers["index"] = np.arange(threads)
        self._workers["threads"] = threads
        self._team_address = team.ctypes.data
        self._addresses = [self._workers.ctypes.data + index * WORKER.itemsize for index in range(threads)]
        self._python_threads = [
            threading.Thread(
                target=self._worker_loop,
                args=(self._team_address, self._addresses[index]),
                name=f"edgeinfer-worker-{index}",
                daemon=True,
            )
            for index in range(1, threads)
        ]
        for thread in self._python_threads:
            thread.start()
        self._placement = WorkerPlacement([thread.native_id or 0 for thread in self._python_threads])
        self._indices = np.arange(threads)
        # What the records say: most runs repeat the one before, and what was not touched since has left the caches.
        self._call: tuple[int, ...] = ()

    def run(self, steps: int, first: int, last: int, bases: int, scratch: int, scratch_bytes: int) -> None:
        """Run steps ``first`` to before ``last`` of a table with all workers.

        Args:
            steps: address of the table of STEP records.
            first: first step.
            last: one beyond the last step; with several workers at least ``first + 1``.
            bases: address of the table of bases.
            scratch: address of the workers' scratch memory.
            scratch_bytes: bytes of scratch memory of one worker.
        """
        if os.getpid() != self._process:
            self._start()
        call = (steps, first, last, bases, scratch, scratch_bytes)
        if call != self._call:
            self._prepare(*call)
            self._call = call
        self._placement.update()
        self._run_tape(self._team_address, self._addresses[0])

    def _prepare(self, steps: int, first: int, last: int, bases: int, scratch: int, scratch_bytes: int) -> None:
        """Write into the team's and the workers' records what they are to run."""
        team, workers = self._team, self._workers
        team["steps"], team["first"], team["last"] = steps, first, last
        workers["bases"] = bases
        np.multiply(self._indices, scratch_bytes, out=workers["scratch"])
        workers["scratch"] += scratch

    def close(self) -> None:
        """Let the worker threads end; the team cannot be used afterwards."""
        if os.getpid() == self._process and self._python_threads:
            team = self._team
            team["stop"], team["first"], team["last"] = 1, 0, 0
            self._run_tape(self._team_address, self._addresses[0])
            for thread in self._python_threads:
                thread.join()
        self._python_threads = []
