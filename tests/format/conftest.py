from __future__ import annotations

import numpy as np
import pytest

from edgeinfer.format import write_edge
from edgeinfer.graph import DType, Graph, Node, TensorType


def make_small_graph() -> Graph:
    body = Graph("body", [], ["c"], [Node("Neg", ["x"], ["c"], {}, "negate")])
    body.add_constant("w", np.arange(3, dtype=np.int32))
    graph = Graph(
        "small",
        ["x"],
        ["y"],
        [
            Node("Conv", ["x", "w"], ["t"], {"strides": [2, 2], "group": 1, "auto_pad": "NOTSET"}, "conv"),
            Node("Clip", ["t", "low"], ["y"], {"limits": [1.5, float("inf"), -float("inf")], "exact": True}, "clip"),
        ],
        {"x": TensorType(DType.FLOAT32, (1, 3, "h", "(w + 2)//2")), "t": TensorType(DType.FLOAT32, None)},
        metadata={"licence": "Apache-2.0", "author": "Zoë"},
    )
    graph.add_constant("w", np.random.default_rng(0).standard_normal((5, 3, 3, 3), np.float32))
    graph.add_constant("low", np.float32(-0.5).reshape(()))
    graph.add_constant("half", np.arange(7, dtype=np.float16))
    graph.add_constant("bits", np.arange(5, dtype=np.uint16), DType.BFLOAT16)
    graph.add_constant("flags", np.array([True, False]))
    graph.nodes[1].attributes["table"] = np.arange(4, dtype=np.int64)
    graph.nodes[1].attributes["body"] = body
    return graph


@pytest.fixture
def small_graph() -> Graph:
    return make_small_graph()


@pytest.fixture(scope="session")
def edge_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("edge") / "small.edge"
    write_edge(make_small_graph(), path)
    return path.read_bytes()
