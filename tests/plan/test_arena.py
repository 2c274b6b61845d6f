"""The arena: no two live buffers overlap, little is wasted, and the verifier sees forged plans."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeinfer.errors import PlanError
from edgeinfer.graph import DType, Graph, Node, TensorType
from edgeinfer.plan.arena import plan_arena
from edgeinfer.plan.lifetimes import Buffer, assign_buffers
from edgeinfer.plan.memory import align
from edgeinfer.plan.planner import make_plan
from edgeinfer.plan.prepare import prepare
from edgeinfer.plan.step import HostStep
from edgeinfer.plan.verify_arena import verify_arena
from edgeinfer.runtime.kernel_loader import host_kernels

lifetimes = st.tuples(st.integers(0, 20), st.integers(0, 8), st.integers(1, 5000))


@settings(max_examples=300, deadline=None)
@given(st.lists(lifetimes, max_size=30))
def test_buffers_alive_together_never_overlap(items):
    buffers = [Buffer([str(i)], size, first, first + length) for i, (first, length, size) in enumerate(items)]
    arena = plan_arena(buffers)
    placed = list(zip(buffers, arena.offsets, strict=True))
    for index, (one, at) in enumerate(placed):
        assert at % 64 == 0
        assert at + one.size <= arena.size
        for other, start in placed[:index]:
            together = one.first <= other.last and other.first <= one.last
            assert not together or at + one.size <= start or start + other.size <= at
    steps = range(30)
    live = [sum(align(b.size) for b in buffers if b.first <= step <= b.last) for step in steps]
    assert arena.lower_bound == max(live)
    assert arena.lower_bound <= arena.size <= sum(align(b.size) for b in buffers)


def test_a_chain_needs_two_buffers_only():
    buffers = [Buffer([str(i)], 640, i, i + 1) for i in range(10)]
    assert plan_arena(buffers).size == 2 * 640


def host(reads: tuple[str, ...], writes: tuple[str, ...]) -> HostStep:
    return HostStep(Node("Any", list(reads), list(writes)), "test", reads, writes)


def test_host_steps_are_never_computed_in_place():
    steps = [host(("x",), ("a",)), host(("a",), ("b",)), host(("b",), ("y",))]
    buffers = assign_buffers(steps, {"a": 8, "b": 8}, lambda name: name, {"x", "y"})
    assert [(b.tensors, b.first, b.last) for b in buffers] == [(["a"], 0, 1), (["b"], 1, 2)]


def chain(length: int) -> Graph:
    """Sigmoids, each of which may be computed in place, and a sum of the first and the last."""
    known = TensorType(DType.FLOAT32, ("n", 64))
    graph = Graph("chain", ["x"], ["y"], [], {"x": known})
    for i in range(length):
        graph.nodes.append(Node("Sigmoid", [f"t{i}" if i else "x"], [f"t{i + 1}"], {}, f"s{i}"))
    graph.nodes.append(Node("Add", ["t1", f"t{length}"], ["y"], {}, "sum"))
    return graph


@pytest.fixture
def plan():
    return make_plan(prepare(chain(5)), {"x": (3, 64)}, host_kernels().kernel_set, 2)


def test_chain_is_computed_in_place(plan):
    verify_arena(plan)
    assert plan.activation_bytes == plan.lower_bound == 2 * align(3 * 64 * 4)


def test_verifier_sees_overlapping_tensors(plan):
    owners = plan.arena_tensors()
    first, last = owners["t1"], owners["t5"]
    assert first.offset != last.offset
    plan.tensors["t1"] = first._replace(offset=last.offset)
    with pytest.raises(PlanError, match=r"'t1' and '\w+' share bytes|'\w+' and 't1' share bytes"):
        verify_arena(plan)


def test_verifier_sees_tensors_outside_the_arena(plan):
    last = plan.tensors["t5"]
    plan.tensors["t5"] = last._replace(offset=align(plan.activation_bytes))
    with pytest.raises(PlanError, match="beyond the arena"):
        verify_arena(plan)


def test_verifier_sees_misaligned_tensors(plan):
    plan.tensors["t1"] = plan.tensors["t1"]._replace(offset=plan.tensors["t1"].offset + 4)
    with pytest.raises(PlanError, match="not on a multiple of 64"):
        verify_arena(plan)


def test_params_hold_the_places_of_tensors(plan):
    step = next(plan.native_steps())
    reference = int(step.params["y"])
    name = step.call.writes[0]
    assert reference == plan.tensors[name].ref
    assert isinstance(np.asarray(step.params).tobytes(), bytes)
