"""Sessions: results, new shapes, errors, many threads, memory, ends."""

from __future__ import annotations

import gc
import multiprocessing
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import edgeinfer.runtime.session as session_module
from edgeinfer.errors import InputError
from edgeinfer.ops import run_graph
from edgeinfer.plan.planner import make_plan
from edgeinfer.runtime.session import RECENT_PLANS, Session


def picture(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def worker_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("edgeinfer-worker")]


@pytest.fixture
def graph(make_conv_graph):
    return make_conv_graph()


def expected(graph, x):
    return run_graph(graph, {"x": x})["y"]


def test_ports_show_symbolic_dimensions(graph):
    with Session(graph) as session:
        (port,) = session.inputs
        assert (port.name, port.dtype.value, port.shape) == ("x", "float32", ("n", 4, "h", "w"))
        assert [port.name for port in session.outputs] == ["y"]


def test_new_shapes_are_planned_and_recent_plans_kept(graph):
    with Session(graph, threads=2) as session:
        for size in range(5, 5 + RECENT_PLANS + 3):
            x = picture(1, 4, size, 7)
            np.testing.assert_allclose(session(x), expected(graph, x), atol=1e-5)
        assert len(session._executors) == RECENT_PLANS
        newest = list(session._executors.values())[-1]
        session(x)
        assert list(session._executors.values())[-1] is newest


def test_runs_follow_the_plan_that_was_asked_for(graph, monkeypatch):
    planned = []

    def count_plans(*args):
        planned.append(make_plan(*args))
        return planned[-1]

    monkeypatch.setattr(session_module, "make_plan", count_plans)
    x = picture(1, 4, 9, 7)
    with Session(graph) as session:
        plan = session.plan({"x": x.shape})
        assert session.plan({"x": x.shape}) is plan
        np.testing.assert_allclose(session(x), expected(graph, x), atol=1e-5)
        assert session.plan({"x": list(x.shape)}) is plan
        assert planned == [plan]
        for width in range(10, 10 + RECENT_PLANS + 3):
            session.plan({"x": (1, 4, 9, width)})
        x = picture(1, 4, 9, 10)
        np.testing.assert_allclose(session(x), expected(graph, x), atol=1e-5)
        assert len(planned) == 1 + RECENT_PLANS + 3 + 1
        with pytest.raises(InputError, match="there is no input 'z'"):
            session.plan({"x": x.shape, "z": (1,)})
    with pytest.raises(InputError, match="the session is closed"):
        session.plan({"x": x.shape})


def test_results_do_not_depend_on_the_number_of_threads(graph):
    x = picture(2, 4, 33, 29)
    results = []
    for threads in (1, 2, 7):
        with Session(graph, threads=threads) as session:
            results.append(session(x))
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_inputs_need_not_be_contiguous(graph):
    x = picture(1, 8, 9, 10)[:, ::2]
    with Session(graph, threads=1) as session:
        np.testing.assert_allclose(session(x), expected(graph, x), atol=1e-5)


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({"z": picture(1, 4, 5, 5)}, r"missing \['x'\]; there is no \['z'\]"),
        ({"x": np.zeros((1, 4, 5, 5))}, r"'x' must be float32, got float64: convert it"),
        ({"x": picture(4, 5, 5)}, r"must have rank 4 .* got rank 3"),
        ({"x": picture(1, 3, 5, 5)}, r"must have size 4 on axis 1"),
    ],
)
def test_wrong_input_is_named(graph, feeds, message):
    with Session(graph, threads=1) as session, pytest.raises(InputError, match=message):
        session.run(feeds)


def test_wrong_number_of_arrays(graph):
    with Session(graph, threads=1) as session, pytest.raises(InputError, match="takes 1 inputs"):
        session(picture(1, 4, 5, 5), picture(1, 4, 5, 5))


def test_closed_session_and_binding_refuse_to_run(graph):
    x, y = picture(1, 4, 5, 5), np.empty((1, 4, 5, 5), np.float32)
    with Session(graph, threads=2) as session:
        bound = session.bind({"x": x, "y": y})
        bound.run()
    for call in (bound.run, lambda: session(x)):
        with pytest.raises(InputError, match="closed"):
            call()


def test_close_ends_the_workers(graph):
    before = len(worker_threads())
    session = Session(graph, threads=3)
    session(picture(1, 4, 5, 5))
    assert len(worker_threads()) == before + 2
    session.close()
    session.close()
    assert len(worker_threads()) == before


def test_forgotten_session_ends_its_workers(graph):
    before = len(worker_threads())
    session = Session(graph, threads=3)
    session(picture(1, 4, 5, 5))
    del session
    gc.collect()
    assert len(worker_threads()) == before


def test_idle_session_uses_no_processor_time(graph):
    with Session(graph, threads=2) as session:
        session(picture(1, 4, 64, 64))
        time.sleep(0.05)
        start = time.process_time()
        time.sleep(0.3)
        assert time.process_time() - start < 0.03


def test_bound_arrays_are_read_and_written_in_place(graph):
    x, y = picture(1, 4, 9, 9), np.zeros((1, 4, 9, 9), np.float32)
    with Session(graph, threads=2) as session:
        bound = session.bind({"x": x, "y": y})
        for seed in range(3):
            x[...] = picture(1, 4, 9, 9, seed=seed)
            bound.run()
            np.testing.assert_allclose(y, expected(graph, x), atol=1e-5)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": picture(1, 4, 5, 5)}, r"missing \['y'\]"),
        ({"x": picture(1, 4, 5, 5), "y": picture(1, 4, 5, 6)}, r"output 'y' must be float32\[1, 4, 5, 5\]"),
        ({"x": picture(1, 8, 5, 5)[:, ::2], "y": picture(1, 4, 5, 5)}, "not C-contiguous"),
        ({"x": picture(1, 4, 5, 5), "y": np.broadcast_to(np.float32(0), (1, 4, 5, 5))}, "not C-contiguous|read-only"),
        ({"x": picture(1, 4, 5, 5), "y": [1.0]}, "'y' must be a NumPy array to be bound, got list"),
        (dict.fromkeys(("x", "y"), picture(1, 4, 5, 5)), "output 'y' shares memory with 'x'"),
    ],
)
def test_wrong_binding_is_named(graph, arrays, message):
    with Session(graph, threads=1) as session, pytest.raises(InputError, match=message):
        session.bind(arrays)


def test_planning_waits_for_the_run_that_reads_the_weights(graph):
    with Session(graph, threads=1) as session:
        planner = threading.Thread(target=session.plan, args=({"x": (1, 4, 7, 7)},))
        with session._lock:
            planner.start()
            planner.join(0.5)
            assert planner.is_alive()
        planner.join()


def test_runs_allocate_nothing_but_their_outputs(graph):
    x, y = picture(1, 4, 64, 64), np.empty((1, 4, 64, 64), np.float32)
    with Session(graph, threads=2) as session:
        bound = session.bind({"x": x, "y": y})
        for _ in range(10):
            bound.run()
        tracemalloc.start()
        start, _ = tracemalloc.get_traced_memory()
        for _ in range(50):
            bound.run()
        end, peak = tracemalloc.get_traced_memory()
        assert end - start < 2_000
        assert peak - start < y.nbytes // 2
        for _ in range(5):
            result = session(x)
        tracemalloc.reset_peak()
        held, _ = tracemalloc.get_traced_memory()
        result = session(x)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak - held < result.nbytes + 8_000


def test_one_session_serves_many_threads(graph):
    inputs = [picture(1, 4, 20 + seed % 3, 21, seed=seed) for seed in range(24)]
    wanted = [expected(graph, x) for x in inputs]
    with Session(graph, threads=2) as session, ThreadPoolExecutor(6) as pool:
        for _ in range(5):
            for result, want in zip(pool.map(session, inputs), wanted, strict=True):
                np.testing.assert_allclose(result, want, atol=1e-5)


def test_two_sessions_at_once(graph):
    x = picture(1, 4, 40, 40)
    want = expected(graph, x)
    with Session(graph, threads=2) as one, Session(graph, threads=2) as other, ThreadPoolExecutor(2) as pool:
        for _ in range(20):
            for result in pool.map(lambda session: session(x), (one, other)):
                np.testing.assert_allclose(result, want, atol=1e-5)


def test_more_threads_than_processors(graph):
    x = picture(1, 4, 65, 40)
    with Session(graph, threads=16) as session:
        for _ in range(5):
            np.testing.assert_allclose(session(x), expected(graph, x), atol=1e-5)


def run_in_child(session: Session, x: np.ndarray, pipe) -> None:
    pipe.send(session(x))
    pipe.close()


def test_session_works_after_fork(graph):
    x = picture(1, 4, 12, 12)
    with Session(graph, threads=2) as session:
        want = session(x)
        context = multiprocessing.get_context("fork")
        ours, theirs = context.Pipe()
        child = context.Process(target=run_in_child, args=(session, x, theirs))
        child.start()
        assert ours.poll(30)
        np.testing.assert_array_equal(ours.recv(), want)
        child.join(10)
        assert child.exitcode == 0
        np.testing.assert_array_equal(session(x), want)


def test_profiles_and_runs_follow_each_other(graph):
    x = picture(1, 4, 32, 32)
    want = expected(graph, x)
    for _ in range(30):
        with Session(graph, threads=2) as session:
            for _ in range(10):
                assert len(session.profile({"x": x})) == 3
                np.testing.assert_allclose(session(x), want, atol=1e-5)


def test_profile_names_every_step(graph):
    with Session(graph, threads=1) as session:
        times = session.profile({"x": picture(1, 4, 32, 32)})
    assert [time.op for time in times] == ["Transpose", "Conv", "Transpose"]
    assert all(time.seconds > 0 and time.kernel for time in times)
    assert times[1].macs == 32 * 32 * 4 * 4 * 9
