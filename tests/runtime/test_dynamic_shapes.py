"""Models whose shapes depend on data: planned parts, host steps, and plans for what follows."""

from __future__ import annotations

import numpy as np
import pytest

from edgeinfer.errors import DynamicShapeError, InputError
from edgeinfer.graph import DType, Graph, Node, TensorType
from edgeinfer.ops import run_graph
from edgeinfer.runtime.session import Session


@pytest.fixture
def graph() -> Graph:
    """z = Exp(Reshape(Relu(x), shape)) and s = Sigmoid(Relu(x)); ``shape`` is an input."""
    graph = Graph(
        "dynamic",
        ["x", "shape"],
        ["s", "z"],
        [
            Node("Relu", ["x"], ["a"], {}, "relu"),
            Node("Sigmoid", ["a"], ["s"], {}, "sigmoid"),
            Node("Reshape", ["a", "shape"], ["b"], {}, "reshape"),
            Node("Exp", ["b"], ["c"], {}, "exp"),
            Node("Add", ["c", "one"], ["z"], {}, "add"),
        ],
        {"x": TensorType(DType.FLOAT32, ("n", 6)), "shape": TensorType(DType.INT64, ("rank",))},
    )
    graph.add_constant("one", np.float32(1))
    return graph


def feeds(*shape: int) -> dict[str, np.ndarray]:
    x = np.random.default_rng(sum(shape)).standard_normal((4, 6), np.float32)
    return {"x": x, "shape": np.array(shape)}


def test_results_equal_the_references_for_every_shape(graph):
    with Session(graph, threads=2) as session:
        for shape in [(2, 12), (3, 8), (24,), (2, 12), (1, 1, 24)]:
            results = session.run(feeds(*shape))
            assert list(results) == ["s", "z"]
            for name, wanted in run_graph(graph, feeds(*shape)).items():
                np.testing.assert_allclose(results[name], wanted, rtol=1e-5)


def test_what_can_be_planned_runs_natively(graph):
    with Session(graph, threads=1) as session:
        times = session.profile(feeds(2, 12))
    by_op = {time.op: time for time in times}
    assert by_op["Reshape"].kernel is None
    assert "depend on data" in by_op["Reshape"].reason
    assert all(by_op[op].kernel for op in ("Relu", "Sigmoid", "Exp", "Add"))


def test_planning_ahead_names_the_node(graph):
    with Session(graph, threads=1) as session, pytest.raises(DynamicShapeError, match="reshape"):
        session.plan({"x": (4, 6), "shape": (2,)})


def test_arrays_cannot_be_bound(graph):
    with Session(graph, threads=1) as session, pytest.raises(InputError, match="depend on data: use run"):
        session.bind({**feeds(2, 12), "s": np.empty((4, 6), np.float32), "z": np.empty((2, 12), np.float32)})
