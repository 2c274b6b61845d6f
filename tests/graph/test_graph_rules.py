"""Verification, printing, indexing and copying of graphs."""

from __future__ import annotations

import numpy as np
import pytest

from edgeinfer.errors import GraphError
from edgeinfer.graph import DType, Graph, GraphView, Node, TensorType, format_graph, outer_reads, reads, verify

FLOAT = TensorType(DType.FLOAT32, (1, "h"))


def make_graph():
    graph = Graph("g", ["x"], ["z"], types={"x": FLOAT})
    graph.add_constant("c", np.ones((1,), np.float32))
    graph.nodes = [Node("Relu", ["x"], ["y"], {}, "relu"), Node("Add", ["y", "c"], ["z"], {"k": 2}, "add")]
    return graph


def body():
    return Graph("body", [], ["r"], [Node("Add", ["x", "y"], ["r"], {}, "inner")])


def test_a_graph_that_keeps_the_rules_is_accepted():
    graph = make_graph()
    graph.nodes.append(Node("If", ["c"], ["i"], {"then_branch": body()}, "if"))
    verify(graph)
    assert outer_reads(body()) == {"x", "y"}
    assert reads(graph.nodes[-1]) == {"c", "x", "y"}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda g: g.nodes.reverse(), "Add 'add' reads 'y', which nothing before it defines"),
        (lambda g: g.nodes.append(Node("Abs", ["x"], ["y"], {}, "abs")), "Abs 'abs' defines 'y' a second time"),
        (lambda g: g.nodes.append(Node("Abs", ["x"], ["c"], {}, "abs")), "Abs 'abs' defines 'c' a second time"),
        (lambda g: g.outputs.append("q"), "output 'q' is not defined by any node"),
        (lambda g: g.inputs.append("x"), "an input is listed twice"),
        (lambda g: g.inputs.append("c"), "'c' is both an input and a constant"),
        (lambda g: g.inputs.append(""), "an input or constant has an empty name"),
        (lambda g: g.types.pop("x"), "'x' has no type"),
        (lambda g: g.types.update(c=FLOAT), "constant 'c' is float32"),
        (lambda g: g.types.update(c=TensorType(DType.INT32, (1,))), "constant 'c' is float32"),
        (
            lambda g: g.nodes.insert(0, Node("If", ["c"], ["i"], {"then_branch": body()}, "if")),
            "If 'if' reads 'y', which nothing before it defines",
        ),
    ],
)
def test_a_broken_rule_is_named(damage, message):
    graph = make_graph()
    damage(graph)
    with pytest.raises(GraphError) as caught:
        verify(graph)
    assert message in str(caught.value)
    assert "graph 'g'" in str(caught.value)


def test_a_graph_is_printed_one_line_a_node():
    graph = make_graph()
    graph.nodes[1].domain = "edgeinfer"
    assert format_graph(graph).splitlines() == [
        "graph g(x: float32[1xh])",
        "  y = Relu(x)",
        "  z = edgeinfer.Add(y, c) {k=2}",
        "  return z",
    ]


def test_bodies_and_tensors_are_printed_in_short():
    graph = make_graph()
    graph.nodes[0].attributes = {"body": body(), "table": np.zeros((2, 3), np.int64)}
    assert "{body=<graph body: 1 nodes>, table=<int64[2, 3]>}" in format_graph(graph)


def test_a_view_knows_producers_and_readers():
    graph = make_graph()
    relu, addition = graph.nodes
    view = GraphView(graph)
    assert view.producer("y") is relu
    assert view.producer("x") is None
    assert view.sole_consumer("y") is addition
    assert view.sole_consumer("z") is None
    assert view.is_output("z")
    assert not view.is_output("y")


def test_an_output_or_a_value_read_twice_has_no_sole_reader():
    graph = make_graph()
    graph.outputs.append("y")
    assert GraphView(graph).sole_consumer("y") is None
    graph = make_graph()
    graph.nodes.append(Node("If", ["c"], ["i"], {"then_branch": body()}, "if"))
    assert GraphView(graph).sole_consumer("y") is None


def test_a_node_that_reads_a_value_twice_is_one_reader():
    graph = make_graph()
    graph.nodes[1].inputs = ["y", "y"]
    assert GraphView(graph).sole_consumer("y") is graph.nodes[1]


def test_a_changed_copy_leaves_the_graph_alone():
    graph = make_graph()
    before = format_graph(graph)
    copied = graph.copy()
    copied.nodes[0].inputs[0] = "q"
    copied.nodes[1].attributes["k"] = 3
    copied.outputs.clear()
    copied.types.clear()
    assert format_graph(graph) == before


def test_names_of_new_constants_are_free():
    graph = make_graph()
    assert graph.add_constant("y", np.zeros(1, np.float32)) == "y_1"
    assert graph.add_constant("y", np.zeros(1, np.float32)) == "y_2"
    assert graph.add_constant("new", np.zeros(1, np.float32)) == "new"
