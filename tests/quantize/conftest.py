"""A small network with residual, pool and classifier, data for it, and a backend that runs the references."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from edgeinfer.graph import FUSED, DType, Graph, Node, TensorType
from edgeinfer.ops import infer_types, run_graph
from edgeinfer.quantize.backend import Feeds, Run


class ReferenceBackend:
    """Runs graphs by the NumPy references; takes all nodes for equally fast."""

    @contextmanager
    def open(self, graph: Graph) -> Iterator[Run]:
        yield lambda feeds: run_graph(graph, feeds)

    def node_seconds(self, graph: Graph, feeds: Feeds) -> dict[str, float]:
        return {node.name: 1e-3 for node in graph.nodes}

    def compare_seconds(self, first: Graph, second: Graph, feeds: Feeds) -> tuple[float, float]:
        return 1.0, 1.0


def build_network(channels: int = 8) -> Graph:
    """conv + relu, conv + residual + relu, max pool, average, matrix product."""
    random = np.random.default_rng(3)
    graph = Graph("small", ["image"], ["scores"])
    graph.types["image"] = TensorType(DType.FLOAT32, (1, 3, 24, 24))

    def weights(name: str, *shape: int) -> str:
        fan_in = int(np.prod(shape[1:])) if len(shape) > 2 else shape[0]
        return graph.add_constant(name, (random.standard_normal(shape) / np.sqrt(fan_in / 2)).astype(np.float32))

    def vector(name: str, size: int) -> str:
        return graph.add_constant(name, (0.1 * random.standard_normal(size)).astype(np.float32))

    conv = {"pads": [1, 1, 1, 1], "activation": "Relu"}
    axes = graph.add_constant("axes", np.array([1, channels], np.int64))
    graph.nodes = [
        Node("Conv", ["image", weights("w1", channels, 3, 3, 3), vector("b1", channels)], ["a"], conv, "first", FUSED),
        Node(
            "Conv", ["a", weights("w2", channels, channels, 3, 3), vector("b2", channels), "a"], ["b"], conv, "second",
            FUSED,
        ),
        Node("MaxPool", ["b"], ["c"], {"kernel_shape": [2, 2], "strides": [2, 2]}, "pool"),
        Node("Conv", ["c", weights("w3", channels, channels, 3, 3)], ["d"], {"pads": [1] * 4}, "third", FUSED),
        Node("GlobalAveragePool", ["d"], ["e"], {}, "average"),
        Node("Reshape", ["e", axes], ["f"], {}, "flat"),
        Node("MatMul", ["f", weights("w4", channels, 2600), vector("b4", 2600)], ["scores"], {}, "classifier", FUSED),
    ]  # fmt: skip
    graph.types = infer_types(graph)[0]
    return graph


def build_samples(count: int) -> list[dict[str, np.ndarray]]:
    random = np.random.default_rng(4)
    smooth = random.random((count, 3, 6, 6)).repeat(4, axis=2).repeat(4, axis=3)
    noisy = np.clip(smooth + 0.05 * random.standard_normal((count, 3, 24, 24)), 0, 1)
    return [{"image": picture[None].astype(np.float32)} for picture in np.rint(noisy * 255) / 255]


@pytest.fixture
def network() -> Graph:
    return build_network()


@pytest.fixture
def samples() -> list[dict[str, np.ndarray]]:
    return build_samples(6)


@pytest.fixture
def many_samples() -> list[dict[str, np.ndarray]]:
    return build_samples(24)


@pytest.fixture
def backend() -> ReferenceBackend:
    return ReferenceBackend()
