"""Parts of tensors whose elements are neighbours in memory are not copied, and nothing is computed in their place."""

from __future__ import annotations

import numpy as np
import pytest

from edgeinfer.graph import DType, Graph, Node, TensorType
from edgeinfer.ops import run_graph
from edgeinfer.plan.verify_arena import verify_arena
from edgeinfer.runtime.session import Session

SHAPE = (1, 96)


def graph_of(*nodes: Node, outputs: tuple[str, ...] = ("y",), shape: tuple[int, ...] = SHAPE) -> Graph:
    """``s = Sigmoid(x)``, then the nodes."""
    graph = Graph("parts", ["x"], list(outputs), [], {"x": TensorType(DType.FLOAT32, shape)})
    graph.add_constant("sizes", np.array([32, 5, 59]))
    graph.add_constant("from", np.array([7]))
    graph.add_constant("to", np.array([90]))
    graph.add_constant("axis", np.array([len(shape) - 1]))
    graph.nodes = [Node("Sigmoid", ["x"], ["s"], name="s"), *nodes]
    return graph


def families_of(graph: Graph) -> list[str]:
    """Families of the steps of a session whose results equal the reference's, twice."""
    shape = graph.types["x"].shape
    feeds = {"x": np.random.default_rng(3).standard_normal(shape, np.float32)}
    expected = run_graph(graph, feeds)
    with Session(graph, threads=2) as session:
        plan = session.plan({"x": shape})
        verify_arena(plan)
        for _ in range(2):
            results = session.run(feeds)
            for name, wanted in expected.items():
                np.testing.assert_allclose(results[name], wanted, rtol=1e-5, atol=1e-6)
    return [step.call.kernel.family for step in plan.native_steps()]


def split(source: str = "s") -> Node:
    return Node("Split", [source, "sizes"], ["a", "b", "c"], {"axis": 1}, "split")


def test_splits_of_vectors_are_no_steps():
    nodes = [split(), Node("Concat", ["c", "a", "b"], ["y"], {"axis": 1}, "joined")]
    assert families_of(graph_of(*nodes)) == ["f32_unary", "x32_copy", "x32_copy", "x32_copy"]


def test_slices_of_slices_are_no_steps():
    nodes = [
        Node("Slice", ["s", "from", "to", "axis"], ["a"], {}, "outer"),
        Node("Slice", ["a", "from", "to", "axis"], ["b"], {}, "inner"),
        Node("Neg", ["b"], ["y"], {}, "negated"),
    ]
    assert families_of(graph_of(*nodes)) == ["f32_unary", "f32_unary"]


def test_slices_with_gaps_between_their_elements_are_copied():
    nodes = [
        Node("Slice", ["s", "from", "to", "axis"], ["a"], {}, "columns"),
        Node("Neg", ["a"], ["y"], {}, "negated"),
    ]
    assert "x32_copy" in families_of(graph_of(*nodes, shape=(4, 96)))


def test_nothing_is_computed_in_the_place_of_a_part():
    nodes = [split(), Node("Neg", ["c"], ["n"], {}, "negated"), Node("Abs", ["n"], ["y"], {}, "positive")]
    graph = graph_of(*nodes)
    families_of(graph)
    with Session(graph, threads=1) as session:
        plan = session.plan({"x": SHAPE})
    assert plan.tensors["n"].offset != plan.tensors["s"].offset
    assert plan.tensors["c"].offset == plan.tensors["s"].offset + 37 * 4


@pytest.mark.parametrize("source", ["s", "x"])
def test_outputs_that_are_parts_are_copied(source):
    families = families_of(graph_of(split(source), outputs=("a", "c", "s")))
    assert families.count("x32_copy") == 2


def test_a_part_of_an_input_is_read_where_it_is():
    nodes = [split("x"), Node("Neg", ["b"], ["y"], {}, "negated")]
    assert families_of(graph_of(*nodes)) == ["f32_unary"]
