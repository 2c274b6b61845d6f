"""The tape runner: all workers run all steps, in order, and idle workers sleep."""

from __future__ import annotations

import ctypes
import os
import platform
import threading
import time

import numpy as np
import pytest
from numba import from_dtype, njit, types
from numba.extending import intrinsic

from edgeinfer.abi import STEP, TEAM, WORKER
from edgeinfer.codegen.cache import KernelLibrary
from edgeinfer.runtime.cpu import available_levels, cpu_level
from edgeinfer.simd.pointers import claim, record_at

WORKER_POINTER = types.CPointer(from_dtype(WORKER))
FUTEX_CALL = {"x86_64": 202, "aarch64": 98}[platform.machine()]


@intrinsic
def worker_at(typing_context, address):
    """A pointer to the WORKER record at an address."""

    def codegen(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(WORKER_POINTER))

    return WORKER_POINTER(types.int64), codegen


@njit
def claim_tile(address, tiles):
    return claim(record_at(worker_at(address)), tiles)


class Team:
    """A team of workers whose steps are Python callbacks, for tests."""

    def __init__(self, threads: int, kernels: list, spins: int = 200, level: str | None = None) -> None:
        library = KernelLibrary(level or cpu_level())
        self.run_tape = library.entry("run_tape")
        worker_loop = library.entry("worker_loop")
        self.team = np.zeros(1, TEAM)
        self.workers = np.zeros(threads, WORKER)
        self.steps = np.zeros(len(kernels), STEP)
        prototype = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)
        self.callbacks = [prototype(kernel) for kernel in kernels]
        self.steps["kernel"] = [ctypes.cast(callback, ctypes.c_void_p).value for callback in self.callbacks]
        self.team["threads"], self.team["spins"] = threads, spins
        self.team["futex_call"], self.team["steps"] = FUTEX_CALL, self.steps.ctypes.data
        self.team["last"] = len(kernels)
        self.workers["team"] = self.team.ctypes.data
        self.workers["index"] = np.arange(threads)
        self.threads = [
            threading.Thread(target=worker_loop, args=(self.team.ctypes.data, self._worker(index)), daemon=True)
            for index in range(1, threads)
        ]
        for thread in self.threads:
            thread.start()

    def _worker(self, index: int) -> int:
        return self.workers.ctypes.data + index * WORKER.itemsize

    def run(self) -> None:
        self.run_tape(self.team.ctypes.data, self._worker(0))

    def stop(self) -> None:
        self.team["stop"], self.team["first"] = 1, self.team["last"]
        self.run()
        for thread in self.threads:
            thread.join(5)
            assert not thread.is_alive()


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_every_worker_runs_every_step_in_order(threads):
    seen = []
    kernels = [lambda params, worker, step=step: seen.append(step) for step in range(3)]
    team = Team(threads, kernels)
    for _ in range(20):
        team.run()
    team.stop()
    assert seen == [step for _ in range(20) for step in range(3) for _ in range(threads)]


def test_ranges_are_whole_again_in_each_step():
    values = []

    def kernel(params, worker):
        index = (worker - team.workers.ctypes.data) // WORKER.itemsize
        values.append(int(team.workers["taken"][index]))
        team.workers["taken"][index] += 7

    team = Team(3, [kernel, kernel])
    team.run()
    team.run()
    team.stop()
    assert values == [0] * 12


@pytest.mark.parametrize(("threads", "tiles"), [(1, 5), (2, 0), (2, 1), (2, 9), (3, 2), (3, 100), (4, 7)])
def test_every_tile_is_claimed_once_and_own_ones_first(threads, tiles):
    workers = np.zeros(threads, WORKER)
    workers["index"], workers["threads"] = np.arange(threads), threads
    claimed = []
    for turn in range(tiles + threads):
        index = turn % threads if turn < threads else 0
        tile = claim_tile(workers.ctypes.data + index * WORKER.itemsize, tiles)
        claimed.append(tile)
        if turn < threads <= tiles:
            assert tile == tiles * index // threads
    assert sorted(claimed)[:tiles] == list(range(tiles))
    assert all(tile >= tiles for tile in claimed[tiles:])
    if threads > 1 and tiles >= threads:
        assert claimed[threads:tiles][: tiles // threads - 1] == list(range(1, tiles // threads))


def test_idle_workers_use_no_processor_time():
    team = Team(3, [lambda params, worker: None])
    team.run()
    time.sleep(0.1)
    before = time.process_time()
    time.sleep(0.3)
    assert time.process_time() - before < 0.03
    team.stop()


def test_whoever_waits_for_a_late_worker_lets_others_run_before_it_sleeps():
    seen = []

    def kernel(params, worker):
        if worker != team.workers.ctypes.data:
            time.sleep(0.015)
            seen.append(int(team.team["sleepers"][0]))
            time.sleep(late)

    late, team = 0.0, Team(2, [kernel], spins=100_000)
    for _ in range(5):
        team.run()
    team.stop()
    # Spinning alone takes less than the worker is late; a busy machine may make it later than anybody waits.
    assert 0 in seen
    # In the end it sleeps, and is woken.
    seen, late, team = [], 0.02, Team(2, [kernel], spins=0)
    team.run()
    team.stop()
    assert seen == [1]


def test_more_workers_than_processors_finish():
    count = []
    team = Team(4 * (os.cpu_count() or 1), [lambda params, worker: count.append(1)] * 5)
    for _ in range(10):
        team.run()
    team.stop()
    assert len(count) == 10 * 5 * 4 * (os.cpu_count() or 1)


@pytest.mark.parametrize("level", available_levels())
def test_tape_runs_at_every_level(level):
    seen = []
    team = Team(2, [lambda params, worker: seen.append(1)], level=level)
    team.run()
    team.stop()
    assert len(seen) == 2
