"""From graphs and shapes to steps: views, host steps with reasons, errors, layout."""

from __future__ import annotations

import numpy as np
import pytest

from edgeinfer.errors import InputError, ShapeError
from edgeinfer.graph import FUSED, DType, Graph, Node, TensorType
from edgeinfer.ops import run_graph
from edgeinfer.plan.kernel_set import KernelSet
from edgeinfer.plan.planner import make_plan
from edgeinfer.plan.prepare import prepare
from edgeinfer.plan.verify_arena import verify_arena
from edgeinfer.runtime.kernel_loader import host_kernels
from edgeinfer.runtime.session import Session


def graph_of(nodes: list[Node], outputs: list[str], **inputs: tuple[int | str, ...]) -> Graph:
    types = {name: TensorType(DType.FLOAT32, shape) for name, shape in inputs.items()}
    return Graph("test", list(inputs), outputs, nodes, types)


def plan_of(graph: Graph, **shapes: tuple[int, ...]):
    plan = make_plan(prepare(graph), shapes, host_kernels().kernel_set, 2)
    verify_arena(plan)
    return plan


def test_reshapes_move_no_data():
    graph = graph_of([Node("Relu", ["x"], ["a"]), Node("Flatten", ["a"], ["y"])], ["y"], x=("n", 3, 4))
    plan = plan_of(graph, x=(2, 3, 4))
    assert [step.call.op for step in plan.native_steps()] == ["Relu"]
    assert plan.tensors["a"].base == plan.tensors["y"].base
    x = np.random.default_rng(0).standard_normal((2, 3, 4), np.float32)
    with Session(graph, threads=1) as session:
        np.testing.assert_array_equal(session(x), np.maximum(x, 0).reshape(2, 12))


def test_output_that_is_an_input_is_copied():
    graph = graph_of([Node("Relu", ["x"], ["y"]), Node("Identity", ["y"], ["z"])], ["x", "y", "z"], x=("n",))
    x = np.array([-1, 2], np.float32)
    with Session(graph, threads=1) as session:
        outputs = session(x)
    np.testing.assert_array_equal(outputs[0], x)
    assert not np.shares_memory(outputs[0], x)
    np.testing.assert_array_equal(outputs[2], [0, 2])
    assert not np.shares_memory(outputs[1], outputs[2])


def test_what_has_no_kernel_is_a_host_step_with_its_reason():
    graph = graph_of(
        [Node("Relu", ["x"], ["a"]), Node("Det", ["a"], ["y"]), Node("Exp", ["y"], ["z"])], ["z"], x=(2, 2)
    )
    graph.nodes[1] = Node("Acosh", ["a"], ["y"], {}, "hyperbolic")
    plan = plan_of(graph, x=(2, 2))
    (step,) = plan.host_steps()
    assert step.node.name == "hyperbolic"
    assert "Acosh" in step.reason
    x = np.array([[2, 3], [4, 5]], np.float32)
    with Session(graph, threads=2) as session:
        np.testing.assert_allclose(session(x), np.exp(np.arccosh(x)), rtol=1e-5)


def test_without_kernels_everything_runs_from_references():
    graph = graph_of([Node("Relu", ["x"], ["a"]), Node("Exp", ["a"], ["y"])], ["y"], x=(4,))
    plan = make_plan(prepare(graph), {"x": (4,)}, KernelSet("none", 1, []), 1)
    assert [step.reason for step in plan.host_steps()] == ["there are no kernels"] * 2


def test_two_sizes_for_one_dimension_are_refused():
    graph = graph_of([Node("Add", ["a", "b"], ["y"])], ["y"], a=("n", 3), b=("n", 3))
    with pytest.raises(InputError, match="dimension 'n' is already 4 by input 'a'"):
        plan_of(graph, a=(4, 3), b=(5, 3))


def test_shapes_that_do_not_fit_name_the_node():
    graph = graph_of([Node("Add", ["a", "b"], ["y"], {}, "sum")], ["y"], a=("n",), b=("m",))
    with pytest.raises(ShapeError, match="sum"):
        plan_of(graph, a=(4,), b=(5,))


@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (2, 3, 9, 7), (1, 3, 1, 1)])
def test_channels_last_layout_keeps_the_results(shape):
    random = np.random.default_rng(0)
    graph = graph_of(
        [
            Node("Conv", ["x", "w"], ["c"], {"pads": [1] * 4}, "conv", FUSED),
            Node("Sigmoid", ["c"], ["s"]),
            Node("Mul", ["c", "s"], ["m"]),
            Node("MaxPool", ["m"], ["p"], {"kernel_shape": [3, 3], "pads": [1] * 4, "strides": [2, 2]}),
            Node("ReduceMean", ["p", "axes"], ["r"], {"keepdims": 1}),
            Node("Mul", ["p", "r"], ["q"]),
            Node("Concat", ["p", "q"], ["t"], {"axis": 1}),
            Node("Transpose", ["t"], ["y"], {"perm": [0, 2, 3, 1]}),
        ],
        ["y", "q"],
        x=("n", 3, "h", "w"),
    )
    graph.add_constant("w", random.standard_normal((5, 3, 3, 3), np.float32))
    graph.add_constant("axes", np.array([2, 3]))
    x = random.standard_normal(shape, np.float32)
    plan = plan_of(graph, x=shape)
    assert plan.host_steps() == []
    with Session(graph, threads=2) as session:
        results = session.run({"x": x})
    for name, wanted in run_graph(graph, {"x": x}).items():
        np.testing.assert_allclose(results[name], wanted, rtol=1e-6, atol=1e-5)


def test_plans_of_one_model_share_packed_weights():
    random = np.random.default_rng(0)
    graph = graph_of([Node("Conv", ["x", "w"], ["y"], {}, "conv", FUSED)], ["y"], x=(1, 8, "h", "w"))
    graph.add_constant("w", random.standard_normal((32, 8, 5, 5), np.float32))
    with Session(graph, threads=1) as session:
        session(random.standard_normal((1, 8, 38, 38), np.float32))
        size = session._weights.data.nbytes
        session(random.standard_normal((1, 8, 44, 38), np.float32))
        assert session._weights.data.nbytes == size
