"""Workers of unequal speed, sessions that compete, more workers than processors."""

from __future__ import annotations

import ctypes
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from edgeinfer.abi import STEP, WORKER
from edgeinfer.runtime.kernel_loader import host_kernels
from edgeinfer.runtime.session import Session
from edgeinfer.runtime.workers import WorkerTeam

KERNEL = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)
# How many times longer competing runs may take than a run alone; workers that spin for each other take a hundred times.
COLLAPSE = 20


def record_at(address: int, dtype: np.dtype) -> np.void:
    buffer = (ctypes.c_char * dtype.itemsize).from_address(address)
    return np.frombuffer(buffer, dtype)[0]


def picture(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def fastest(run, count: int = 5) -> float:
    times = []
    for _ in range(count):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def test_a_slow_worker_takes_fewer_tiles():
    """A kernel in Python, whose tiles take the second worker five times as long."""
    tiles, seconds = 60, (0.002, 0.010)
    lock, claimed = threading.Lock(), ([], [])

    def kernel(params: int, address: int) -> None:
        worker = record_at(address, WORKER)
        index = int(worker["index"])
        ranges = [record_at(address + (owner - index) * WORKER.itemsize, WORKER) for owner in (index, 1 - index)]
        while True:
            with lock:
                owner = ranges[0] if ranges[0]["taken"] < tiles // 2 else ranges[1]
                tile = int(owner["index"]) * (tiles // 2) + int(owner["taken"])
                if owner["taken"] == tiles // 2:
                    return
                owner["taken"] += 1
            claimed[index].append(tile)
            time.sleep(seconds[index])

    function = KERNEL(kernel)
    table = np.zeros(2, STEP)
    table["kernel"] = ctypes.cast(function, ctypes.c_void_p).value
    kernels = host_kernels()
    team = WorkerTeam(2, kernels.entry("run_tape"), kernels.entry("worker_loop"))
    start = time.perf_counter()
    team.run(table.ctypes.data, 0, 2, 0, 0, 0)
    elapsed = time.perf_counter() - start
    team.close()
    # Two steps, each with all tiles, each tile done once.
    assert sorted(claimed[0] + claimed[1]) == sorted(list(range(tiles)) * 2)
    assert 1 <= len(claimed[1]) < len(claimed[0]) / 2
    # Cut into halves beforehand, the slow worker alone would need this long.
    assert elapsed < 2 * tiles / 2 * seconds[1]


def test_results_are_right_if_one_worker_is_late_at_every_step(make_conv_graph):
    x = picture(1, 4, 65, 40)
    graph = make_conv_graph()
    with Session(graph, threads=2) as session:
        wanted = session(x)
    for late in (0, 1):
        with Session(graph, threads=2) as session:
            session(x)
            (executor,) = session._executors.values()
            wrappers = []
            for row in executor._table:
                real = KERNEL(int(row["kernel"]))

                def delayed(params: int, address: int, real=real, late=late) -> None:
                    if record_at(address, WORKER)["index"] == late:
                        time.sleep(0.01)
                    real(params, address)

                wrappers.append(KERNEL(delayed))
                row["kernel"] = ctypes.cast(wrappers[-1], ctypes.c_void_p).value
            for _ in range(3):
                np.testing.assert_array_equal(session(x), wanted)


def test_more_workers_than_processors_neither_collapse_nor_spin(make_conv_graph):
    x = picture(1, 4, 512, 512)
    graph = make_conv_graph()
    with Session(graph, threads=1) as session:
        session(x)
        alone = fastest(lambda: session(x))
    with Session(graph, threads=16) as session:
        session(x)
        assert fastest(lambda: session(x)) < COLLAPSE * alone
        time.sleep(0.05)
        start = time.process_time()
        time.sleep(0.3)
        assert time.process_time() - start < 0.03


def test_two_sessions_at_once_do_not_hold_each_other_up(make_conv_graph):
    x = picture(1, 4, 512, 512)
    graph = make_conv_graph()
    with Session(graph, threads=2) as one, Session(graph, threads=2) as other, ThreadPoolExecutor(2) as pool:
        one(x), other(x)
        alone = fastest(lambda: one(x))
        assert fastest(lambda: list(pool.map(lambda session: session(x), (one, other)))) < COLLAPSE * alone
        time.sleep(0.05)
        start = time.process_time()
        time.sleep(0.3)
        assert time.process_time() - start < 0.03
