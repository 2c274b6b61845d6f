"""Summands in front of depthwise convolutions become border values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgeinfer.graph import FUSED, ONNX, DType, Graph, Node, TensorType
from edgeinfer.ops import run_graph
from edgeinfer.plan.border import BORDER_INPUT
from edgeinfer.plan.prepare import prepare
from edgeinfer.runtime.session import Session


def network(channels: int = 24, summand: tuple[int, ...] | None = None, **attributes: Any) -> Graph:
    """A product + s in front of a depthwise convolution, in the layout of ONNX."""
    generator = np.random.default_rng(1)

    def values(*shape: int) -> np.ndarray:
        return generator.standard_normal(shape).astype(np.float32)

    graph = Graph("summand")
    graph.inputs, graph.outputs = ["x"], ["y"]
    graph.constants = {
        "s": values(*((1, channels, 1, 1) if summand is None else summand)),
        "v": values(channels, channels, 1, 1) / np.float32(channels),
        "w": values(channels, 1, 3, 3),
        "b": values(channels),
    }
    graph.types = {name: TensorType(DType.of(array), array.shape) for name, array in graph.constants.items()}
    shape = (2, channels, 9, 11)
    graph.types |= {name: TensorType(DType.FLOAT32, shape) for name in ("x", "product", "sum")}
    fields = {"group": channels, "pads": [1, 1, 1, 1], **attributes}
    graph.nodes = [
        Node("Conv", ["x", "v"], ["product"], {}, "first", FUSED),
        Node("Add", ["product", "s"], ["sum"], {}, "add", ONNX),
        Node("Conv", ["sum", "w", "b"], ["y"], fields, "conv", FUSED),
    ]
    return graph


def check(graph: Graph) -> Graph:
    x = np.random.default_rng(2).standard_normal((2, len(graph.constants["w"]), 9, 11)).astype(np.float32)
    expected = run_graph(graph, {"x": x})
    prepared = prepare(graph)
    found = run_graph(prepared, {"x": x})
    with Session(graph, threads=1) as session:
        results = session.run({"x": x})
    for name, wanted in expected.items():
        np.testing.assert_allclose(found[name], wanted, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(results[name], wanted, rtol=1e-5, atol=1e-5)
    return prepared


def operators(graph: Graph) -> list[str]:
    return [node.op for node in graph.nodes if node.op != "Transpose"]


@pytest.mark.parametrize("summand", [(1, 24, 1, 1), (24, 1, 1), (1,), ()])
@pytest.mark.parametrize("strides", [[1, 1], [2, 2]])
def test_summand_becomes_border(summand: tuple[int, ...], strides: list[int]):
    prepared = check(network(summand=summand, strides=strides, activation="Relu"))
    assert operators(prepared) == ["Conv", "Conv"]
    conv = next(node for node in prepared.nodes if node.name == "conv")
    assert prepared.constants[conv.inputs[BORDER_INPUT]].shape == (24,)


@pytest.mark.parametrize(
    "graph",
    [network(channels=8), network(pad_mode="reflect"), network(upsample=[2, 2]), network(summand=(1, 1, 1, 11))],
    ids=["few channels", "reflected", "upsampled", "along a row"],
)
def test_other_sums_stay(graph: Graph):
    assert operators(check(graph)) == ["Conv", "Add", "Conv"]


def test_sum_that_is_read_elsewhere_stays():
    graph = network()
    graph.outputs = ["y", "sum"]
    assert operators(check(graph)) == ["Conv", "Add", "Conv"]


def test_border_that_overflows_stays():
    graph = network()
    graph.constants["s"] = np.full((1, 24, 1, 1), 3e38, np.float32)
    graph.constants["w"] = np.full((24, 1, 3, 3), 2, np.float32)
    assert operators(prepare(graph)) == ["Conv", "Add", "Conv"]
