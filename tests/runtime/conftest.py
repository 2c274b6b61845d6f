"""Small graphs to make sessions of."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from edgeinfer.graph import FUSED, DType, Graph, Node, TensorType


def conv_graph() -> Graph:
    """y = Relu(conv3x3(x)) + x on pictures [n, 4, h, w]."""
    known = TensorType(DType.FLOAT32, ("n", 4, "h", "w"))
    graph = Graph(
        "conv",
        ["x"],
        ["y"],
        [Node("Conv", ["x", "w", "", "x"], ["y"], {"pads": [1] * 4, "activation": "Relu"}, "conv", FUSED)],
        {"x": known},
    )
    graph.add_constant("w", np.random.default_rng(0).standard_normal((4, 4, 3, 3), np.float32))
    return graph


@pytest.fixture
def make_conv_graph() -> Callable[[], Graph]:
    return conv_graph
