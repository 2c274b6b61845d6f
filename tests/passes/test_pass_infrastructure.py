from __future__ import annotations

import time

import numpy as np
import pytest

from edgeinfer.errors import GraphError, ShapeError
from edgeinfer.graph import DType, Graph, GraphView, Node, TensorType, verify
from edgeinfer.ops import infer_types, run_graph
from edgeinfer.passes import (
    DEFAULT_PASSES,
    FoldConstants,
    MergeTransposes,
    Patch,
    Refusal,
    RemoveIdentity,
    Rule,
    pass_base,
    run_passes,
)
from edgeinfer.passes.patch import apply_patches


class Refuse(Rule):
    anchors = frozenset({"Relu"})

    def match(self, view: GraphView, node: Node) -> Patch | str | None:
        return "because"


class Replace(Rule):
    """Relu → Abs with a constant and a value whose names are taken already."""

    anchors = frozenset({"Relu"})

    def match(self, view: GraphView, node: Node) -> Patch | str | None:
        nodes = [Node("Abs", node.inputs, ["taken"], {}, "n"), Node("Add", ["taken", "c"], node.outputs, {}, "n")]
        return Patch([node], nodes, {"c": np.zeros(1, np.float32)})


class Endless(Rule):
    anchors = frozenset({"Relu"})

    def match(self, view: GraphView, node: Node) -> Patch | str | None:
        return Patch([node], [Node("Relu", node.inputs, node.outputs, {}, node.name)])


class Failing(Rule):
    anchors = frozenset({"Relu"})

    def match(self, view: GraphView, node: Node) -> Patch | str | None:
        raise ShapeError("something does not fit")


class Breaking(Rule):
    anchors = frozenset({"Relu"})

    def match(self, view: GraphView, node: Node) -> Patch | str | None:
        return Patch([node])


def test_types_are_inferred_once_for_a_graph_that_passes_leave_alone(builder, monkeypatch):
    b = builder(x=(2, 3))
    graph = b.graph(b.node("Relu", "x"))
    inferred = []
    monkeypatch.setattr(pass_base, "infer_types", lambda graph: inferred.append(graph) or infer_types(graph))
    run_passes(graph, [Refuse(), Refuse(), FoldConstants(), Refuse()])
    assert inferred == [graph]
    result, _ = run_passes(graph, [Replace(), Refuse(), Replace()])
    assert [node.op for node in result.nodes] == ["Abs", "Add"]
    assert len(inferred) == 2
    Refuse().run(graph)
    Refuse().run(graph)
    assert len(inferred) == 4


def test_refusals_are_values_with_rule_node_and_reason(builder):
    b = builder(x=(2, 3))
    graph = b.graph(b.node("Relu", "x"))
    result, report = run_passes(graph, [Refuse()])
    assert result is graph
    assert report.refusals == [Refusal("Refuse", "relu_0", "because")]
    assert report.counts == {}
    assert report.before == report.after == {"Relu": 1}


def test_new_names_give_way_to_names_that_are_taken(builder, operators):
    b = builder(x=(2, 3), y=(2, 3), taken=(2, 3), c=(2, 3))
    total = b.node("Add", b.node("Relu", "x"), b.node("Relu", "y"))
    graph = b.graph(b.node("Add", total, "c"), "taken")
    result = Replace().run(graph).graph
    verify(result)
    assert operators(result) == {"Abs": 2, "Add": 4}
    assert len({node.name for node in result.nodes}) == 6
    values = {"x": -1, "y": -2, "taken": 5, "c": 10}
    total, taken = run_graph(
        result, {name: np.full((2, 3), value, np.float32) for name, value in values.items()}
    ).values()
    assert (total == 13).all()
    assert (taken == 5).all()


def test_an_endless_rule_is_named(builder):
    b = builder(x=(2, 3))
    with pytest.raises(GraphError, match="Endless does not come to an end"):
        Endless().run(b.graph(b.node("Relu", "x")))


def test_an_error_inside_a_rule_names_rule_and_node(builder):
    b = builder(x=(2, 3))
    with pytest.raises(GraphError, match=r"Failing at Relu 'relu_0': something does not fit"):
        Failing().run(b.graph(b.node("Relu", "x")))


def test_check_names_the_pass_that_breaks_a_graph(builder):
    b = builder(x=(2, 3))
    graph = b.graph(b.node("Relu", "x"))
    with pytest.raises(GraphError, match="after Breaking: "):
        run_passes(graph, [Breaking()], check=True)


def test_bodies_read_renamed_values_by_their_new_names(builder):
    b = builder(x=(2, 3))
    copied = b.node("Identity", "x")
    body = Graph("body", [], ["r"], [Node("Relu", [copied], ["r"], {}, "inner")])
    other = Graph("other", [], [copied])
    condition = b.constant(True, bool)
    graph = b.graph(b.node("If", condition, then_branch=body, else_branch=other))
    result = RemoveIdentity()._sweep(GraphView(graph))[0]
    renamed = apply_patches(graph, result)
    verify(renamed)
    branches = renamed.nodes[0].attributes
    assert branches["then_branch"].nodes[0].inputs == ["x"]
    assert branches["else_branch"].outputs == ["x"]
    assert body.nodes[0].inputs == [copied]


def test_bodies_keep_names_that_hide_renamed_values(builder):
    b = builder(x=(2, 3))
    copied = b.node("Identity", "x")
    body = Graph("body", [copied], ["r"], [Node("Relu", [copied], ["r"], {}, "inner")])
    body.types[copied] = TensorType(DType.FLOAT32, None)
    graph = b.graph(b.node("Loop", "", "", copied, body=body))
    renamed = apply_patches(graph, RemoveIdentity()._sweep(GraphView(graph))[0])
    assert renamed.nodes[0].inputs == ["", "", "x"]
    assert renamed.nodes[0].attributes["body"].nodes[0].inputs == [copied]


def test_a_chain_of_two_thousand_nodes_is_rewritten_in_seconds(builder, operators):
    b = builder(x=(2, 3))
    value = "x"
    for _ in range(1000):
        value = b.node("Transpose", b.node("Identity", value), perm=[1, 0])
    graph = b.graph(b.node("Relu", value))
    start = time.perf_counter()
    result, _report = run_passes(graph, DEFAULT_PASSES)
    assert time.perf_counter() - start < 10
    assert operators(result) == {"Relu": 1}


def test_sweeps_reach_patterns_that_earlier_patches_make(builder, apply, operators):
    b = builder(x=(2, 3, 4))
    value = "x"
    for _ in range(5):
        value = b.node("Transpose", value, perm=[1, 2, 0])
    result = apply(MergeTransposes(), b.graph(value))
    assert result.graph.nodes[-1].inputs == ["x"]
    assert result.graph.nodes[-1].attributes["perm"] == [2, 0, 1]
