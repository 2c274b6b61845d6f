"""The tape runner: all workers run all steps, in order, and idle workers sleep."""

from __future__ import annotations

import ctypes
import os
import platform
import threading
import time

import numpy as np
import pytest

from edgeinfer.abi import STEP, TEAM, WORKER
from edgeinfer.codegen.cache import KernelLibrary
from edgeinfer.runtime.cpu import available_levels, cpu_level

FUTEX_CALL = {"x86_64": 202, "aarch64": 98}[platform.machine()]


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


def test_counter_starts_at_zero_in_each_step():
    values = []
    team = Team(1, [])
    counter = team.team["counter"]

    def kernel(params, worker):
        values.append(int(counter[0]))
        counter[0] += 7

    team = Team.__new__(Team)
    team.__init__(2, [kernel, kernel])
    counter = team.team["counter"]
    team.run()
    team.stop()
    assert sorted(values)[:2] == [0, 0]
    assert set(values) <= {0, 7}


def test_idle_workers_use_no_processor_time():
    team = Team(3, [lambda params, worker: None])
    team.run()
    time.sleep(0.1)
    before = time.process_time()
    time.sleep(0.3)
    assert time.process_time() - before < 0.03
    team.stop()


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


def test_a_slow_worker_gets_fewer_tiles():
    """Workers claim tiles one by one: one that is ten times slower takes few, and nobody waits long for it."""
    tiles, lock = 60, threading.Lock()
    team, done = None, [0, 0]

    def kernel(params, worker):
        index = (worker - team.workers.ctypes.data) // WORKER.itemsize
        while True:
            with lock:
                tile = int(team.team["counter"][0])
                team.team["counter"] += 1
            if tile >= tiles:
                return
            done[index] += 1
            time.sleep(0.02 if index == 1 else 0.002)

    team = Team(2, [kernel])
    team.run()
    team.stop()
    assert sum(done) == tiles
    assert 0 < done[1] < done[0] / 3
