"""Sums and concatenations read what nearest upsampling repeats where it lies: the repeated picture is not written."""

from __future__ import annotations

import numpy as np
import pytest

from edgeinfer.graph import DType, Graph, Node, TensorType
from edgeinfer.ops import run_graph
from edgeinfer.runtime.session import Session


def upsampled(name: str, result: str, scales: str = "twice") -> Node:
    attributes = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return Node("Resize", [name, "", scales], [result], attributes, f"resize_{name}")


def graph_of(nodes: list[Node], shapes: dict[str, tuple[int, ...]], outputs: list[str]) -> Graph:
    graph = Graph("repeated")
    graph.nodes, graph.outputs = nodes, outputs
    for name, scale in (("twice", (2, 2)), ("thrice", (3, 1)), ("half_more", (1.5, 2))):
        graph.constants[name] = np.array([1, 1, *scale], np.float32)
        graph.types[name] = TensorType(DType.FLOAT32, (4,))
    for name, shape in shapes.items():
        graph.inputs.append(name)
        graph.types[name] = TensorType(DType.FLOAT32, shape)
    return graph


def families_of(graph: Graph) -> list[str]:
    """The families of the kernels of a session whose results equal the reference's."""
    generator = np.random.default_rng(1)
    feeds = {name: generator.standard_normal(graph.types[name].shape, np.float32) for name in graph.inputs}
    expected = run_graph(graph, feeds)
    with Session(graph, threads=2) as session:
        plan = session.plan({name: array.shape for name, array in feeds.items()})
        for _ in range(2):
            results = session.run(feeds)
    for name, wanted in expected.items():
        np.testing.assert_allclose(results[name], wanted, rtol=1e-6, atol=1e-6)
    return [step.call.kernel.family for step in plan.native_steps()]


@pytest.mark.parametrize("scales", ["twice", "thrice"])
@pytest.mark.parametrize("channels", [32, 64, 96])
@pytest.mark.parametrize("batch", [1, 2])
def test_a_sum_reads_the_small_picture(batch, channels, scales):
    down, across = {"twice": (2, 2), "thrice": (3, 1)}[scales]
    shapes = {"a": (batch, channels, 5, 7), "b": (batch, channels, 5 * down, 7 * across)}
    for operands in (["r", "b"], ["b", "r"]):
        nodes = [upsampled("a", "r", scales), Node("Sub", operands, ["y"], name="difference")]
        families = families_of(graph_of(nodes, shapes, ["y"]))
        assert "f32_binary" in families
        assert channels < 64 or "f32_resize" not in families


def test_two_repeated_pictures_are_added():
    shapes = {"a": (1, 64, 4, 3), "b": (1, 64, 4, 3)}
    nodes = [upsampled("a", "r"), upsampled("b", "s"), Node("Add", ["r", "s"], ["y"], name="sum")]
    families = families_of(graph_of(nodes, shapes, ["y"]))
    assert "f32_resize" not in families


def test_stretched_pictures_are_written():
    shapes = {"a": (1, 64, 2, 6), "b": (1, 64, 3, 12)}
    nodes = [upsampled("a", "r", "half_more"), Node("Add", ["r", "b"], ["y"], name="sum")]
    families = families_of(graph_of(nodes, shapes, ["y"]))
    assert "f32_resize" in families


@pytest.mark.parametrize("channels", [3, 24])
def test_a_concatenation_reads_the_small_pictures(channels):
    shapes = {"a": (1, channels, 5, 7), "b": (1, 8, 10, 14), "c": (1, channels, 5, 7)}
    nodes = [
        upsampled("a", "r"), upsampled("c", "s"), Node("Concat", ["r", "b", "s"], ["y"], {"axis": 1}, "together"),
    ]  # fmt: skip
    families = families_of(graph_of(nodes, shapes, ["y"]))
    assert "f32_resize" not in families


def test_a_repeated_picture_that_is_an_output_is_written():
    shapes = {"a": (1, 64, 5, 7), "b": (1, 64, 10, 14)}
    nodes = [upsampled("a", "r"), Node("Add", ["r", "b"], ["y"], name="sum")]
    families = families_of(graph_of(nodes, shapes, ["y", "r"]))
    assert "f32_resize" in families


def test_a_picture_is_not_overwritten_before_it_is_read_again():
    shapes = {"a": (1, 64, 5, 7), "b": (1, 64, 10, 14)}
    nodes = [
        Node("Neg", ["a"], ["n"], name="negated"),
        upsampled("n", "r"),
        Node("Relu", ["n"], ["p"], name="positive"),
        upsampled("p", "q"),
        Node("Add", ["r", "b"], ["s"], name="sum"),
        Node("Add", ["s", "q"], ["y"], name="total"),
    ]
    families = families_of(graph_of(nodes, shapes, ["y"]))
    assert families.count("f32_binary") == 2
