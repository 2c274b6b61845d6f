"""FoldConstants, RemoveDeadNodes, RemoveIdentity, MergeCommonSubexpressions, MergeTransposes, MergeReshapes."""

from __future__ import annotations

import numpy as np
import pytest

from edgeinfer.graph import DType, Graph, Node
from edgeinfer.passes import (
    FoldConstants,
    MergeCommonSubexpressions,
    MergeReshapes,
    MergeTransposes,
    RemoveDeadNodes,
    RemoveIdentity,
)


def test_shape_arithmetic_of_static_inputs_is_folded(builder, apply, operators):
    b = builder(x=(2, 3, 4))
    shape = b.node("Concat", b.node("Shape", "x", start=0, end=1), b.constant([12], np.int64), axis=0)
    result = apply(FoldConstants(), b.graph(b.node("Reshape", "x", shape)))
    assert operators(result.graph) == {"Reshape": 1}
    assert result.count == 2


def test_large_weights_computed_from_constants_are_folded(builder, apply, operators):
    b = builder(x=(2, 100))
    weight = b.node("Transpose", b.weights(80, 100))
    result = apply(FoldConstants(), b.graph(b.node("MatMul", "x", weight)))
    assert operators(result.graph) == {"MatMul": 1}


def test_constants_that_would_grow_are_not_folded(builder, apply, operators):
    b = builder(x=(1,))
    zeros = b.node("ConstantOfShape", b.axes(2000, 1000))
    wide = b.node("Expand", b.constant([1.0]), b.axes(2000, 1000))
    result = apply(FoldConstants(), b.graph(b.node("Add", b.node("Add", zeros, "x"), wide)))
    assert result.count == 0


def test_symbolic_shapes_are_not_folded(builder, apply):
    b = builder(x=("n", 3))
    assert apply(FoldConstants(), b.graph(b.node("Shape", "x"))).count == 0


def test_an_output_that_is_constant_stays_an_output(builder, apply, operators):
    b = builder(x=(2, 3))
    result = apply(FoldConstants(), b.graph(b.node("Shape", "x")))
    assert operators(result.graph) == {}
    assert result.graph.constants[result.graph.outputs[0]].tolist() == [2, 3]


def test_dead_nodes_and_constants_go(builder, apply, operators):
    b = builder(x=(2, 3))
    b.node("Add", b.node("Exp", "x"), b.constant(1.0))
    result = apply(RemoveDeadNodes(), b.graph(b.node("Relu", "x")))
    assert operators(result.graph) == {"Relu": 1}
    assert not result.graph.constants
    assert result.count == 3


def test_what_a_body_reads_stays(builder):
    b = builder(x=(2, 3))
    read = b.node("Exp", "x")
    branch = Graph("body", [], ["r"], [Node("Relu", [read], ["r"], {}, "inner")])
    graph = b.graph(b.node("If", b.constant(True, bool), then_branch=branch, else_branch=branch))
    assert RemoveDeadNodes().run(graph).count == 0


@pytest.mark.parametrize(
    "make",
    [
        lambda b: b.node("Identity", "x"),
        lambda b: b.node("Dropout", "x", b.constant(0.5)),
        lambda b: b.node("Cast", "x", to=1),
        lambda b: b.node("Transpose", "x", perm=[0, 1, 2]),
        lambda b: b.node("Reshape", "x", b.axes(2, 3, 4)),
        lambda b: b.node("Reshape", "x", b.axes(0, 0, -1)),
        lambda b: b.node("Expand", "x", b.axes(1, 3, 1)),
        lambda b: b.node("Pad", "x", b.axes(0, 0, 0, 0, 0, 0)),
        lambda b: b.node("Slice", "x", b.axes(0), b.axes(2**63 - 1), b.axes(1)),
        lambda b: b.node("Concat", "x", axis=1),
        lambda b: b.node("Sum", "x"),
        lambda b: b.node("Clip", "x"),
        lambda b: b.node("Mul", "x", b.constant(1.0)),
        lambda b: b.node("Mul", b.constant([1.0]), "x"),
        lambda b: b.node("Add", b.constant(0.0), "x"),
        lambda b: b.node("Sub", "x", b.constant(0.0)),
        lambda b: b.node("Div", "x", b.constant(1.0)),
        lambda b: b.node("Pow", "x", b.constant(1.0)),
    ],
)
@pytest.mark.parametrize("at_output", [False, True])
def test_nodes_that_change_nothing_go(builder, apply, operators, make, at_output):
    b = builder(y=(2, 3, 4))
    b.result.nodes.append(Node("Exp", ["y"], ["x"], {}, "exp"))
    same = make(b)
    result = apply(RemoveIdentity(), b.graph(same if at_output else b.node("Relu", same)))
    assert operators(result.graph) == ({"Exp": 1} if at_output else {"Exp": 1, "Relu": 1})


@pytest.mark.parametrize(
    "make",
    [
        lambda b: b.node("Sub", b.constant(0.0), "x"),
        lambda b: b.node("Div", b.constant(1.0), "x"),
        lambda b: b.node("Mul", "x", b.constant(1.0000001)),
        lambda b: b.node("Add", "x", b.constant(np.zeros((1, 1, 1, 1)))),
        lambda b: b.node("Slice", "x", b.axes(1), b.axes(2**63 - 1), b.axes(1)),
        lambda b: b.node("Slice", "x", b.axes(-1), b.axes(-(2**63)), b.axes(1), b.axes(-1)),
        lambda b: b.node("Transpose", "x", perm=[0, 2, 1]),
        lambda b: b.node("Expand", "x", b.axes(5, 1, 1, 1)),
        lambda b: b.node("Cast", "x", to=11),
    ],
)
def test_nodes_that_look_like_identity_stay(builder, apply, make):
    b = builder(x=(2, 3, 4))
    assert apply(RemoveIdentity(), b.graph(b.node("Neg", make(b)))).count == 0


def test_an_input_that_is_an_output_keeps_its_identity(builder, apply):
    b = builder(x=(2, 3))
    assert apply(RemoveIdentity(), b.graph(b.node("Identity", "x"))).count == 0


def test_a_value_read_twice_keeps_the_identity_of_the_output(builder, apply):
    b = builder(x=(2, 3))
    relu = b.node("Relu", "x")
    assert apply(RemoveIdentity(), b.graph(b.node("Identity", relu), b.node("Exp", relu))).count == 0


def test_equal_constants_and_nodes_become_one(builder, apply, operators):
    b = builder(x=(2, 3))
    first, second = (b.node("Add", "x", b.constant([1.0, 2.0, 3.0])) for _ in range(2))
    result = apply(MergeCommonSubexpressions(), b.graph(b.node("Mul", first, second)))
    assert operators(result.graph) == {"Add": 1, "Mul": 1}
    assert len(result.graph.constants) == 1


def test_nodes_that_differ_stay(builder, apply):
    b = builder(x=(2, 3))
    nodes = [
        b.node("LeakyRelu", "x", alpha=0.1),
        b.node("LeakyRelu", "x", alpha=0.2),
        b.node("Add", "x", b.constant([0.0])),
        b.node("Add", "x", b.constant([-0.0])),
        b.node("Add", "x", b.constant([[0.0]])),
    ]
    assert apply(MergeCommonSubexpressions(), b.graph(*nodes)).count == 0


def test_outputs_keep_their_names(builder, apply, operators):
    b = builder(x=(2, 3))
    result = apply(MergeCommonSubexpressions(), b.graph(b.node("Relu", "x"), b.node("Relu", "x")))
    assert operators(result.graph) == {"Relu": 2}


def test_random_nodes_are_not_merged(builder):
    b = builder(x=(2, 3))
    graph = b.graph(b.node("Add", b.node("RandomNormalLike", "x"), b.node("RandomNormalLike", "x")))
    assert MergeCommonSubexpressions().run(graph).count == 0


def test_transposes_merge_into_the_product_of_their_permutations(builder, apply, operators):
    b = builder(x=(2, 3, 4, 5))
    inner = b.node("Transpose", "x", perm=[0, 2, 3, 1])
    result = apply(MergeTransposes(), b.graph(b.node("Transpose", inner, perm=[3, 0, 1, 2])))
    merged = apply(RemoveDeadNodes(), result.graph).graph
    assert operators(merged) == {"Transpose": 1}
    assert merged.nodes[0].attributes["perm"] == [1, 0, 2, 3]


def test_transposes_without_a_permutation_need_a_rank(builder):
    b = builder(x=())
    b.result.types["x"] = b.result.types["x"].__class__(DType.FLOAT32, None)
    result = MergeTransposes().run(b.graph(b.node("Transpose", b.node("Transpose", "x"))))
    assert [refusal.reason for refusal in result.refusals] == ["the rank is not known"]


@pytest.mark.parametrize(
    "make",
    [
        lambda b, t: b.node("Reshape", t, b.axes(4, -1)),
        lambda b, t: b.node("Reshape", t, b.axes(0, 1, -1)),
        lambda b, t: b.node("Flatten", t, axis=1),
        lambda b, t: b.node("Unsqueeze", t, b.axes(0)),
        lambda b, t: b.node("Squeeze", b.node("Unsqueeze", t, b.axes(2)), b.axes(2)),
    ],
)
def test_of_reshapes_in_a_row_the_last_remains(builder, apply, operators, make):
    b = builder(x=(2, 3, 4))
    result = apply(MergeReshapes(), b.graph(make(b, b.node("Reshape", "x", b.axes(6, 4)))))
    assert operators(apply(RemoveDeadNodes(), result.graph).graph) == {"Reshape": 1}


def test_a_symbolic_dimension_becomes_the_rest(builder, apply, operators):
    b = builder(x=("n", 3, 4))
    result = apply(MergeReshapes(), b.graph(b.node("Unsqueeze", b.node("Flatten", "x", axis=1), b.axes(1))))
    assert operators(apply(RemoveDeadNodes(), result.graph).graph) == {"Reshape": 1}


def test_two_symbolic_dimensions_are_refused(builder, apply):
    b = builder(x=("n", "m", 4))
    result = apply(MergeReshapes(), b.graph(b.node("Squeeze", b.node("Unsqueeze", "x", b.axes(1)), b.axes(1))))
    assert [refusal.reason for refusal in result.refusals] == ["more than one dimension of the result is symbolic"]
