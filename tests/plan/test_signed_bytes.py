"""Unsigned bytes made signed between quantized operators."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgeinfer.graph import FUSED, ONNX, DType, Graph, Node, TensorType
from edgeinfer.ops import infer_types, run_graph
from edgeinfer.plan.signed_bytes import with_signed_bytes


def network(*last: Node) -> Graph:
    """Quantized input, a convolution, a sum with itself, and ``last`` nodes on its result ``sum``."""
    generator = np.random.default_rng(0)
    graph = Graph("network", inputs=["x"], outputs=["y"])
    graph.types["x"] = TensorType(DType.FLOAT32, (1, 5, 6, 8))
    constants: dict[str, Any] = {
        "scale": np.float32(0.03), "zero": np.uint8(120), "small": np.float32(0.004), "none": np.int8(0),
        "w": generator.integers(-127, 128, (8, 8, 3, 3)).astype(np.int8), "bias": np.arange(8, dtype=np.int32),
        "wide": np.float32(0.2), "other": np.uint8(0), "shape": np.array([1, 30, 8]),
    }  # fmt: skip
    for name, value in constants.items():
        graph.add_constant(name, np.asarray(value))
    conv = ["q", "scale", "zero", "w", "small", "none", "wide", "other", "bias"]
    graph.nodes = [
        Node("QuantizeLinear", ["x", "scale", "zero"], ["q"], {}, "q"),
        Node("QConv", conv, ["c"], {"pads": [1] * 4, "layout": "NHWC", "activation": "Relu"}, "c", FUSED),
        Node("QAdd", ["c", "wide", "other", "q", "scale", "zero", "wide", "zero"], ["sum"], {}, "a", FUSED),
        *last,
    ]
    graph.types = infer_types(graph)[0]
    return graph


FLOAT = Node("DequantizeLinear", ["t", "wide", "zero"], ["y"], {}, "d")
MOVED = Node("Reshape", ["sum", "shape"], ["t"], {}, "t")


def test_results_stay_while_bytes_between_operators_are_signed():
    graph = network(MOVED, FLOAT)
    changed = with_signed_bytes(graph)
    assert {name: changed.types[name].dtype for name in ("q", "c", "sum", "t")} == dict.fromkeys(
        ("q", "c", "sum", "t"), DType.INT8
    )
    assert infer_types(changed)[0]["t"].dtype is DType.INT8
    feeds = {"x": np.random.default_rng(1).normal(0, 3, (1, 5, 6, 8)).astype(np.float32)}
    np.testing.assert_array_equal(run_graph(changed, feeds)["y"], run_graph(graph, feeds)["y"])
    assert graph.types["q"].dtype is DType.UINT8


@pytest.mark.parametrize(
    "last",
    [
        [Node("Identity", ["sum"], ["y"], {}, "output")],
        [Node("Cast", ["sum"], ["y"], {"to": 6}, "unknown", ONNX)],
        [MOVED, Node("Cast", ["t"], ["y"], {"to": 6}, "behind a move", ONNX)],
    ],
    ids=lambda nodes: nodes[-1].name,
)
def test_bytes_that_others_touch_stay_unsigned(last: list[Node]):
    graph = network(*last)
    changed = with_signed_bytes(graph)
    assert [changed.types[name].dtype for name in ("q", "c", "sum")] == [DType.INT8, DType.INT8, DType.UINT8]
    feeds = {"x": np.random.default_rng(1).normal(0, 3, (1, 5, 6, 8)).astype(np.float32)}
    np.testing.assert_array_equal(run_graph(changed, feeds)["y"], run_graph(graph, feeds)["y"])
