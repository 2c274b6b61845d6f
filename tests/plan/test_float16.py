"""Plans with float16 tensors between steps: casts at the borders alone, float32 where there is no float16 kernel."""

from __future__ import annotations

import functools
import importlib.util

import numpy as np
import pytest

from edgeinfer.errors import PlanError
from edgeinfer.graph import FUSED, DType, Graph, Node, TensorType
from edgeinfer.plan.kernel_set import KernelRow, KernelSet, check_precision
from edgeinfer.plan.plan import Plan
from edgeinfer.plan.planner import make_plan
from edgeinfer.plan.verify_arena import verify_arena
from edgeinfer.runtime.cpu import available_levels
from edgeinfer.runtime.kernel_loader import host_kernels, kernels_for


@functools.cache
def float16_kernels() -> KernelSet:
    """The kernels of a level with float16, known of without being run."""
    if "dotprod" in available_levels():
        return kernels_for("dotprod").kernel_set
    if importlib.util.find_spec("numba") is None:
        pytest.skip("listing the kernels of another CPU takes Numba")
    from edgeinfer.codegen.pack import list_kernels
    from edgeinfer.codegen.targets import find_target

    target = find_target("aarch64+dotprod")
    rows = [KernelRow.from_json(row) for row in list_kernels(target)]
    return KernelSet(target.level.name, target.level.lanes, rows)


def graph_of(nodes: list[Node], outputs: list[str], channels: int = 16) -> Graph:
    """Nodes over a picture ``x`` of float32, with weights ``w`` of a pointwise convolution."""
    graph = Graph("test", ["x"], outputs, nodes)
    graph.types["x"] = TensorType(DType.FLOAT32, (1, 6, 5, channels))
    graph.add_constant("w", np.ones((channels, channels, 1, 1), np.float32))
    return graph


def conv(x: str, y: str, *more: str) -> Node:
    return Node("Conv", [x, "w", *more], [y], {"layout": "NHWC"}, f"conv_{y}", FUSED)


def plan_of(graph: Graph) -> Plan:
    plan = make_plan(graph, {"x": (1, 6, 5, 16)}, float16_kernels(), 2, precision="float16")
    verify_arena(plan)
    return plan


def families(plan: Plan) -> list[str]:
    return [step.call.kernel.family for step in plan.native_steps()]


def test_casts_stand_at_the_borders_alone():
    nodes = [
        conv("x", "a"), Node("Relu", ["a"], ["b"]), conv("b", "c", "", "b"),
        Node("Add", ["b", "c"], ["d"]), Node("GlobalAveragePool", ["d"], ["e"], {"layout": "NHWC"}, "pool", FUSED),
        Node("Flatten", ["e"], ["y"]),
    ]  # fmt: skip
    plan = plan_of(graph_of(nodes, ["y"]))
    assert families(plan) == [
        "f32_f16_cast", "f16_conv", "f16_unary", "f16_conv", "f16_binary", "f16_reduce", "f16_f32_cast",
    ]  # fmt: skip
    assert plan.tensors["y"].type.dtype is DType.FLOAT32
    assert plan.host_steps() == []


def test_float16_halves_the_arena():
    nodes = [conv("x", "a"), conv("a", "b"), conv("b", "c"), conv("c", "y")]
    graph = graph_of(nodes, ["y"])
    single = make_plan(graph, {"x": (1, 6, 5, 16)}, float16_kernels(), 1)
    half = make_plan(graph, {"x": (1, 6, 5, 16)}, float16_kernels(), 1, precision="float16")
    assert half.activation_bytes == single.activation_bytes // 2
    assert len(half.weights.data) < len(single.weights.data)


def test_what_has_no_float16_kernel_gets_float32_around_it():
    nodes = [conv("x", "a"), Node("Softmax", ["a"], ["b"], {"axis": 3}), conv("b", "y")]
    plan = plan_of(graph_of(nodes, ["y"]))
    assert families(plan) == [
        "f32_f16_cast", "f16_conv", "f16_f32_cast", "f32_softmax", "f32_f16_cast", "f16_conv", "f16_f32_cast",
    ]  # fmt: skip


def test_host_steps_read_and_write_float32():
    nodes = [conv("x", "a"), Node("Acosh", ["a"], ["b"], {}, "host"), conv("b", "y")]
    plan = plan_of(graph_of(nodes, ["y"]))
    assert [step.node.inputs for step in plan.host_steps()] == [["a"]]
    assert {plan.tensors[name].type.dtype for name in ("a", "b")} == {DType.FLOAT32}


def test_element_wise_operators_follow_their_inputs():
    nodes = [Node("Relu", ["x"], ["a"]), conv("a", "b"), Node("Relu", ["b"], ["c"]), Node("Exp", ["c"], ["y"])]
    plan = plan_of(graph_of(nodes, ["y"]))
    assert families(plan) == ["f32_unary", "f32_f16_cast", "f16_conv", "f16_unary", "f16_f32_cast", "f32_unary"]


def test_values_in_both_formats_are_cast_once():
    nodes = [
        conv("x", "a"), conv("x", "b"), Node("Exp", ["a"], ["c"]), Node("Log", ["a"], ["d"]),
        Node("Add", ["a", "b"], ["y"]),
    ]  # fmt: skip
    found = families(plan_of(graph_of(nodes, ["c", "d", "y"])))
    assert found.count("f32_f16_cast") == 1
    assert found.count("f16_f32_cast") == 2


def test_weights_computed_at_run_time_fall_back_to_float32():
    graph = graph_of([conv("x", "a"), Node("Reshape", ["a", "shape"], ["m"]), Node("MatMul", ["m", "m"], ["y"])], ["y"])
    graph.types["x"] = TensorType(DType.FLOAT32, (1, 4, 4, 16))
    graph.add_constant("shape", np.array([16, 16]))
    plan = make_plan(graph, {"x": (1, 4, 4, 16)}, float16_kernels(), 1, precision="float16")
    assert families(plan) == ["f32_f16_cast", "f16_conv", "f16_f32_cast", "f32_matmul"]


def test_levels_without_float16_arithmetic_name_those_that_have_it():
    kernels = host_kernels().kernel_set
    if kernels.level in ("dotprod", "i8mm"):
        assert check_precision("float16", kernels) == "float16"
        kernels = KernelSet("neon", 4, [])
    with pytest.raises(PlanError, match=r"'dotprod' and 'i8mm'; precision 'float32' works everywhere"):
        check_precision("float16", kernels)
